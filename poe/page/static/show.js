/* Nodes that grow: only what has changed is drawn again, and the focus stays. */

/** What each node on the page was before it was dressed. */
const sources = new WeakMap();
const FOCUSABLE = "a[href], button, [tabindex]";

/**
 * Make `element` show what `fragment` holds, and leave alone what is there already. `dress` gets
 * the rest before it is shown, and may change it.
 */
export function show(element, fragment, dress) {
  const fresh = [...fragment.childNodes];
  const old = [...element.childNodes];
  let same = 0;
  while (same < old.length && same < fresh.length && isSame(old[same], fresh[same])) same += 1;
  const focused = focusable(old.slice(same)).indexOf(document.activeElement);
  for (const node of old.slice(same)) node.remove();
  const added = fresh.slice(same).map((node) => dressed(node, dress));
  element.append(...added);
  if (focused >= 0) focusable(added)[focused]?.focus({ preventScroll: true });
}

function isSame(shown, source) {
  return sources.get(shown)?.isEqualNode(source);
}

function dressed(node, dress) {
  const source = node.cloneNode(true);
  const holder = document.createDocumentFragment();
  holder.append(node);
  dress(holder);
  sources.set(holder.firstChild, source);
  return holder.firstChild;
}

function focusable(nodes) {
  const elements = nodes.filter((node) => node instanceof Element);
  return elements.flatMap((each) => [
    ...(each.matches(FOCUSABLE) ? [each] : []),
    ...each.querySelectorAll(FOCUSABLE),
  ]);
}
