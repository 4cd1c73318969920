/* Whether an answer streamed, judged by when its pieces of text came. */

import { duration } from "./figures.js";

/** Fewer pieces of text than this don't show whether an answer streams. */
const ENOUGH = 3;
/** Silence that isn't worth a mark, in seconds. */
const SHORT = 0.3;
/** What comes within this part of an answer's time comes at once. */
const AT_ONCE = 0.05;

/**
 * In a word, of which kind it is, and why. `ended` is when, in seconds, or undefined; `label` says
 * how it failed, if it did.
 */
export function verdict(events, ended, label) {
  if (label) return { text: label, kind: "bad", why: "" };
  const texts = events.filter(({ holdsText }) => holdsText);
  if (ended === undefined) {
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
