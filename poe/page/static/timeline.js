/*
 * How an answer came: one line with a verdict and two figures, and on demand the chart, all figures
 * and the raw events.
 */

import { Chart } from "./chart.js";
import { duration, size } from "./figures.js";
import { rawRows } from "./raw.js";
import { verdict } from "./verdict.js";

const OPEN = "timeline"; // in the browser's storage: whether timelines are shown

export class Timeline {
  /** `line` is the button that shows and hides `element`. */
  constructor(line, element) {
    Object.assign(this, { line, element });
    this.events = [];
    this.bytes = 0;
    this.longestGap = 0;
    this.began = performance.now();
    this.turn = null;
    this.chart = new Chart(element);
    line.addEventListener("click", () => this.#toggle());
    this.raw = element.querySelector(".raw");
    element.querySelector(".raw-toggle").addEventListener("click", () => this.#toggleRaw());
    this.#open(localStorage.getItem(OPEN) === "open");
  }

  /** {name, seconds, bytes, data}, and whether it `holdsText` that one sees. */
  take(event) {
    const before = this.events.at(-1)?.seconds ?? 0;
    this.longestGap = Math.max(this.longestGap, event.seconds - before);
    this.bytes += event.bytes;
    // The server's clock counts; this one only moves the chart on until the next event.
    this.began = performance.now() - event.seconds * 1000;
    this.events.push(event);
  }

  /** The answer is over; `turn` is null where nothing came of it. */
  finish(turn, label) {
    this.turn = turn;
    this.ended = turn?.seconds ?? this.events.at(-1)?.seconds ?? this.#now();
    this.label = label;
    this.draw();
  }

  draw() {
    const { text, kind, why } = verdict(this.events, this.ended, this.label);
    const pill = this.line.querySelector(".pill");
    set(pill, text);
    pill.className = `pill ${kind}`;
    this.line.title = why;
    set(this.line.querySelector(".figures"), this.#figures());
    if (this.element.hidden) return;
    this.chart.draw(this.events, this.#span());
    this.element.classList.toggle("warn", kind === "warn");
    set(this.element.querySelector(".why"), why && `${why}.`);
    this.#list();
    this.#addRaw();
  }

  #now() {
    return (performance.now() - this.began) / 1000;
  }

  #span() {
    const last = this.events.at(-1)?.seconds ?? 0;
    return Math.max(this.ended ?? this.#now(), last, 0.001);
  }

  #figures() {
    const first = this.events[0] ? [`first ${duration(this.events[0].seconds)}`] : [];
    return [...first, `total ${duration(this.#span())}`].join(" · ");
  }

  #list() {
    const facts = { "First event": duration(this.events[0]?.seconds) };
    if (this.turn?.first_response_seconds != null) {
      facts["First byte"] = duration(this.turn.first_response_seconds);
    }
    facts["Longest gap"] = this.events.length > 0 ? duration(this.longestGap) : "–";
    facts.Events = this.events.length.toLocaleString("en");
    facts.Bytes = size(this.bytes);
    if (this.ended !== undefined) facts.Total = duration(this.ended);
    const list = this.element.querySelector("dl");
    list.replaceChildren(...Object.entries(facts).map(([name, value]) => pair(name, value)));
  }

  #toggle() {
    this.#open(this.element.hidden);
    localStorage.setItem(OPEN, this.element.hidden ? "" : "open");
    this.draw();
  }

  #open(isOpen) {
    this.element.hidden = !isOpen;
    this.line.setAttribute("aria-expanded", String(isOpen));
  }

  #toggleRaw() {
    this.raw.hidden = !this.raw.hidden;
    this.element.querySelector(".raw-toggle").setAttribute("aria-expanded", String(!this.raw.hidden));
    this.#addRaw();
  }

  /** Rows only once they are opened: an answer may have 10,000 events. */
  #addRaw() {
    if (this.raw.hidden) return;
    const body = this.raw.querySelector("tbody");
    body.append(...rawRows(this.events, body.rows.length));
  }
}

function pair(name, value) {
  const [made, term, description] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
  term.textContent = name;
  description.textContent = value;
  made.append(term, description);
  return made;
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
