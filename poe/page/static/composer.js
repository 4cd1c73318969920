/* Where a message is written: its text, its files, and the keys that send and stop. */

import { Attachments } from "./attachments.js";
import { ask } from "./server.js";

const NO_ATTACHMENTS = "The bot’s settings don’t allow attachments";

export class Composer {
  /** `onSend` gets a text and files, unless it is busy; `lastSaid` gives the text said last. */
  constructor({ onSend, onStop, lastSaid }) {
    Object.assign(this, { onSend, onStop, lastSaid });
    this.isBusy = false;
    this.allowsFiles = true;
    this.form = document.getElementById("composer");
    this.text = this.form.querySelector("#text");
    this.picker = this.form.querySelector("#files");
    this.attachments = new Attachments(this.form.querySelector("#attachments"), upload);
    this.#listen();
  }

  clear() {
    this.attachments.take();
    this.text.focus();
  }

  /** Show the button that fits. */
  set busy(isBusy) {
    this.isBusy = isBusy;
    const [send, stop] = [this.form.querySelector("#send"), this.form.querySelector("#stop")];
    const hadFocus = [send, stop].includes(document.activeElement);
    stop.hidden = !isBusy;
    send.hidden = isBusy;
    if (hadFocus) this.text.focus();
  }

  set allowsAttachments(allowed) {
    this.allowsFiles = allowed;
    const button = this.form.querySelector("#attach");
    button.disabled = !allowed;
    button.title = allowed ? "Attach files" : NO_ATTACHMENTS;
  }

  async #attach(files) {
    if (this.allowsFiles) await this.attachments.add(files);
    this.text.focus();
  }

  #submit() {
    const text = this.text.value.trim();
    if (this.isBusy || (text === "" && this.attachments.isEmpty)) return;
    this.text.value = "";
    this.onSend(text, this.attachments.take());
  }

  #key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "ArrowUp" && this.text.value === "" && this.lastSaid()) {
      event.preventDefault();
      this.text.value = this.lastSaid();
    }
  }

  #listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.text.addEventListener("keydown", (event) => this.#key(event));
    this.text.addEventListener("paste", (event) => {
      if (event.clipboardData.files.length === 0) return;
      event.preventDefault();
      this.#attach(event.clipboardData.files);
    });
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      this.#attach(event.dataTransfer.files);
    });
    this.form.querySelector("#attach").addEventListener("click", () => this.picker.click());
    this.picker.addEventListener("change", async () => {
      await this.#attach(this.picker.files);
      this.picker.value = "";
    });
    this.form.querySelector("#stop").addEventListener("click", () => this.onStop());
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) this.onStop();
    });
  }
}

async function upload(file) {
  const path = `attachments?name=${encodeURIComponent(file.name.toWellFormed())}`;
  return (await ask(path, { method: "POST", body: file })).json();
}
