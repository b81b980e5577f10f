// Live parts: `data-live` ("runs", or "run" with `data-run`) is looked at again when the edge says that something happened.
//   data-live-src    where the part comes from; "here": the page's own address
//   data-live-every  at most so often, in milliseconds (default 1000)
//   data-live-gentle not while somebody types into it, or has opened something in it
//   data-live-off    not at all; data-live-done: nothing can happen any more
const LOOK_ANYWAY_MS = 45_000;
const listeners = new Set();

/** Call `listener` whenever the page should look again. */
export function onChange(listener) { listeners.add(listener); }

/** Look at everything again now: something was done here. */
export function lookAgain() { for (const listener of listeners) listener(); }

export function startLive() {
  for (const part of document.querySelectorAll("[data-live]")) if (!("liveOff" in part.dataset)) onChange(throttled(part));
  const run = document.querySelector("[data-live=run]");
  connect(run ? `/live?run=${encodeURIComponent(run.dataset.run)}` : "/live");
  setInterval(() => { if (document.visibilityState === "visible") lookAgain(); }, LOOK_ANYWAY_MS);
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") lookAgain(); });
  document.getElementById("badges")?.addEventListener("htmx:after:swap", showBadges);
  document.body.addEventListener("htmx:after:swap", showBadges);
}

function connect(address) {
  const shown = document.getElementById("linked");
  const text = document.getElementById("linked-text");
  const say = (state, words) => { if (shown.dataset.state !== state) { shown.dataset.state = state; text.textContent = words; } };
  const source = new EventSource(address);
  source.addEventListener("open", () => { say("on", "live"); lookAgain(); });
  source.addEventListener("change", () => { if (document.visibilityState === "visible") lookAgain(); });
  source.addEventListener("error", () => {
    say("lost", source.readyState === EventSource.CLOSED ? "not live; trying again" : "reconnecting");
    if (source.readyState === EventSource.CLOSED) setTimeout(() => connect(address), 4000);
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) connect(address); });
}

function throttled(part) {
  const every = Number(part.dataset.liveEvery ?? 1000);
  let last = -every;
  let timer = 0;
  let busy = false;
  part.addEventListener("htmx:before:swap", (event) => {
    const { sourceElement, request } = event.detail.ctx;
    if (sourceElement === part && request.action !== address(part)) event.preventDefault(); // another filter was chosen since it was asked for
  });
  const look = async () => {
    timer = 0;
    if (busy || occupied(part)) { timer = setTimeout(look, 500); return; }
    busy = true;
    last = performance.now();
    try {
      // Each part is its own source: those of one source wait for each other, and htmx drops the third.
      await window.htmx.ajax("GET", address(part), { source: part, target: part, swap: "innerMorph" });
    } finally { busy = false; }
  };
  return () => { if (!timer && part.isConnected) timer = setTimeout(look, Math.max(0, last + every - performance.now())); };
}

function address(part) {
  return part.dataset.liveSrc === "here" ? location.pathname + location.search : part.dataset.liveSrc;
}

/** Somebody is in the middle of something here. */
function occupied(part) {
  if (document.querySelector("dialog[open]") && part.contains(document.querySelector("dialog[open]"))) return true;
  const focused = document.activeElement;
  if (part.contains(focused) && focused.matches("input:not([type=range]), textarea, select")) return true;
  return [...part.querySelectorAll("form[data-touched], details.edit[open]")].length > 0;
}

function showBadges() {
  for (const told of document.querySelectorAll("#badges [data-badge]")) {
    const badge = document.getElementById(`badge-${told.dataset.badge}`);
    const count = Number(told.dataset.count);
    if (!badge) continue;
    badge.hidden = count === 0;
    badge.textContent = count > 99 ? "99+" : String(count);
  }
}
