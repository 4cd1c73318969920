/* The page: what is typed goes to the server, which talks to the bot as Poe would. */

import { Answer, fileNode } from "./answer.js";
import { Attachments } from "./attachments.js";
import { Controls } from "./controls.js";
import { showSettings } from "./settings.js";

const $ = (id) => document.getElementById(id);
const GONE =
  "The chat page’s server doesn’t answer. Start it with `make run`, then start a new chat.";
const WELCOME =
  "Write a message. The bot’s answer appears here as it arrives, with a timeline of its events.";
const STARTING = "The bot is starting.";
const NO_ATTACHMENTS = "The bot’s settings don’t allow attachments";

const controls = new Controls($("controls"));
let conversation = null;
let underWay = null;
let lastAnswer = null;
let lastSaid = "";
let attachmentsAllowed = true;

/** What went wrong, in words for people. */
class Problem extends Error {}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(GONE);
  }
  if (!response.ok) throw new Problem(await reason(response));
  return response;
}

/** Of a refusal, in words: {"error": …} from the page's server, a line of text from its guard. */
async function reason(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return text || `status ${response.status}`;
  }
}

async function* lines(response) {
  const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await pieces.read();
    if (done) return;
    const [first, ...more] = value.split("\n");
    rest += first;
    for (const piece of more) {
      yield JSON.parse(rest);
      rest = piece;
    }
  }
}

/* The bots: nearly always one. */

async function loadBots() {
  let bots;
  try {
    bots = await (await ask("bots")).json();
  } catch (problem) {
    introduce("", problem.message);
    return;
  }
  if (bots.length === 0) {
    introduce(STARTING);
    setTimeout(loadBots, 500);
    return;
  }
  $("where").textContent = new URL(bots[0].url).host;
  $("bots").append(...bots.map(({ path }) => new Option(path)));
  $("bots").hidden = bots.length === 1;
  await begin();
}

function about() {
  return new URLSearchParams({ bot: $("bots").value });
}

/* The conversation */

async function begin() {
  underWay?.abort();
  $("log").replaceChildren();
  lastAnswer = null;
  conversation = null;
  attachments.take();
  $("text").focus();
  await loadSettings();
}

async function loadSettings() {
  const status = $("status");
  try {
    const settings = await (await ask(`settings?${about()}`)).json();
    attachmentsAllowed = settings.allow_attachments !== false;
    $("attach").disabled = !attachmentsAllowed;
    $("attach").title = attachmentsAllowed ? "Attach files" : NO_ATTACHMENTS;
    showSettings(settings, null);
    controls.show(settings.parameter_controls);
    introduce(settings.introduction_message);
    status.className = "dot good";
    status.setAttribute("aria-label", "the bot answers");
  } catch (problem) {
    showSettings(null, problem.message);
    status.className = "dot bad";
    status.setAttribute("aria-label", "the bot doesn’t answer");
    introduce("", problem.message);
  }
}

function introduce(message, problem = "") {
  if ($("log").children.length > 0) return;
  const introduction = document.createElement("p");
  introduction.className = problem ? "introduction problem" : "introduction";
  introduction.textContent = problem || message || WELCOME;
  $("log").append(introduction);
}

async function say(text) {
  if (underWay) return;
  const files = attachments.take();
  lastSaid = text;
  $("log").append(saidNode(text, files));
  const urls = files.map((file) => file.url);
  const body = JSON.stringify({ text, attachments: urls, parameters: controls.values() });
  await receive("messages", { body, headers: { "Content-Type": "application/json" } });
}

async function retry() {
  if (underWay) return;
  lastAnswer.element.remove();
  await receive("retry", {});
}

async function receive(action, options) {
  lastAnswer?.retire();
  const answer = new Answer($("answer-template"), {
    fileUrl: (url) => `conversations/${conversation}/files?url=${encodeURIComponent(url)}`,
    onReply: say,
    onRetry: retry,
    onDraw: followEnd,
  });
  lastAnswer = answer;
  $("log").append(answer.element);
  scrollToEnd();
  setUnderWay(new AbortController());
  const { signal } = underWay;
  try {
    conversation ??= await open(signal);
    const path = `conversations/${conversation}/${action}`;
    const response = await ask(path, { method: "POST", signal, ...options });
    await read(response, answer);
  } catch (error) {
    if (error.name === "AbortError") answer.stop();
    else answer.fail("No answer", error instanceof Problem ? error.message : GONE);
  } finally {
    if (underWay?.signal === signal) setUnderWay(null);
  }
}

async function open(signal) {
  const response = await ask(`conversations?${about()}`, { method: "POST", signal });
  return (await response.json()).id;
}

async function read(response, answer) {
  for await (const { event, turn, failure } of lines(response)) {
    if (event) answer.take(event);
    else if (turn) answer.finish(turn);
    else answer.fail("No answer", failure);
  }
  if (answer.open) answer.fail("No answer", GONE);
}

function setUnderWay(controller) {
  underWay = controller;
  $("stop").hidden = controller === null;
  $("send").hidden = controller !== null;
}

function saidNode(text, files) {
  const node = $("user-template").content.cloneNode(true);
  node.querySelector("p").textContent = text;
  node.querySelector("p").hidden = text === "";
  const list = node.querySelector("ul");
  list.hidden = files.length === 0;
  list.append(...files.map(({ url, name, content_type: type }) => {
    const item = document.createElement("li");
    item.append(fileNode(new URL(url).pathname, name, type));
    return item;
  }));
  return node;
}

/* Scrolling: the end stays in sight unless the reader has left it. */

let following = true;

function atEnd() {
  const { scrollTop, scrollHeight, clientHeight } = document.scrollingElement;
  return scrollHeight - scrollTop - clientHeight < 80;
}

function scrollToEnd() {
  following = true;
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
}

function followEnd() {
  if (following) scrollToEnd();
}

addEventListener("scroll", () => { following = atEnd(); }, { passive: true });

/* Attachments */

const attachments = new Attachments($("attachments"), async (file) => {
  const path = `attachments?name=${encodeURIComponent(file.name.toWellFormed())}`;
  return (await ask(path, { method: "POST", body: file })).json();
});

async function attach(files) {
  if (attachmentsAllowed) await attachments.add(files);
  $("text").focus();
}

/* The composer */

function submit() {
  const text = $("text").value.trim();
  if (underWay || (text === "" && attachments.isEmpty)) return;
  $("text").value = "";
  say(text);
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});

$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  } else if (event.key === "ArrowUp" && $("text").value === "" && lastSaid) {
    event.preventDefault();
    $("text").value = lastSaid;
  }
});

$("text").addEventListener("paste", (event) => {
  if (event.clipboardData.files.length === 0) return;
  event.preventDefault();
  attach(event.clipboardData.files);
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("settings").open) underWay?.abort();
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  attach(event.dataTransfer.files);
});

$("stop").addEventListener("click", () => underWay?.abort());
$("attach").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", async () => {
  await attach($("files").files);
  $("files").value = "";
});
$("new-chat").addEventListener("click", begin);
$("open-settings").addEventListener("click", () => {
  loadSettings();
  $("settings").showModal();
});
$("bots").addEventListener("change", begin);

loadBots();
