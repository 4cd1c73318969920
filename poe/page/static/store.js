/* Conversations that the browser keeps, by bot: they outlive a reload and another `make run`. */

const MOST = 30; // of one bot
const TABS = "conversation"; // which one this tab shows; "" for a new one

/** A request of IndexedDB's as a promise. */
function done(request) {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}

let opened = null;

function database() {
  opened ??= (() => {
    const request = indexedDB.open("poe-bot", 1);
    request.addEventListener("upgradeneeded", () => {
      const made = request.result.createObjectStore("conversations", { keyPath: "id" });
      made.createIndex("bot", "bot");
    });
    return done(request);
  })();
  return opened;
}

async function conversations(mode) {
  return (await database()).transaction("conversations", mode).objectStore("conversations");
}

/** Those of `bot`, the latest first. */
export async function kept(bot) {
  const all = await done((await conversations("readonly")).index("bot").getAll(bot));
  return all.sort((one, other) => other.updated - one.updated);
}

/** The one that this tab showed, or in a new tab the latest; null for a new chat. */
export async function current(bot) {
  const id = sessionStorage.getItem(TABS);
  if (id === "") return null;
  const all = await kept(bot);
  return all.find((each) => each.id === id) ?? all[0] ?? null;
}

/** This tab shows the conversation `id`, or a new one. */
export function show(id) {
  sessionStorage.setItem(TABS, id ?? "");
}

/** Keep {id, bot, …} as it is now, and of its bot's others the latest. */
export async function keep(conversation) {
  const keeping = await conversations("readwrite");
  const put = done(keeping.put({ ...conversation, updated: Date.now() }));
  keeping.transaction.commit(); // now, as the page may be left at any moment
  await put;
  const old = (await kept(conversation.bot)).slice(MOST);
  if (old.length === 0) return;
  const store = await conversations("readwrite");
  await Promise.all(old.map(({ id }) => done(store.delete(id))));
}

export async function forgetAll(bot) {
  const all = await kept(bot);
  const store = await conversations("readwrite");
  await Promise.all(all.map(({ id }) => done(store.delete(id))));
}
