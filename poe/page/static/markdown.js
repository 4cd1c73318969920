/* Markdown to nodes: rendered by markdown-it without raw HTML, sanitised by DOMPurify. */

const markdown = window.markdownit({ html: false, linkify: true, breaks: true });
// "bot.py" is a file here, and no address in Paraguay.
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });

const { rules } = markdown.renderer;
const plain = (tokens, index, options, env, self) => self.renderToken(tokens, index, options);
const image = rules.image;

rules.image = (tokens, index, options, env, self) => {
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

rules.table_open = () => '<div class="scroll" tabindex="0"><table>\n';
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
    "blockquote", "ul", "ol", "li", "a", "img", "div", "table", "thead", "tbody", "tr", "th", "td",
  ],
  ALLOWED_ATTR: [
    "href", "target", "rel", "src", "alt", "title", "loading", "class", "start", "tabindex",
  ],
  RETURN_DOM_FRAGMENT: true,
};

/**
 * A fragment with what `source` says. `references` are the URLs of inline files by their name,
 * as ![title][name] refers to them; `fileUrl` gives the address where the page gets a URL's file.
 */
export function render(source, references, fileUrl) {
  const known = {};
  for (const [name, href] of Object.entries(references)) {
    known[markdown.utils.normalizeReference(name)] = { href, title: "" };
  }
  const html = markdown.render(source, { references: known, fileUrl });
  return window.DOMPurify.sanitize(html, ALLOWED);
}

/** Make `element` show what `fragment` holds, and leave alone what is there already. */
export function show(element, fragment) {
  const fresh = [...fragment.childNodes];
  const old = [...element.childNodes];
  let same = 0;
  while (same < old.length && same < fresh.length && old[same].isEqualNode(fresh[same])) same += 1;
  for (const node of old.slice(same)) node.remove();
  element.append(...fresh.slice(same));
}
