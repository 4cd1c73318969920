/*
 * When an answer's events came: a staircase of bytes over time, a tick for each event below it.
 * What streams climbs steadily; what something held back is flat and then a wall.
 */

import { duration, round, size } from "./figures.js";

const TEXTS = new Set(["text", "replace_response"]);
const [WIDTH, TOP, FLOOR, TICK_TOP, TICK_END] = [1000, 4, 72, 80, 98];

export class Chart {
  /** In `element`, which has the chart, its axis, and a readout for what is pointed at. */
  constructor(element) {
    this.element = element;
    this.chart = element.querySelector(".chart");
    this.chart.addEventListener("pointermove", (move) => this.#point(move));
    this.chart.addEventListener("pointerleave", () => this.#leave());
  }

  /** Draw {seconds, bytes, name} of each event over `span` seconds. */
  draw(events, span) {
    Object.assign(this, { events, span });
    const x = (seconds) => round((seconds / span) * WIDTH);
    const first = events[0]?.seconds ?? span;
    const curve = this.#curve(x);
    this.#path("silence", `M0 ${TOP}H${x(first)}V${FLOOR}H0Z`);
    this.#path("curve", curve);
    this.#path("area", curve && `${curve}V${FLOOR}H${x(first)}Z`);
    this.#path("ticks", this.#ticks(x, (name) => TEXTS.has(name)));
    this.#path("ticks.other", this.#ticks(x, (name) => !TEXTS.has(name) && name !== "error"));
    this.#path("ticks.error", this.#ticks(x, (name) => name === "error"));
    this.element.querySelector(".to").textContent = duration(span);
  }

  #curve(x) {
    const total = this.events.reduce((sum, { bytes }) => sum + bytes, 0);
    let sum = 0;
    let path = "";
    for (const { seconds, bytes } of this.events) {
      path += path ? `H${x(seconds)}` : `M${x(seconds)} ${FLOOR}`;
      sum += bytes;
      path += `V${round(FLOOR - (sum / total) * (FLOOR - TOP))}`;
    }
    return path && `${path}H${WIDTH}`;
  }

  #ticks(x, wanted) {
    const events = this.events.filter(({ name }) => wanted(name));
    const places = new Set(events.map(({ seconds }) => x(seconds)));
    return [...places].map((place) => `M${place} ${TICK_TOP}V${TICK_END}`).join("");
  }

  #path(name, d) {
    this.chart.querySelector(`.${name}`).setAttribute("d", d);
  }

  #point(move) {
    if (this.events.length === 0) return;
    const box = this.chart.getBoundingClientRect();
    const seconds = ((move.clientX - box.left) / box.width) * this.span;
    const index = nearest(this.events, seconds);
    const { name, bytes, seconds: at } = this.events[index];
    const gap = at - (this.events[index - 1]?.seconds ?? 0);
    const when = `${duration(at)} (+${duration(gap)})`;
    this.element.querySelector(".readout").textContent = `${name} ${when} ${size(bytes)}`;
    this.#path("cursor", `M${round((at / this.span) * WIDTH)} ${TOP}V${TICK_END}`);
    this.element.classList.add("pointed");
  }

  #leave() {
    this.element.querySelector(".readout").textContent = "";
    this.#path("cursor", "");
    this.element.classList.remove("pointed");
  }
}

function nearest(events, seconds) {
  let [low, high] = [0, events.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].seconds < seconds) low = middle + 1;
    else high = middle;
  }
  const before = events[low - 1];
  return before && seconds - before.seconds < events[low].seconds - seconds ? low - 1 : low;
}
