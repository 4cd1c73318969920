/* Files that go along with the next message: uploaded at once, shown as chips until it is sent. */

export class Attachments {
  /** `upload` takes a File and gives {url, name, content_type}, or throws with a reason. */
  constructor(element, upload) {
    this.element = element;
    this.upload = upload;
    this.files = [];
  }

  async add(files) {
    // What could not be taken has been seen by now.
    this.files = this.files.filter(({ problem }) => !problem);
    for (const file of files) {
      try {
        this.files.push(await this.upload(file));
      } catch (problem) {
        this.files.push({ name: file.name, problem: problem.message });
      }
      this.#show();
    }
  }

  get isEmpty() {
    return this.files.every(({ problem }) => problem);
  }

  /** The files for a message, which are here no longer. */
  take() {
    const taken = this.files.filter(({ problem }) => !problem);
    this.files = [];
    this.#show();
    return taken;
  }

  #show() {
    this.element.hidden = this.files.length === 0;
    this.element.replaceChildren(...this.files.map((file) => this.#chip(file)));
  }

  #chip(file) {
    const [item, remove] = [document.createElement("li"), document.createElement("button")];
    item.className = file.problem ? "chip bad" : "chip";
    const name = document.createElement("bdi"); // a name's direction ends with it
    name.textContent = file.name;
    item.append(name, file.problem ? `: ${file.problem}` : "", remove);
    remove.type = "button";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => {
      this.files = this.files.filter((other) => other !== file);
      this.#show();
      // The button that had the focus is gone.
      (this.element.querySelector("button") ?? document.getElementById("text")).focus();
    });
    return item;
  }
}
