/* Scrolling: the end stays in sight unless the reader has left it. */

let following = true;

function atEnd() {
  const { scrollTop, scrollHeight, clientHeight } = document.scrollingElement;
  return scrollHeight - scrollTop - clientHeight < 80;
}

export function scrollToEnd() {
  following = true;
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
}

export function followEnd() {
  if (following) scrollToEnd();
}

addEventListener("scroll", () => { following = atEnd(); }, { passive: true });
