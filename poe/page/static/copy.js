/* Copying: a button that shows for a moment whether it worked. */

const MOMENT = 1500; // ms

/** A button that copies what `text()` gives. */
export function copyButton(label, text) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", label);
  copiesOnClick(button, text);
  return button;
}

export function copiesOnClick(button, text) {
  const before = button.textContent;
  button.addEventListener("click", async () => {
    button.textContent = await copied(text()) ? "Copied" : "Not copied";
    document.getElementById("announcement").textContent = button.textContent;
    setTimeout(() => { button.textContent = before; }, MOMENT);
  });
}

/** Whether the browser allowed it. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
