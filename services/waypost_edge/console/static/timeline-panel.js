// The panel of one step: what the timeline knows of it at once, and what the log says of it (arguments, results, errors) from the edge.
import { span } from "./times.js";
import { tookText } from "./timeline-tree.js";
import { money } from "./timeline-draw.js";

export class Panel {
  /** `traces`: whether spans may be shown, and Grafana's address of one if there is a Grafana. */
  constructor(element, traces, giveBack) {
    this.element = element;
    this.traces = traces;
    this.giveBack = giveBack;
    this.item = null;
    element.addEventListener("keydown", (event) => { if (event.key === "Escape") this.close(); });
    element.addEventListener("click", (event) => { if (event.target.closest("[data-close-panel]")) this.close(); });
  }

  show(item, now) {
    this.item = item;
    this.element.hidden = false;
    this.element.replaceChildren(this.head(item), this.facts(item, now), this.log = document.createElement("div"));
    if (item.seq !== undefined) {
      const call = item.call ? `?call=${encodeURIComponent(item.call)}` : "";
      const address = `/runs/${encodeURIComponent(item.run)}/steps/${item.seq}${call}`;
      this.address = address;
      this.log.textContent = "Reading the log …";
      window.htmx.ajax("GET", address, { source: this.log, target: this.log, swap: "innerHTML" });
    }
  }

  /** The item has changed while it is shown. */
  refresh(item, now) {
    const was = this.item;
    this.item = item;
    this.element.children[1]?.replaceWith(this.facts(item, now));
    if (item.seq !== undefined && ((was.open && !item.open) || was.bars.length !== item.bars.length)) window.htmx.ajax("GET", this.address, { source: this.log, target: this.log, swap: "innerMorph" });
  }

  focus() { this.element.focus(); }

  close() {
    if (!this.item) return;
    this.item = null;
    this.element.hidden = true;
    this.giveBack();
  }

  head(item) {
    const made = document.createElement("div");
    made.className = "panel-head";
    const text = document.createElement("div");
    const noun = document.createElement("p");
    noun.className = "muted";
    noun.textContent = item.noun;
    const title = document.createElement("h2");
    title.textContent = item.label;
    text.append(noun, title);
    const close = document.createElement("button");
    close.type = "button";
    close.className = "icon-button";
    close.dataset.closePanel = "";
    close.setAttribute("aria-label", "Close the panel");
    close.textContent = "×";
    made.append(text, close);
    return made;
  }

  facts(item, now) {
    const made = document.createElement("div");
    if (item.said) { const said = document.createElement("p"); said.className = "panel-said"; said.textContent = item.said; made.append(said); }
    if (item.error) { const wrong = document.createElement("p"); wrong.className = "problem-text"; wrong.textContent = item.error; made.append(wrong); }
    const list = document.createElement("dl");
    list.className = "small-facts";
    for (const [name, text] of factsOf(item, now)) {
      const pair = document.createElement("div");
      const term = document.createElement("dt");
      const value = document.createElement("dd");
      term.textContent = name;
      value.textContent = text;
      pair.append(term, value);
      list.append(pair);
    }
    made.append(list);
    const links = document.createElement("p");
    links.className = "panel-links";
    for (const [text, address] of linksOf(item, this.traces)) {
      const link = document.createElement("a");
      link.href = address;
      link.textContent = text;
      links.append(link);
    }
    if (links.firstChild) made.append(links);
    return made;
  }
}

function* linksOf(item, traces) {
  if (item.child) yield ["Open the child run", `/runs/${encodeURIComponent(item.child)}`];
  if (!traces.shown || !item.span) return;
  yield ["Span in the trace", `/runs/${encodeURIComponent(item.run)}?tab=trace&span=${item.span}#span-${item.span}`];
  if (traces.grafana) yield ["Span in Grafana", traces.grafana.replace("__trace__", item.run.replaceAll("-", "")).replace("__span__", item.span)];
}

function* factsOf(item, now) {
  yield ["took", `${tookText(item, now)}${item.open ? " so far" : ""}`];
  yield ["begins", `${span(item.start / 1e6)} after the start`];
  const attempts = item.bars.filter((bar) => bar.kind === "attempt");
  const queue = attempts.filter((bar) => typeof bar.more?.ran === "number").reduce((sum, bar) => sum + (bar.end - bar.start) / 1e6 - bar.more.ran, 0);
  if (queue > 0) yield ["road and queue", span(queue)];
  const { more } = item;
  if (item.cost) yield ["cost", money(item.cost)];
  if (more.input_tokens) yield ["tokens", `${more.input_tokens} in, ${more.output_tokens ?? 0} out`];
  if (more.effect) yield ["effect", more.effect];
  if (attempts.length > 1) yield ["attempts", String(attempts.length)];
  if (more.decision) yield ["decision", more.decision];
  if (more.by) yield ["by", more.by];
  if (more.until) yield ["until", more.until];
  if (more.via && more.via !== "call") yield ["result from", more.via];
  if (more.worker) yield ["worker", more.worker];
}
