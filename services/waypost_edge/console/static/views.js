// Named views of the list of runs: a name and an address, kept in this browser. The address alone is what one sends to somebody else.
import { kept } from "./kept.js";

export function startViews() {
  const list = document.getElementById("views");
  const form = document.getElementById("save-view");
  if (!list || !form) return;
  const load = () => { try { return JSON.parse(kept.get("views") ?? "[]").filter((each) => typeof each.name === "string" && typeof each.query === "string"); } catch { return []; } };
  const here = () => plain(location.search);
  const show = () => {
    for (const old of list.querySelectorAll("[data-own]")) old.remove();
    for (const view of load()) list.append(item(view, () => { kept.set("views", JSON.stringify(load().filter((each) => each.name !== view.name))); show(); }));
    const query = here();
    let known = false;
    for (const link of list.querySelectorAll("a")) {
      const same = plain(new URL(link.href).search) === query;
      known ||= same;
      same ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
    }
    form.hidden = known || !query;
    const clear = document.getElementById("clear-filters");
    if (clear) clear.hidden = !query;
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = form.elements.name.value.trim();
    if (!name) return;
    kept.set("views", JSON.stringify([...load().filter((each) => each.name !== name), { name, query: here() }].slice(-20)));
    form.reset();
    show();
  });
  document.addEventListener("htmx:config:request", (event) => { if (event.detail.ctx.sourceElement.id === "filters") tidy(event.detail.ctx.request.body); });
  document.body.addEventListener("htmx:after:history:update", show);
  document.body.addEventListener("htmx:after:swap", show);
  addEventListener("popstate", show);
  show();
}

/** A query as it is written when nothing is written twice: what is empty left out, statuses in one order, without where the page begins. */
function plain(search) {
  const query = new URLSearchParams(search);
  query.delete("before");
  tidy(query);
  if (query.has("status")) query.set("status", query.get("status").split(",").map((each) => each.trim()).filter(Boolean).sort().join(","));
  query.sort();
  return query.toString();
}

/** What is empty goes, and what is there several times is one, with commas: addresses are for people too. */
function tidy(fields) {
  for (const name of new Set([...fields.keys()])) {
    const values = fields.getAll(name).filter((value) => value !== "");
    fields.delete(name);
    if (values.length) fields.set(name, values.join(","));
  }
}

function item(view, forget) {
  const made = document.createElement("li");
  made.dataset.own = "yes";
  const link = document.createElement("a");
  link.href = `/?${view.query}`;
  link.textContent = view.name;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "icon-button forget";
  button.setAttribute("aria-label", `Forget the view ${view.name}`);
  button.textContent = "×";
  button.addEventListener("click", forget);
  made.append(link, button);
  return made;
}
