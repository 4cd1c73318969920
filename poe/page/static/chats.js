/* The dialog of earlier chats, which the browser keeps. */

import * as store from "./store.js";

const dialog = document.getElementById("chats");

/** Show those with `bot`; `onChoose` gets the one that is chosen, `onForget` is called once all are deleted. */
export async function choose(bot, { onChoose, onForget }) {
  const chats = await store.kept(bot).catch(() => []);
  const list = dialog.querySelector("ul");
  list.replaceChildren(...chats.map((chat) => item(chat, () => {
    dialog.close();
    onChoose(chat);
  })));
  list.hidden = chats.length === 0;
  dialog.querySelector(".none").hidden = chats.length > 0;
  const forget = dialog.querySelector(".forget");
  forget.hidden = chats.length === 0;
  forget.onclick = async () => {
    await store.forgetAll(bot);
    dialog.close();
    onForget();
  };
  dialog.showModal();
}

function item({ turns, updated }, onClick) {
  const [element, button] = [document.createElement("li"), document.createElement("button")];
  const [title, when] = [document.createElement("span"), document.createElement("time")];
  button.type = "button";
  title.textContent = turns[0]?.text || "(a file)";
  when.textContent = new Date(updated).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  button.append(title, when);
  button.addEventListener("click", onClick);
  element.append(button);
  return element;
}
