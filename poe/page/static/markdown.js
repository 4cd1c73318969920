/* Markdown to nodes: rendered by markdown-it without raw HTML, sanitised by DOMPurify. */

import { dressCode } from "./code.js";
import { goneNode } from "./files.js";
import { setMaths } from "./maths.js";
import { show } from "./show.js";
import { tasklist } from "./vendor/mdit-plugin-tasklist/index.js";
import { tex } from "./vendor/mdit-plugin-tex/index.js";

const markdown = window.markdownit({ html: false, linkify: true, breaks: true });
// "bot.py" is a file here, and no address in Paraguay.
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
const { escapeHtml } = markdown.utils;

// $…$, $$…$$, \(…\), \[…\]: the source as text, which maths.js sets.
markdown.use(tex, {
  delimiters: "all",
  render: (source, isBlock) => isBlock
    ? `<div class="math" tabindex="0" role="region" aria-label="Formula">${escapeHtml(source)}</div>\n`
    : `<span class="math">${escapeHtml(source)}</span>`,
});
markdown.use(tasklist, { label: false });

const { rules } = markdown.renderer;
const plain = (tokens, index, options, env, self) => self.renderToken(tokens, index, options);
const image = rules.image;

// A mark rather than an input: an answer can't be filled in.
rules.checkbox_input = (tokens, index) => {
  const state = tokens[index].attrGet("checked") === null ? "open" : "done";
  return `<span class="task ${state}" role="img" aria-label="${state}"></span>`;
};

rules.image = (tokens, index, options, env, self) => {
  if (!env.fileUrl) return escapeHtml(tokens[index].content);
  const source = tokens[index].attrGet("src");
  if (/^https?:/i.test(source)) tokens[index].attrSet("src", env.fileUrl(source));
  tokens[index].attrSet("loading", "lazy");
  return image(tokens, index, options, env, self);
};

rules.link_open = (tokens, index, options, env, self) => {
  tokens[index].attrSet("target", "_blank");
  tokens[index].attrSet("rel", "noopener noreferrer");
  return plain(tokens, index, options, env, self);
};

rules.table_open = () => '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>\n';
rules.table_close = () => "</table></div>\n";

// A column's alignment as a class: the page allows no inline style.
rules.th_open = rules.td_open = (tokens, index, options, env, self) => {
  const [, side] = /text-align:(\w+)/.exec(tokens[index].attrGet("style") ?? "") ?? [];
  tokens[index].attrs = side ? [["class", `align-${side}`]] : null;
  return plain(tokens, index, options, env, self);
};

const ALLOWED = {
  ALLOWED_TAGS: [
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre",
    "blockquote", "ul", "ol", "li", "a", "img", "div", "span", "table", "thead", "tbody", "tr",
    "th", "td",
  ],
  ALLOWED_ATTR: [
    "href", "target", "rel", "src", "alt", "title", "loading", "class", "start", "tabindex", "role",
    "aria-label",
  ],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/**
 * `source` as a fragment. `references` are the URLs of inline files by their name,
 * as ![title][name] refers to them; `fileUrl` gives the address where the page gets a URL's file,
 * without which an image is its title.
 */
export function render(source, references, fileUrl) {
  const known = {};
  for (const [name, href] of Object.entries(references)) {
    known[markdown.utils.normalizeReference(name)] = { href, title: "" };
  }
  const html = markdown.render(source, { references: known, fileUrl });
  return window.DOMPurify.sanitize(html, ALLOWED);
}

/** Make `element` show a rendered fragment, with code coloured and mathematics set. */
export function showRendered(element, fragment) {
  show(element, fragment, (holder) => {
    dressCode(holder);
    setMaths(holder);
    for (const image of holder.querySelectorAll("img")) {
      image.addEventListener("error", () => image.replaceWith(goneNode(image.alt, "unavailable")));
    }
  });
}
