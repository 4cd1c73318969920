/* Files: an image shows itself, anything else its name. */

/** A file as Poe shows it. */
export function fileNode(url, name, type) {
  const link = document.createElement("a");
  link.href = url;
  if (type.startsWith("image/")) {
    const image = document.createElement("img");
    image.src = url;
    image.alt = name;
    link.target = "_blank";
    link.append(image);
    image.addEventListener("error", () => link.replaceWith(goneNode(name, "unavailable")));
  } else {
    link.download = name;
    link.className = "file";
    link.append(name);
  }
  return link;
}

/** A file that isn't there any more, and why. */
export function goneNode(name, why) {
  const [node, title] = [document.createElement("span"), document.createElement("bdi")];
  node.className = "file gone";
  title.textContent = name;
  node.append(title, ` (${why})`);
  return node;
}
