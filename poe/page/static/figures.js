/* Figures for people. */

export function round(value) {
  return Math.round(value * 10) / 10;
}

export function duration(seconds) {
  if (seconds === undefined) return "–";
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(2)} s`;
}

export function size(bytes) {
  return bytes < 1000 ? `${bytes} B` : `${(bytes / 1000).toFixed(1)} kB`;
}
