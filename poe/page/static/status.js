/* Whether the bot runs, asked for all the time: the dot, the word next to it, and why not. */

import { doubt, isOurs, trust } from "./proof.js";
import { ask, Problem } from "./server.js";

const EVERY = 700; // ms
const PATIENCE = 1300; // ms for an answer; with the pause before it 2 s

const SHOWN = {
  asking: { word: "", label: "asking" },
  ready: { word: "", label: "the bot answers" },
  starting: { word: "starting", label: "the bot is starting" },
  broken: {
    word: "broken",
    label: "the last change doesn’t start",
    title: "Your last change doesn’t start. Until it is fixed, the bot runs as it was before.",
  },
  silent: { word: "no answer", label: "the bot doesn’t answer", title: "The bot doesn’t answer" },
  stopped: { word: "stopped", label: "the run has stopped", title: "`make run` has stopped" },
};

const OTHER =
  "Another server answers on its port. Open the address that `make run` prints.";

export class Status {
  /** `onState` gets what the server reports about the run, whenever that has changed. */
  constructor({ dot, word, banner }, onState) {
    Object.assign(this, { dot, word, banner, onState });
    this.last = "";
    this.problem = null;
    this.#show("asking");
  }

  /** Ask for ever. */
  async follow() {
    for (;;) {
      await this.#look();
      await new Promise((resume) => setTimeout(resume, EVERY));
    }
  }

  /** Whether the bot runs, but its settings were unavailable. */
  get hasSettingsProblem() {
    return this.problem !== null;
  }

  /** Why they are unavailable; null once they came. */
  set settingsProblem(problem) {
    this.problem = problem;
    if (this.state?.phase === "ready") this.#showPhase();
  }

  async #look() {
    try {
      const signal = AbortSignal.timeout(PATIENCE);
      if (!(await isOurs(signal))) throw new Problem(OTHER, "other");
      const response = await ask("state", { signal });
      const text = await response.text();
      if (text === this.last) return;
      this.last = text;
      this.state = JSON.parse(text);
      await trust(this.state.proof_key);
      this.#showPhase();
      this.onState(this.state);
    } catch (error) {
      this.last = "";
      doubt();
      const refused = error instanceof Problem && error.status !== null;
      this.#show("stopped", refused ? error.message : "Start it again; this page goes on by itself.");
    }
  }

  #showPhase() {
    const { phase, reason } = this.state;
    if (phase === "ready" && this.problem) this.#show("silent", this.problem);
    else this.#show(phase, reason);
  }

  #show(kind, reason = "") {
    const { word, label, title } = SHOWN[kind];
    this.dot.className = `dot ${kind}`;
    this.dot.setAttribute("aria-label", label);
    set(this.word, word);
    this.banner.hidden = !title;
    set(this.banner.querySelector("strong"), title ?? "");
    set(this.banner.querySelector("pre"), reason);
  }
}

/** Not written again where it is the same: a screen reader would read it again. */
function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
