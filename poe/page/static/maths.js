/* Mathematics, set by KaTeX as nodes: no HTML in between, and styles that the page's policy allows. */

const OPTIONS = {
  throwOnError: true, // its own rendering of an error needs an inline style
  strict: "ignore",
  trust: false, // no links, images, classes or identifiers of an answer's own
  maxSize: 20, // em
  maxExpand: 500,
};

/** Set what `holder` has as .math; what KaTeX can't read stays as it was written. */
export function setMaths(holder) {
  for (const node of holder.querySelectorAll(".math")) {
    const made = document.createElement("span");
    try {
      window.katex.render(node.textContent, made, { ...OPTIONS, displayMode: node.tagName === "DIV" });
      node.replaceChildren(...made.childNodes);
    } catch (error) {
      node.classList.add("unread");
      node.title = error.message;
    }
  }
}
