/* The page's own server: requests, and its refusals in words for people. */

import { mayAsk } from "./proof.js";

export const GONE =
  "The chat page’s server doesn’t answer. Start it with `make run`; this page goes on by itself.";

/** What went wrong; `status` is that of the answer, if there was one. */
export class Problem extends Error {
  constructor(message, status = null) {
    super(message);
    this.status = status;
  }
}

/** A response that isn't a refusal. Throws Problem, and AbortError for what was stopped. */
export async function ask(path, options = {}) {
  let response;
  try {
    if (!(await mayAsk(options.signal))) throw new Problem(GONE);
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(GONE);
  }
  if (!response.ok) throw new Problem(await reason(response), response.status);
  return response;
}

/** Send `value` as JSON, in which no string has half of a surrogate pair. */
export function sending(method, value, signal) {
  const body = JSON.stringify(value, (_, each) =>
    typeof each === "string" ? each.toWellFormed() : each);
  return { method, signal, body, headers: { "Content-Type": "application/json" } };
}

/** Of a refusal, in words: {"error": …} from the page's server, a line of text from its guard. */
async function reason(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return text || `status ${response.status}`;
  }
}

/** Each line of an answer, as it arrives. */
export async function* lines(response) {
  const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await pieces.read();
    if (done) return;
    const [first, ...more] = value.split("\n");
    rest += first;
    for (const piece of more) {
      yield JSON.parse(rest);
      rest = piece;
    }
  }
}
