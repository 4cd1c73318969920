/* One answer on the page: its text as it arrives, what Poe would show with it, its timeline. */

import { render, show } from "./markdown.js";
import { rawRows, Timeline } from "./timeline.js";

/** Rendering may take this part of the time; a long text is then drawn less often. */
const SHARE = 0.25;

export class Answer {
  /** `fileUrl` gives the address where the page gets a URL's file. */
  constructor(template, { fileUrl, onReply, onRetry, onDraw }) {
    this.element = template.content.cloneNode(true).querySelector(".answer");
    this.timeline = new Timeline(this.element.querySelector(".timeline"));
    this.text = "";
    this.replaced = 0;
    this.references = {};
    this.plain = false;
    this.mayRetry = true;
    this.open = true;
    this.fileUrl = fileUrl;
    this.onReply = onReply;
    this.onDraw = onDraw;
    this.find(".retry").addEventListener("click", onRetry);
    this.find(".raw-toggle").addEventListener("click", () => this.#toggleRaw());
    this.nextDraw = 0;
    this.#tick();
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  /** One event as it arrived: {name, data, seconds, bytes}. */
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
    }
    this.changed = true;
  }

  /** The answer's end: Poe's view of it. */
  finish(turn) {
    this.text = turn.text;
    const failed = turn.error !== null || turn.broken.length > 0;
    if (turn.error !== null) this.#problem("The bot’s error", turn.error);
    else if (failed) this.#problem("Poe would reject this answer", turn.broken.join("; "));
    this.#end(turn, failed ? "failed" : null);
    this.find(".retry").hidden = !(failed && this.mayRetry);
  }

  /** No answer came, or its end never did. */
  fail(title, reason) {
    this.#problem(title, reason);
    this.#end(null, "failed");
    this.find(".retry").hidden = false;
  }

  stop() {
    this.#note("Stopped.");
    this.#end(null, "stopped");
    this.find(".retry").hidden = false;
  }

  /** What is only of use while this is the last answer. */
  retire() {
    this.find(".replies").hidden = true;
    this.find(".retry").hidden = true;
  }

  #end(turn, label) {
    this.open = false;
    this.element.removeAttribute("aria-busy");
    if (this.replaced > 0) this.#note(`The text was replaced ${times(this.replaced)}.`);
    this.timeline.finish(turn, label);
    this.#draw();
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
      else show(target, render(this.text, this.references, this.fileUrl));
      this.#addRaw();
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

  #note(text) {
    const note = this.find(".note");
    note.textContent = `${note.textContent} ${text}`.trim();
    note.hidden = false;
  }

  #toggleRaw() {
    const raw = this.find(".raw");
    raw.hidden = !raw.hidden;
    this.find(".raw-toggle").setAttribute("aria-expanded", String(!raw.hidden));
    this.#addRaw();
  }

  /** Rows only once somebody looks: an answer may have 10,000 events. */
  #addRaw() {
    if (this.find(".raw").hidden) return;
    const body = this.find(".raw tbody");
    body.append(...rawRows(this.timeline.events, body.rows.length));
  }
}

/** A file as Poe shows it: an image itself, anything else by its name. */
export function fileNode(url, name, type) {
  const link = document.createElement("a");
  link.href = url;
  if (type.startsWith("image/")) {
    const image = document.createElement("img");
    image.src = url;
    image.alt = name;
    link.target = "_blank";
    link.append(image);
  } else {
    link.download = name;
    link.className = "file";
    link.append(name);
  }
  return link;
}

function parsed(data) {
  try {
    const fields = JSON.parse(data);
    return fields !== null && typeof fields === "object" ? fields : {};
  } catch {
    return {};
  }
}

function times(count) {
  return count === 1 ? "once" : `${count} times`;
}
