// What every page of the console does: colours, dialogs, forms that act, live parts, times, keys. Only textContent is ever written.
import { kept } from "./kept.js";
import { startLive } from "./live.js";
import { startActing } from "./acting.js";
import { startPicks } from "./picks.js";
import { startViews } from "./views.js";
import { startTimes } from "./times.js";

function startTheme() {
  const buttons = document.querySelectorAll("[data-theme-choice]");
  const show = (choice) => {
    if (choice === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
  };
  show(kept.get("theme") ?? "system");
  for (const button of buttons) button.addEventListener("click", () => {
    kept.set("theme", button.dataset.themeChoice === "system" ? null : button.dataset.themeChoice);
    show(button.dataset.themeChoice);
  });
}

function startKeys() {
  const places = { r: "/", a: "/approvals", n: "/attention", g: "/agents", t: "/tools", d: "/dead" };
  let began = -Infinity; // when `g` was pressed; times count from the page's own start, so that 0 would be a moment ago on a new page
  document.addEventListener("keydown", (event) => walk(event));
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
    const second = event.timeStamp - began < 900;
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    } else if (second && places[event.key]) {
      began = -Infinity;
      location.assign(places[event.key]);
    } else if (event.key === "g") {
      began = event.timeStamp;
    }
  });
}

/** From span to span of a trace. */
function walk(event) {
  const at = event.target.closest(".wf summary");
  if (!at || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = [...document.querySelectorAll(".wf summary")];
  const to = { ArrowDown: all.indexOf(at) + 1, ArrowUp: all.indexOf(at) - 1, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  all[Math.min(Math.max(to, 0), all.length - 1)].focus();
}

startTheme();
startKeys();
startActing();
startPicks();
startViews();
startTimes();
startLive();
const timeline = document.getElementById("timeline");
if (timeline) import("./timeline.js").then((module) => module.startTimeline(timeline));
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
document.documentElement.dataset.ready = "yes";
