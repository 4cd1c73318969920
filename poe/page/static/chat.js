/* The conversation on the page: what was said, and the answers. */

import { Answer } from "./answer.js";
import { Conversation } from "./conversation.js";
import { Said } from "./said.js";
import { followEnd, scrollToEnd } from "./scroll.js";
import { GONE, Problem } from "./server.js";

const INTERRUPTED = "Interrupted: the page was left before the end.";

export class Chat {
  /**
   * In the element `log`. `parameters` gives what is chosen in the bot's controls; `onBusy` is
   * called with whether an answer is under way.
   */
  constructor(log, { parameters, onBusy }) {
    Object.assign(this, { log, parameters, onBusy });
    this.underWay = null;
    this.shown = [];
    this.isOpen = new Promise((resolve) => { this.hasOpened = resolve; });
  }

  /** Show another conversation: `saved`, or a new one with the bot that `path` leads to. */
  open({ bot, path, run }, saved = null) {
    this.stop();
    this.#setUnderWay(null);
    this.conversation = new Conversation(bot, path, saved);
    this.run = run;
    this.shown = [];
    this.log.replaceChildren();
    for (const turn of this.conversation.turns) this.#restore(turn);
    this.#retireAllButLast();
    scrollToEnd();
    this.hasOpened();
  }

  /** The run is another one now. */
  set presentRun(run) {
    if (run === this.run) return;
    this.run = run;
    if (this.conversation) this.conversation.serverHasIt = false;
  }

  get isEmpty() {
    return this.shown.length === 0;
  }

  get lastSaid() {
    return this.conversation?.turns.at(-1)?.text ?? "";
  }

  stop() {
    this.underWay?.abort();
  }

  async say(text, files = []) {
    await this.isOpen;
    if (this.underWay) return;
    const { run } = this;
    const turn = { text, files, parameters: this.parameters(), run };
    Object.assign(turn, { asked: null, answerId: null, lines: [], ending: null });
    const entry = this.#add(turn);
    await this.#receive(entry, (signal) => this.conversation.say(turn, signal));
  }

  async #retry() {
    if (this.underWay) return;
    const entry = this.shown.at(-1);
    entry.answer.element.remove();
    entry.answer = this.#addAnswer();
    focusComposer();
    await this.#receive(entry, (signal) => this.conversation.retry(signal));
  }

  /** Another text for the message in `entry`; what came after it goes. */
  async #edit(entry, text) {
    this.stop();
    await this.settled;
    const index = this.shown.indexOf(entry);
    const files = entry.turn.run === this.run ? entry.turn.files : [];
    for (const { said, answer } of this.shown.splice(index)) {
      said.element.remove();
      answer.element.remove();
    }
    this.conversation.cut(index);
    focusComposer();
    await this.say(text, files);
  }

  #receive(entry, linesOf) {
    this.settled = this.#receiving(entry, linesOf);
    return this.settled;
  }

  async #receiving({ turn, answer }, linesOf) {
    this.#retireAllButLast();
    scrollToEnd();
    const { conversation } = this;
    this.#setUnderWay(new AbortController());
    const { signal } = this.underWay;
    try {
      for await (const line of linesOf(signal)) answer.takeLine(line);
      if (answer.open) throw new Problem(GONE);
    } catch (error) {
      turn.ending = ending(error);
      if (answer.open) end(answer, turn.ending);
    } finally {
      conversation.save();
      if (this.underWay?.signal === signal) this.#setUnderWay(null);
    }
  }

  #restore(turn) {
    const { answer } = this.#add(turn);
    for (const line of turn.lines) answer.takeLine(line);
    if (answer.open) end(answer, turn.ending ?? { note: INTERRUPTED });
  }

  #add(turn) {
    const onEdit = (text) => this.#edit(entry, text);
    const said = new Said(turn, { run: this.run, onEdit });
    this.log.append(said.element);
    const entry = { turn, said, answer: this.#addAnswer() };
    this.shown.push(entry);
    return entry;
  }

  #addAnswer() {
    const { conversation } = this;
    const answer = new Answer({
      fileUrl: (url) => `conversations/${conversation.id}/files?url=${encodeURIComponent(url)}`,
      onReply: (text) => {
        focusComposer();
        this.say(text);
      },
      onRetry: () => this.#retry(),
      onDraw: followEnd,
    });
    this.log.append(answer.element);
    return answer;
  }

  #retireAllButLast() {
    for (const { answer } of this.shown.slice(0, -1)) answer.retire();
  }

  #setUnderWay(controller) {
    this.underWay = controller;
    this.onBusy(controller !== null);
  }
}

/** Where the focus goes when the button that had it leaves. */
function focusComposer() {
  document.getElementById("text").focus({ preventScroll: true });
}

/** How an answer ended that didn't come to its end: {note}, or {title, reason}. */
function ending(error) {
  if (error.name === "AbortError") return { note: "Stopped." };
  return { title: "No answer", reason: error instanceof Problem ? error.message : GONE };
}

function end(answer, { note, title, reason }) {
  if (note) answer.stop(note);
  else answer.fail(title, reason);
}
