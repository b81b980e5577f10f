// Forms that do something (`data-act`), and the dialogs they are in. A form is sent once; what went wrong is said in the form.
import { lookAgain } from "./live.js";
import { kept } from "./kept.js";

export function startActing() {
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    if (opener) return openDialog(opener);
    if (event.target.closest("[data-close]")) event.target.closest("dialog")?.close();
    if (event.target.matches("dialog[open]")) event.target.close(); // the backdrop
    const copier = event.target.closest("[data-copy]");
    if (copier) navigator.clipboard?.writeText(copier.dataset.copy).then(() => toast("Copied"), () => toast("The browser does not let us copy", true));
  });
  document.addEventListener("submit", (event) => {
    if (event.target.matches("form[data-act]")) { event.preventDefault(); send(event.target, event.submitter); }
  });
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-act]");
    if (form) form.dataset.touched = "yes";
    if (event.target.dataset.remember) kept.set(event.target.dataset.remember, event.target.value);
  });
  remembered(document);
  document.body.addEventListener("htmx:after:swap", () => remembered(document));
}

function openDialog(opener) {
  const dialog = document.getElementById(opener.dataset.dialog);
  if (!dialog) return;
  for (const [name, value] of Object.entries(opener.dataset)) {
    if (!name.startsWith("fill")) continue;
    const field = name.slice(4, 5).toLowerCase() + name.slice(5);
    const input = dialog.querySelector(`[name="${CSS.escape(field)}"]`);
    if (input) input.value = value;
    const text = dialog.querySelector(`[data-fill="${CSS.escape(field)}"]`);
    if (text) text.textContent = value;
  }
  const problem = dialog.querySelector(".form-problem");
  if (problem) problem.textContent = "";
  dialog.showModal();
}

function remembered(root) {
  for (const input of root.querySelectorAll("[data-remember]")) if (!input.value) input.value = kept.get(input.dataset.remember) ?? "";
}

async function send(form, button) {
  if (form.dataset.sending) return;
  form.dataset.sending = "yes";
  const problem = form.querySelector(".form-problem");
  if (problem) problem.textContent = "";
  const once = form.querySelector("[name=request_id]");
  const data = new URLSearchParams(new FormData(form, button));
  // the same attempt has the same id, and a form that was changed since is another attempt
  const attempt = data.toString();
  if (once) {
    if (form.dataset.attempt !== attempt) { form.dataset.attempt = attempt; form.dataset.attemptId = crypto.randomUUID(); }
    data.set("request_id", form.dataset.attemptId);
  }
  try {
    const answer = await fetch(form.action, { method: "POST", body: data, headers: { Accept: "application/json" }, redirect: "error" });
    const said = await answer.json().catch(() => ({ detail: `the edge answered ${answer.status}` }));
    if (!answer.ok) throw new Error(said.detail ?? `the edge answered ${answer.status}`);
    finished(form, said);
  } catch (error) {
    const text = error instanceof TypeError ? "The edge cannot be reached. Nothing is lost: try again." : error.message;
    if (problem) problem.textContent = text;
    else toast(text, true);
  } finally {
    delete form.dataset.sending;
  }
}

function finished(form, said) {
  delete form.dataset.touched;
  delete form.dataset.attempt;
  const dialog = form.closest("dialog");
  if (dialog) { dialog.close(); form.reset(); remembered(form); }
  toast(said.message);
  const gone = form.dataset.actRemoves && document.getElementById(form.dataset.actRemoves);
  if (gone) {
    const next = gone.nextElementSibling ?? gone.previousElementSibling;
    gone.remove();
    const focus = next?.querySelector("a, button, input, summary") ?? document.getElementById("main");
    focus.focus({ preventScroll: true });
  }
  if (said.go) location.assign(said.go);
  else lookAgain();
}

/** Say something, politely, for a few seconds. */
export function toast(text, bad = false) {
  const place = document.getElementById("toasts");
  const shown = document.createElement("p");
  shown.className = bad ? "toast bad" : "toast";
  shown.textContent = text;
  place.append(shown);
  while (place.children.length > 3) place.firstElementChild.remove();
  setTimeout(() => shown.remove(), 6000);
}
