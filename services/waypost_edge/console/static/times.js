// Times that go on: "3 min ago", and how long something has been running.
const UNITS = [[86_400, "d", 3_600, "h"], [3_600, "h", 60, "min"], [60, "min", 1, "s"]];

/** A length of time in seconds as people read it; the same words as the server's `shown.span`. */
export function span(seconds) {
  if (seconds < 0.0005) return "0 ms";
  if (seconds < 0.001) return "<1 ms";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  for (const [large, name, small, part] of UNITS) if (seconds >= large) return `${Math.floor(seconds / large)} ${name} ${Math.floor((seconds % large) / small)} ${part}`;
  return "";
}

function ago(at) {
  const apart = Date.now() / 1000 - at;
  if (Math.abs(apart) < 1) return "just now";
  const short = span(Math.floor(Math.abs(apart))).split(" ").slice(0, 2).join(" ").replace(".0", "");
  return apart > 0 ? `${short} ago` : `in ${short}`;
}

export function startTimes() {
  setInterval(() => {
    if (document.visibilityState !== "visible") return;
    for (const each of document.querySelectorAll("time[data-ago]")) write(each, ago(Date.parse(each.dateTime) / 1000));
    for (const each of document.querySelectorAll("[data-since]")) write(each, span(Date.now() / 1000 - Number(each.dataset.since)));
  }, 1000);
}

function write(element, text) { if (element.textContent !== text) element.textContent = text; }
