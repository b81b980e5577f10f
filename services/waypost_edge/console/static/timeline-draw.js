// Drawing: rows as HTML, lanes as SVG. Everything that came from a run is written as text, never as markup.
import { span } from "./times.js";
import { tookText } from "./timeline-tree.js";

const SVG = "http://www.w3.org/2000/svg";
const LEGEND = [["model_call", "model"], ["tool_call", "tool"], ["child", "child run"], ["wait", "waits"], ["wait-approval", "waits for people"], ["failed", "failed, in doubt"]];

function svg(name, attributes = {}, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function html(name, className = "", text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function icon(name) {
  const made = svg("svg", { class: "icon", "aria-hidden": "true" });
  made.append(svg("use", { href: `#i-${name}` }));
  return made;
}

/** The frame around rows: a bar with zoom and legend, the axis, the tree. */
export function frame(root, { folding, agent }) {
  const box = html("div", "tl");
  const bar = html("div", "tl-bar");
  const legend = html("ul", "tl-legend");
  legend.setAttribute("aria-label", "Colours");
  for (const [kind, text] of LEGEND) { const line = html("li"); line.append(html("span", `tl-swatch k-${kind}`), document.createTextNode(text)); legend.append(line); }
  const toggle = html("label", "tl-toggle");
  const check = html("input");
  Object.assign(check, { type: "checkbox", checked: folding });
  check.dataset.folding = "";
  toggle.append(check, document.createTextNode("Fold long waits"));
  const tools = html("div", "tl-tools");
  tools.append(toggle);
  bar.append(legend, html("span", "spring"), tools);
  for (const [what, name, text] of [["out", "minus", "Zoom out"], ["in", "plus", "Zoom in"], ["fit", "fit", "Show all of it"]]) {
    const button = html("button", "icon-button");
    button.type = "button";
    button.dataset.zoom = what;
    button.title = text;
    button.setAttribute("aria-label", text);
    button.append(icon(name));
    tools.append(button);
  }
  const head = html("div", "tl-head");
  const axis = svg("svg", { class: "tl-axis", "aria-hidden": "true" });
  head.append(html("span", "", "Step"), axis);
  const tree = html("div", "tl-grid");
  tree.setAttribute("role", "tree");
  tree.setAttribute("aria-label", `Steps of ${agent}`);
  const note = html("p", "muted tl-note");
  box.append(patterns(), bar, head, tree);
  root.replaceChildren(box, note);
  return { axis, tree, bar, note };
}

function patterns() {
  const holder = svg("svg", { class: "sprite", width: 0, height: 0, "aria-hidden": "true" });
  const defs = svg("defs");
  for (const name of ["wait", "people", "paused", "doubt"]) {
    const pattern = svg("pattern", { id: `hatch-${name}`, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    pattern.append(svg("line", { class: `h-${name}`, x1: 0, y1: 0, x2: 0, y2: 6, "stroke-width": 3, "stroke-opacity": 0.55 }));
    defs.append(pattern);
  }
  holder.append(defs);
  return holder;
}

export function drawAxis(axis, scale) {
  axis.replaceChildren();
  for (const mark of scale.marks()) {
    if (mark.folded) {
      axis.append(svg("line", { x1: mark.x + mark.wide / 2, x2: mark.x + mark.wide / 2, y1: 18, y2: 26 }), svg("text", { x: mark.x + mark.wide / 2, y: 13, "text-anchor": "middle", "font-style": "italic" }, `⋯ ${mark.text}`));
    } else {
      axis.append(svg("line", { x1: mark.x, x2: mark.x, y1: 19, y2: 26 }), svg("text", { x: mark.x + (mark.x < 8 ? 2 : 0), y: 14, "text-anchor": mark.x < 24 ? "start" : "middle" }, mark.text));
    }
  }
}

export function rowOf(item) {
  const row = html("div", "tl-row");
  row.setAttribute("role", "treeitem");
  row.dataset.id = item.id;
  row.tabIndex = -1;
  const name = html("div", "tl-name");
  name.setAttribute("aria-hidden", "true"); // what is read aloud says it, and more
  const indent = svg("svg", { width: (item.level - 1) * 16, height: 1, "aria-hidden": "true" });
  const fold = html("span", "tl-fold");
  fold.append(icon("right"));
  name.append(indent, fold, html("span", "tl-kind"), html("span", "label"), html("span", "tl-said"), html("span", "meta num"));
  row.append(name, html("span", "sr"), svg("svg", { class: "tl-lane", "aria-hidden": "true" }));
  return row;
}

export function writeRow(row, item, isOpen, isSelected, now) {
  const took = tookText(item, now);
  const state = item.error !== null ? "failed" : item.open ? "under way" : "done";
  const sign = [item.label, item.said, item.meta, item.cost, item.foldable, isOpen, isSelected, state, item.open ? "" : took].join("\u0000");
  if (row.sign === sign) return;
  row.sign = sign;
  row.classList.toggle("is-open", item.open);
  row.setAttribute("aria-level", item.level);
  row.setAttribute("aria-selected", String(isSelected));
  item.foldable ? row.setAttribute("aria-expanded", String(isOpen)) : row.removeAttribute("aria-expanded");
  row.children[1].textContent = [`${item.noun}: ${item.label}`, item.said, state, `${took}${item.open ? " so far" : ""}`, `begins at ${span(item.start / 1e6)}`, item.meta, item.cost ? money(item.cost) : ""].filter(Boolean).join(", ");
  const [, fold, kind, label, said, meta] = row.firstElementChild.children;
  fold.className = item.foldable ? "tl-fold" : "tl-fold none";
  fold.dataset.open = isOpen ? "yes" : "no";
  kind.className = `tl-kind k-${item.error !== null ? "failed" : item.kind}`;
  label.textContent = item.label;
  said.textContent = item.said;
  said.title = item.said;
  meta.textContent = [item.meta, item.cost ? money(item.cost) : ""].filter(Boolean).join(" · ");
}

export function money(micros) {
  const dollars = micros / 1e6;
  return `$${dollars >= 1 ? dollars.toFixed(2) : dollars >= 0.01 ? String(Number(dollars.toFixed(4))) : String(Number(dollars.toFixed(5)))}`;
}

const HEIGHT = 30;
const TALL = { run: [12, 6], activation: [11, 8], reasoning_step: [6, 18], tool_call: [6, 18], model_call: [9, 12], attempt: [9, 12], wait: [9, 12], child: [8, 14], step: [9, 12], reconcile: [9, 12] };

export function drawLane(row, item, scale, now, ended) {
  const lane = row.lastElementChild;
  const parts = [];
  for (const mark of scale.marks()) parts.push(svg("line", mark.folded ? { class: "fold-mark", x1: mark.x + mark.wide / 2, x2: mark.x + mark.wide / 2, y1: 0, y2: HEIGHT } : { class: "grid", x1: mark.x, x2: mark.x, y1: 0, y2: HEIGHT }));
  for (const bar of item.bars) parts.push(...barOf(bar, item, scale, now));
  for (const marker of item.markers ?? []) parts.push(diamond(marker, scale));
  const right = scale.x(item.open ? now : item.end);
  const left = scale.x(item.start);
  const text = tookText(item, now);
  const room = text.length * 6.4 + 10;
  if (right > 0 && left < scale.width && item.kind !== "activation") {
    if (right + room < scale.width) parts.push(svg("text", { x: Math.max(right, 0) + 6, y: 19 }, text));
    else if (left - room > 0) parts.push(svg("text", { x: left - 6, y: 19, "text-anchor": "end" }, text));
  }
  if (!ended) { const x = scale.x(now); parts.push(svg("line", { class: "now", x1: x, x2: x, y1: 0, y2: HEIGHT })); }
  lane.replaceChildren(...parts);
}

function barOf(bar, item, scale, now) {
  const more = bar.more ?? {};
  const [top, tall] = TALL[bar.kind] ?? [9, 12];
  const begin = bar.start + item.shift;
  const end = (bar.open ? Math.max(now, bar.end) : bar.end) + (bar.open ? 0 : item.shift);
  const left = Math.max(scale.x(begin), -10);
  const right = Math.min(scale.x(end), scale.width + 10);
  if (right < 0 || left > scale.width) return [];
  const failed = bar.error !== undefined && bar.error !== null && !["tool_call", "reasoning_step", "run"].includes(bar.kind);
  const kind = bar.kind === "wait" ? `b-wait b-wait-${more.wait}` : `b-${bar.kind}`;
  const wide = Math.max(right - left, 2);
  const shape = svg("rect", { class: `${failed ? "b-failed" : kind}${bar.open ? " b-open" : ""}`, x: left, y: top, width: wide, height: tall, rx: Math.min(3, wide / 2) });
  shape.append(svg("title", {}, titleOf(bar, end - begin)));
  if (bar.kind !== "attempt" || failed || typeof more.ran !== "number") return [shape];
  const ran = Math.min(end - begin, more.ran * 1e6);
  const middle = scale.x(end - ran); // before it: on the road and in queues
  shape.setAttribute("class", "b-attempt queue");
  const inner = svg("rect", { class: "b-attempt", x: middle, y: top, width: Math.max(right - middle, 2), height: tall, rx: Math.min(3, Math.max(right - middle, 2) / 2) });
  inner.append(svg("title", {}, titleOf(bar, end - begin)));
  return [shape, inner];
}

function titleOf(bar, us) {
  const more = bar.more ?? {};
  return [bar.kind === "wait" ? `waits: ${more.wait}` : bar.name, span(us / 1e6), more.ran ? `of it ${span(more.ran)} in the tool's own code` : "", more.by ? `by ${more.by}` : "", more.decision ?? "", bar.error ?? ""].filter(Boolean).join(" · ");
}

function diamond(marker, scale) {
  const x = scale.x(marker.at);
  const shape = svg("path", { class: "k-mark", d: `M${x} 9l6 6-6 6-6-6z`, fill: "var(--amber-fill)" });
  shape.append(svg("title", {}, `${marker.name.replaceAll("_", " ")} ${Object.values(marker.more ?? {}).join(" ")}`));
  return shape;
}
