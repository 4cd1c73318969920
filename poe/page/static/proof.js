/*
 * Whether the server is the one that this page came from. Once that has stopped, any user of the
 * machine may listen on its port; no other server gets the page's cookie.
 */

let key = null; // until the page has asked once, it has just come from its server
let isDoubted = false;

/** Check with this key, in hexadecimal, from now on. */
export async function trust(hex) {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  key ??= await crypto.subtle.importKey("raw", bytes(hex), algorithm, false, ["verify"]);
}

/** The server has been silent, or another. */
export function doubt() {
  isDoubted = true;
}

/** Whether it can be sent something; asks it if there is a doubt. */
export async function mayAsk(signal) {
  return !isDoubted || isOurs(signal);
}

/** Ask the server, without the cookie. Throws what `fetch` throws. */
export async function isOurs(signal) {
  if (key === null) return true;
  const challenge = hexadecimal(crypto.getRandomValues(new Uint8Array(16)));
  const response = await fetch(`proof/${challenge}`, { credentials: "omit", signal });
  if (!response.ok) return false;
  const asked = new TextEncoder().encode(`${location.port} ${challenge}`);
  const isTrue = await crypto.subtle.verify("HMAC", key, bytes(await response.text()), asked);
  isDoubted = !isTrue;
  return isTrue;
}

function bytes(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function hexadecimal(values) {
  return [...values].map((value) => value.toString(16).padStart(2, "0")).join("");
}
