// What every page of the console does: colours, dialogs, forms that act, live parts, times, keys. Only textContent is ever written.
import { kept } from "./kept.js";
import { startLive } from "./live.js";
import { startActing } from "./acting.js";
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
  let began = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    } else if (event.key === "g" && event.timeStamp - began > 900) {
      began = event.timeStamp;
    } else if (event.timeStamp - began < 900 && places[event.key]) {
      began = 0;
      location.assign(places[event.key]);
    }
  });
}

startTheme();
startKeys();
startActing();
startViews();
startTimes();
startLive();
const timeline = document.getElementById("timeline");
if (timeline) import("./timeline.js").then((module) => module.startTimeline(timeline));
document.documentElement.dataset.ready = "yes";
