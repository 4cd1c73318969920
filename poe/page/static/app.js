/* The page: what is typed goes to the server, which talks to the bot as Poe would. */

import { Chat } from "./chat.js";
import { choose } from "./chats.js";
import { Composer } from "./composer.js";
import { Controls } from "./controls.js";
import { render, showRendered } from "./markdown.js";
import { ask } from "./server.js";
import { showSettings } from "./settings.js";
import { Status } from "./status.js";
import * as store from "./store.js";

const $ = (id) => document.getElementById(id);
const WELCOME =
  "Write a message. The bot’s answer appears here as it arrives, with how it streamed below it.";

const controls = new Controls($("controls"));
const chat = new Chat($("log"), {
  parameters: () => controls.values(),
  onBusy: (isBusy) => {
    composer.busy = isBusy;
    if (!isBusy && status.hasSettingsProblem) loadSettings();
  },
});
const composer = new Composer({
  onSend: (text, files) => chat.say(text, files),
  onStop: () => chat.stop(),
  lastSaid: () => chat.lastSaid,
});
const status = new Status(
  { dot: $("status"), word: $("status-word"), banner: $("banner") },
  onState,
);
let state = null;

/* The run */

async function onState(now) {
  const before = state;
  state = now;
  chat.presentRun = now.run;
  if (now.bots.length === 0) return;
  const isOther = showBots(now.bots);
  if (before === null || !chat.conversation || isOther) await resume();
  if (before?.run !== now.run || before.starts !== now.starts) await loadSettings();
}

/** Whether the bot that was chosen isn't among `bots` any more. */
function showBots(bots) {
  const chosen = $("bots").value;
  const paths = bots.map(({ path }) => path);
  $("where").textContent = new URL(bots[0].url).host;
  $("bots").replaceChildren(...paths.map((path) => new Option(path)));
  $("bots").hidden = bots.length === 1;
  if (paths.includes(chosen)) $("bots").value = chosen;
  return !paths.includes(chosen);
}

async function loadSettings() {
  try {
    const query = new URLSearchParams({ bot: $("bots").value });
    const settings = await (await ask(`settings?${query}`)).json();
    composer.allowsAttachments = settings.allow_attachments !== false;
    showSettings(settings, null);
    controls.show(settings.parameter_controls);
    introduce(settings.introduction_message || WELCOME);
    status.settingsProblem = null;
  } catch (problem) {
    showSettings(null, problem.message);
    status.settingsProblem = problem.message;
  }
}

function introduce(message) {
  $("introduction").hidden = false;
  showRendered($("introduction"), render(message, {}));
}

/* Conversations */

function bot() {
  const path = $("bots").value;
  return { bot: `${state.name} ${path}`, path, run: state.run };
}

/** Go on with the conversation that this tab had, or with the latest. */
async function resume() {
  const saved = await store.current(bot().bot).catch(() => null);
  if (!chat.conversation || chat.conversation.bot !== bot().bot) open(saved);
}

function open(saved) {
  store.show(saved?.id);
  chat.open(bot(), saved);
  composer.clear();
}

$("new-chat").addEventListener("click", () => {
  if (state?.bots.length > 0) open(null);
});
$("open-chats").addEventListener("click", () => {
  if (state?.bots.length > 0) choose(bot().bot, { onChoose: open, onForget: () => open(null) });
});
$("bots").addEventListener("change", async () => {
  await resume();
  await loadSettings();
});
$("open-settings").addEventListener("click", () => {
  loadSettings();
  $("settings").showModal();
});

status.follow();
