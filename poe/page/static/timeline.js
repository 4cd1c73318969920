/*
 * When an answer's events came: a staircase of bytes over time, a tick for each event below it.
 * What streams climbs steadily; what something held back is flat and then a wall.
 */

const TEXTS = new Set(["text", "replace_response"]);
const [WIDTH, TOP, FLOOR, TICK_TOP, TICK_END] = [1000, 4, 72, 80, 98];

/** Fewer pieces of text than this say nothing about streaming. */
const ENOUGH = 3;
/** Silence that nobody minds, in seconds. */
const SHORT = 0.3;
/** What comes within this part of an answer's time comes at once. */
const AT_ONCE = 0.05;

export class Timeline {
  constructor(element) {
    this.element = element;
    this.events = [];
    this.bytes = 0;
    this.longestGap = 0;
    this.began = performance.now();
    this.turn = null;
    this.chart = element.querySelector(".chart");
    this.chart.addEventListener("pointermove", (move) => this.#point(move));
    this.chart.addEventListener("pointerleave", () => this.#leave());
    this.draw();
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
    this.ended = turn?.seconds ?? this.#now();
    this.label = label;
    this.draw();
  }

  draw() {
    const span = this.#span();
    const x = (seconds) => round((seconds / span) * WIDTH);
    const first = this.events[0]?.seconds ?? span;
    const curve = this.#curve(x);
    this.#path("silence", `M0 ${TOP}H${x(first)}V${FLOOR}H0Z`);
    this.#path("curve", curve);
    this.#path("area", curve && `${curve}V${FLOOR}H${x(first)}Z`);
    this.#path("ticks", this.#ticks(x, (name) => TEXTS.has(name)));
    this.#path("ticks.other", this.#ticks(x, (name) => !TEXTS.has(name) && name !== "error"));
    this.#path("ticks.error", this.#ticks(x, (name) => name === "error"));
    this.element.querySelector(".to").textContent = duration(span);
    this.#say();
  }

  #now() {
    return (performance.now() - this.began) / 1000;
  }

  #span() {
    const last = this.events.at(-1)?.seconds ?? 0;
    return Math.max(this.ended ?? this.#now(), last, 0.001);
  }

  #curve(x) {
    let sum = 0;
    let path = "";
    for (const { seconds, bytes } of this.events) {
      path += path ? `H${x(seconds)}` : `M${x(seconds)} ${FLOOR}`;
      sum += bytes;
      path += `V${round(FLOOR - (sum / this.bytes) * (FLOOR - TOP))}`;
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

  #say() {
    const facts = { "First event": duration(this.events[0]?.seconds) };
    if (this.turn?.first_response_seconds != null) {
      facts["First byte"] = duration(this.turn.first_response_seconds);
    }
    facts["Longest gap"] = this.events.length > 0 ? duration(this.longestGap) : "–";
    facts.Events = this.events.length.toLocaleString("en");
    facts.Bytes = size(this.bytes);
    if (this.ended !== undefined) facts.Total = duration(this.ended);
    const list = this.element.querySelector("dl");
    list.replaceChildren(...Object.entries(facts).flatMap(([name, value]) => pair(name, value)));

    const { text, kind, why } = this.#verdict();
    const pill = this.element.querySelector(".pill");
    if (pill.textContent !== text) pill.textContent = text;
    pill.className = `pill ${kind}`;
    pill.title = why;
    this.element.classList.toggle("warn", kind === "warn");
    this.element.querySelector(".why").textContent = kind === "warn" ? `${why}.` : "";
  }

  #verdict() {
    if (this.label) return { text: this.label, kind: "bad", why: "" };
    const texts = this.events.filter(({ holdsText }) => holdsText);
    if (this.ended === undefined) {
      return { text: texts.length > 0 ? "streaming" : "waiting", kind: "live", why: "" };
    }
    if (texts.length < ENOUGH) {
      const why = "Too few pieces of text to tell whether they stream";
      return { text: "complete", kind: "", why };
    }
    const [first, last] = [texts[0].seconds, texts.at(-1).seconds];
    if (first > SHORT && last - first < AT_ONCE * last) {
      const came = `${texts.length} pieces of text came within ${duration(last - first)}`;
      const why = `${came}, after ${duration(first)} without any: buffered on the way, or sent all at once`;
      return { text: "all at once", kind: "warn", why };
    }
    const why = `${texts.length} pieces of text over ${duration(last - first)}`;
    return { text: "streamed", kind: "good", why };
  }

  #point(move) {
    if (this.events.length === 0) return;
    const box = this.chart.getBoundingClientRect();
    const seconds = ((move.clientX - box.left) / box.width) * this.#span();
    const index = nearest(this.events, seconds);
    const { name, bytes, seconds: at } = this.events[index];
    const gap = at - (this.events[index - 1]?.seconds ?? 0);
    const when = `${duration(at)} (+${duration(gap)})`;
    this.element.querySelector(".readout").textContent = `${name} ${when} ${size(bytes)}`;
    this.#path("cursor", `M${round((at / this.#span()) * WIDTH)} ${TOP}V${TICK_END}`);
    this.element.classList.add("pointed");
  }

  #leave() {
    this.element.querySelector(".readout").textContent = "";
    this.#path("cursor", "");
    this.element.classList.remove("pointed");
  }
}

/** Table rows of raw events from the `start`-th on. */
export function rawRows(events, start) {
  return events.slice(start).map((event, index) => {
    const before = events[start + index - 1]?.seconds ?? 0;
    const row = document.createElement("tr");
    const [at, gap] = [event.seconds, event.seconds - before].map((each) => each.toFixed(3));
    const cells = [at, `+${gap}`, event.bytes, event.name, event.data];
    for (const cell of cells) row.insertCell().textContent = cell;
    if (event.name === "error") row.className = "error";
    return row;
  });
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

function pair(name, value) {
  const [term, description] = [document.createElement("dt"), document.createElement("dd")];
  term.textContent = name;
  description.textContent = value;
  return [term, description];
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function duration(seconds) {
  if (seconds === undefined) return "–";
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(2)} s`;
}

function size(bytes) {
  return bytes < 1000 ? `${bytes} B` : `${(bytes / 1000).toFixed(1)} kB`;
}
