/* Raw events, as a table. */

/** Table rows of raw events from the `start`-th on. */
export function rawRows(events, start) {
  return events.slice(start).map((event, index) => {
    const before = events[start + index - 1]?.seconds ?? 0;
    const row = document.createElement("tr");
    const [at, gap] = [event.seconds, event.seconds - before].map((each) => each.toFixed(3));
    const cells = [at, `+${gap}`, event.bytes, event.name, event.data];
    for (const cell of cells) row.insertCell().textContent = cell;
    if (event.name === "error") row.className = "error";
    return row;
  });
}
