/*
 * A conversation as the page knows it. The server has it too, until it ends or forgets; then the
 * page begins it there again with the same identifier and what was said.
 *
 * A turn is
 *   {text, files, parameters, run}   what the user said, and in which run
 *   asked, answerId                  the message as the bot got it; null if it never did
 *   lines                            of the answer, as they came
 *   ending                           of one that has no last line: {title, reason} or {note}, or null
 */

import { ask, lines, sending } from "./server.js";
import * as store from "./store.js";

const SAVE_EVERY = 1000; // ms

export class Conversation {
  /** With `bot`, whose path is `path`; `saved` is one of the store's. */
  constructor(bot, path, saved = null) {
    this.bot = bot;
    this.path = path;
    this.id = saved?.id ?? null;
    this.userId = saved?.userId ?? null;
    this.turns = saved?.turns ?? [];
    this.serverHasIt = false;
    this.nextSave = 0;
  }

  /** Say something; yields the answer's lines. */
  async *say(turn, signal) {
    this.turns.push(turn);
    const { text, files, parameters } = turn;
    const urls = files.map(({ url }) => url);
    const message = { text, attachments: urls, parameters };
    yield* this.#answer(turn, "messages", sending("POST", message, signal));
  }

  /** Another answer to the last message; yields its lines. */
  async *retry(signal) {
    const turn = Object.assign(this.turns.at(-1), { lines: [], ending: null });
    if (turn.asked === null) {
      this.turns.pop();
      yield* this.say(turn, signal);
    } else {
      yield* this.#answer(turn, "retry", { method: "POST", signal });
    }
  }

  /** Leave this turn and all after it. */
  cut(index) {
    this.turns.splice(index);
    this.serverHasIt = false;
  }

  async *#answer(turn, action, options) {
    const response = await this.#post(action, options);
    for await (const line of lines(response)) {
      if (line.asked) Object.assign(turn, { asked: line.asked, answerId: line.answer_id });
      else turn.lines.push(line);
      if (!line.event || performance.now() > this.nextSave) this.save();
      yield line;
    }
  }

  async #post(action, options) {
    await this.#ensure(options.signal);
    try {
      return await ask(`conversations/${this.id}/${action}`, options);
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      this.serverHasIt = false;
      await this.#ensure(options.signal);
      return ask(`conversations/${this.id}/${action}`, options);
    }
  }

  /** Let the server have this conversation. */
  async #ensure(signal) {
    if (this.serverHasIt) return;
    const query = new URLSearchParams({ bot: this.path });
    if (this.id === null) {
      const response = await ask(`conversations?${query}`, { method: "POST", signal });
      ({ id: this.id, user_id: this.userId } = await response.json());
      store.show(this.id);
    } else {
      const past = { user_id: this.userId, messages: this.turns.flatMap(messages) };
      await ask(`conversations/${this.id}?${query}`, sending("PUT", past, signal));
    }
    this.serverHasIt = true;
  }

  save() {
    if (this.id === null) return;
    this.nextSave = performance.now() + SAVE_EVERY;
    const { id, userId, bot, turns } = this;
    // A browser that keeps nothing (a private window, a full disk) still chats.
    store.keep({ id, userId, bot, turns }).catch((error) => console.warn(error));
  }
}

/** What was said in a turn, as Poe's protocol has it; an answer that failed isn't part of it. */
function messages({ asked, answerId, lines: said }) {
  if (asked === null) return [];
  const answer = summary(said);
  if (answer.failed || answer.text === "") return [asked];
  const { text: content, contentType: content_type, files: attachments, metadata } = answer;
  const more = { message_id: answerId, timestamp: asked.timestamp, feedback: [], sender_id: null };
  return [asked, { role: "bot", content, content_type, attachments, metadata, ...more }];
}

/** What an answer's lines make: its text, its files, and whether it failed. */
export function summary(said) {
  const made = { text: "", contentType: "text/markdown", files: [], metadata: null, failed: false };
  for (const { event, turn, failure } of said) {
    if (failure !== undefined) made.failed = true;
    else if (turn) {
      made.text = turn.text;
      made.failed ||= turn.error !== null || turn.broken.length > 0;
    } else if (event) add(made, event.name, parsed(event.data));
  }
  return made;
}

function add(made, name, fields) {
  if (name === "text") made.text += fields.text ?? "";
  else if (name === "replace_response") made.text = fields.text ?? "";
  else if (name === "error") made.failed = true;
  else if (name === "data" && typeof fields.metadata === "string") made.metadata = fields.metadata;
  else if (name === "meta" && fields.content_type === "text/plain") made.contentType = "text/plain";
  else if (name === "file" && typeof fields.url === "string") made.files.push(file(fields));
}

function file({ url, name, content_type: type, inline_ref: reference }) {
  const known = { url, name: String(name ?? url), content_type: String(type ?? "") };
  return typeof reference === "string" ? { ...known, inline_ref: reference } : known;
}

/** An event's data as an object; empty where it isn't one. */
export function parsed(data) {
  try {
    const fields = JSON.parse(data);
    return fields !== null && typeof fields === "object" ? fields : {};
  } catch {
    return {};
  }
}

