/* One answer on the page: its text as it arrives, what Poe would show with it, how it came. */

import { parsed } from "./conversation.js";
import { copiesOnClick } from "./copy.js";
import { fileNode } from "./files.js";
import { render, showRendered } from "./markdown.js";
import { Timeline } from "./timeline.js";

/** Rendering may take this part of the time; a long text is then drawn less often. */
const SHARE = 0.25;

export class Answer {
  /** `fileUrl` gives the address where the page gets a URL's file. */
  constructor({ fileUrl, onReply, onRetry, onDraw }) {
    const template = document.getElementById("answer-template");
    this.element = template.content.cloneNode(true).querySelector(".answer");
    this.timeline = new Timeline(this.find(".line"), this.find(".timeline"));
    this.text = "";
    this.replaced = 0;
    this.references = {};
    this.plain = false;
    this.mayRetry = true;
    this.open = true;
    Object.assign(this, { fileUrl, onReply, onDraw });
    copiesOnClick(this.find(".copy-answer"), () => this.text);
    this.find(".retry").addEventListener("click", onRetry);
    this.nextDraw = 0;
    this.#tick();
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  /** One of the answer's lines. */
  takeLine({ event, turn, failure }) {
    if (event) this.take(event);
    else if (turn) this.finish(turn);
    else if (failure !== undefined) this.fail("No answer", failure);
  }

  /** One event as it arrived: {name, data, seconds, bytes}, of an exception with its details. */
  take(event) {
    const fields = parsed(event.data);
    const holdsText = ["text", "replace_response"].includes(event.name) && Boolean(fields.text);
    this.timeline.take({ ...event, holdsText });
    switch (event.name) {
      case "meta":
        this.plain = fields.content_type === "text/plain";
        break;
      case "text":
        this.text += fields.text ?? "";
        break;
      case "replace_response":
        this.replaced += this.text === "" ? 0 : 1;
        this.text = fields.text ?? "";
        break;
      case "suggested_reply":
        this.#addReply(String(fields.text ?? ""));
        break;
      case "file":
        this.#addFile(fields);
        break;
      case "error":
        this.mayRetry = fields.allow_retry !== false;
        this.#detail(event.details ?? "");
    }
    this.changed = true;
  }

  /** The answer's end: Poe's view of it. */
  finish(turn) {
    this.text = turn.text;
    const failed = turn.error !== null || turn.broken.length > 0;
    if (turn.error !== null) this.#problem("The bot’s error", turn.error);
    else if (failed) this.#problem("Poe would reject this answer", turn.broken.join("; "));
    if (failed) this.#failed(this.mayRetry);
    this.#end(turn, failed ? "failed" : null);
  }

  /** No answer came, or its end never did. */
  fail(title, reason) {
    this.#problem(title, reason);
    this.#failed(true);
    this.#end(null, "failed");
  }

  stop(note = "Stopped.") {
    this.#note(note);
    this.#end(null, "stopped");
  }

  /** What is only of use while this is the last answer. */
  retire() {
    this.find(".replies").hidden = true;
    this.find(".retry").hidden = true;
  }

  #failed(mayRetry) {
    this.find(".retry").textContent = "Try again";
    this.find(".retry").hidden = !mayRetry;
  }

  #end(turn, label) {
    this.open = false;
    this.element.removeAttribute("aria-busy");
    if (this.replaced > 0) this.#note(`The text was replaced ${times(this.replaced)}.`);
    this.timeline.finish(turn, label);
    this.#draw();
    this.find(".copy-answer").hidden = this.text === "";
    this.find(".actions").hidden = false;
  }

  #tick() {
    if (!this.open) return;
    const began = performance.now();
    if (began >= this.nextDraw) {
      this.#draw();
      const end = performance.now();
      this.nextDraw = end + (end - began) * (1 / SHARE - 1);
    }
    requestAnimationFrame(() => this.#tick());
  }

  #draw() {
    if (this.changed) {
      const target = this.find(".text");
      target.classList.toggle("plain", this.plain);
      if (this.plain) target.textContent = this.text;
      else showRendered(target, render(this.text, this.references, this.fileUrl));
      this.changed = false;
    }
    if (this.open) this.timeline.draw();
    this.onDraw();
  }

  #addReply(text) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => this.onReply(text));
    this.find(".replies").append(button);
    this.find(".replies").hidden = false;
  }

  #addFile({ url, name, content_type: type, inline_ref: reference }) {
    if (reference) {
      this.references[reference] = url;
      return;
    }
    const item = document.createElement("li");
    item.append(fileNode(this.fileUrl(url), String(name ?? url), String(type ?? "")));
    this.find(".files").append(item);
    this.find(".files").hidden = false;
  }

  #problem(title, text) {
    this.find(".problem strong").textContent = title;
    this.find(".problem p").textContent = text;
    this.find(".problem").hidden = false;
  }

  /** Folded under one line of it: what to write where that is known, else the exception itself. */
  #detail(details) {
    const rows = details.trim().split("\n");
    this.find(".problem summary").textContent = rows.at(rows[0].startsWith("Traceback") ? -1 : 0);
    this.find(".problem pre").textContent = details;
    this.find(".problem details").hidden = details === "";
  }

  #note(text) {
    const note = this.find(".note");
    note.textContent = `${note.textContent} ${text}`.trim();
    note.hidden = false;
  }
}

function times(count) {
  return count === 1 ? "once" : `${count} times`;
}
