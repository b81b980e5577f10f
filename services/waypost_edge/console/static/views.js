// Named views of the list of runs: a name and an address, kept in this browser. The address alone is what one sends to somebody else.
import { kept } from "./kept.js";

export function startViews() {
  const list = document.getElementById("views");
  const form = document.getElementById("save-view");
  if (!list || !form) return;
  const load = () => { try { return JSON.parse(kept.get("views") ?? "[]").filter((each) => typeof each.name === "string" && typeof each.query === "string"); } catch { return []; } };
  const here = () => { const query = new URLSearchParams(location.search); query.delete("before"); for (const [name, value] of [...query]) if (!value) query.delete(name); return query.toString(); };
  const show = () => {
    for (const old of list.querySelectorAll("[data-own]")) old.remove();
    for (const view of load()) list.append(item(view, () => { kept.set("views", JSON.stringify(load().filter((each) => each.name !== view.name))); show(); }));
    const query = here();
    let known = false;
    for (const link of list.querySelectorAll("a")) {
      const same = new URL(link.href).searchParams.toString() === query;
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
  document.body.addEventListener("htmx:after:history:update", show);
  document.body.addEventListener("htmx:after:swap", show);
  addEventListener("popstate", show);
  show();
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
