/* Code blocks: coloured by highlight.js, with their language and a button to copy them. */

import { copyButton } from "./copy.js";
import hljs from "./vendor/highlightjs/highlight.min.js";

const LONGEST = 50_000; // characters: colouring more takes longer than it helps
const ALLOWED = {
  ALLOWED_TAGS: ["span"],
  ALLOWED_ATTR: ["class"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** Dress each code block in `holder`. */
export function dressCode(holder) {
  for (const block of holder.querySelectorAll("pre")) {
    const [, language] = /(?:^| )language-(\S+)/.exec(block.firstElementChild?.className) ?? [];
    const text = block.textContent;
    if (block.firstElementChild) colour(block.firstElementChild, text, language);
    const figure = document.createElement("div");
    figure.className = "code";
    block.replaceWith(figure);
    figure.append(bar(language, () => text), block);
    block.tabIndex = 0;
    block.setAttribute("role", "region");
    block.setAttribute("aria-label", language ? `Code in ${language}` : "Code");
  }
}

function bar(language, text) {
  const [element, name] = [document.createElement("div"), document.createElement("span")];
  element.className = "code-bar";
  name.textContent = language ?? "";
  element.append(name, copyButton("Copy code", text));
  return element;
}

function colour(node, text, language) {
  if (!language || text.length > LONGEST || !hljs.getLanguage(language)) return;
  const { value } = hljs.highlight(text, { language, ignoreIllegals: true });
  node.replaceChildren(window.DOMPurify.sanitize(value, ALLOWED));
}
