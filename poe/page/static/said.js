/* What the user said, on the page: it can be edited and sent again. */

import { fileNode, goneNode } from "./files.js";

export class Said {
  /**
   * A turn's message. `run` is the present run: files of another are gone. `onEdit` gets the text
   * that is to take the place of this one.
   */
  constructor({ text, files, run: itsRun }, { run, onEdit }) {
    const template = document.getElementById("user-template");
    this.element = template.content.cloneNode(true).querySelector(".turn");
    Object.assign(this, { text, onEdit });
    this.find("p").textContent = text;
    this.find("p").hidden = text === "";
    this.find("ul").hidden = files.length === 0;
    this.find("ul").append(...files.map((file) => fileItem(file, itsRun === run)));
    this.field = this.find("textarea");
    this.find(".edit").addEventListener("click", () => this.#edit());
    this.find(".cancel").addEventListener("click", () => this.#leave());
    this.find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.field.addEventListener("keydown", (event) => this.#key(event));
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  #edit() {
    this.field.value = this.text;
    this.#show(true);
    this.field.focus();
  }

  #leave() {
    this.#show(false);
    this.find(".edit").focus();
  }

  #send() {
    const text = this.field.value.trim();
    if (text === "" && this.find("ul").hidden) return;
    this.onEdit(text);
  }

  #show(isEdited) {
    this.find("form").hidden = !isEdited;
    this.find(".said").hidden = isEdited;
    this.find(".edit").hidden = isEdited;
  }

  #key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#send();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      this.#leave();
    }
  }
}

function fileItem({ url, name, content_type: type }, isHere) {
  const item = document.createElement("li");
  const gone = "gone: attached in an earlier run";
  item.append(isHere ? fileNode(new URL(url).pathname, name, type) : goneNode(name, gone));
  return item;
}
