// The timeline of one run: asks for what is new, keeps the tree of steps, draws it, and lets people walk through it by mouse and by keys.
import { onChange } from "./live.js";
import { kept } from "./kept.js";
import { Scale } from "./timeline-scale.js";
import { Spans, visible } from "./timeline-tree.js";
import { drawAxis, drawLane, frame, rowOf, writeRow } from "./timeline-draw.js";
import { Panel } from "./timeline-panel.js";

const MOST_ROWS = 2_000;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export async function startTimeline(root) {
  const timeline = new Timeline(root);
  await timeline.look();
  onChange(() => timeline.look());
}

class Timeline {
  constructor(root) {
    this.root = root;
    this.spans = new Spans(root.dataset.run);
    this.open = new Set();
    this.closed = new Set();
    this.rows = new Map();
    this.view = null; // [from, to] in the scale's units; null: all of it
    this.folding = kept.get("timeline.folding") !== "no";
    this.selected = null;
    this.panel = new Panel(document.getElementById("panel"), { shown: "traced" in root.dataset, grafana: root.dataset.grafana ?? "" }, () => this.focusRow(this.selected));
  }

  async look() {
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    try {
      const answer = await fetch(`${this.root.dataset.src}?after=${this.spans.seq}`, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `the edge answered ${answer.status}`);
      this.spans.take(await answer.json());
      this.build();
      this.draw();
      this.tick();
    } catch (error) {
      this.problem(error);
    } finally {
      this.busy = false;
      if (this.again) { this.again = false; this.look(); }
    }
  }

  problem(error) {
    if (this.parts) return; // what was drawn stays; the mark of the connection says the rest
    const text = document.createElement("p");
    text.className = "problem";
    text.setAttribute("role", "alert");
    text.textContent = `The timeline cannot be shown: ${error.message}`;
    this.root.replaceChildren(text);
  }

  build() {
    if (this.parts) return;
    this.parts = frame(this.root, { folding: this.folding, agent: this.spans.agent });
    const { tree, axis, bar } = this.parts;
    tree.addEventListener("keydown", (event) => this.key(event));
    tree.addEventListener("click", (event) => this.click(event));
    bar.addEventListener("click", (event) => this.button(event.target.closest("[data-zoom]")?.dataset.zoom));
    bar.querySelector("[data-folding]").addEventListener("change", (event) => {
      this.folding = event.target.checked;
      kept.set("timeline.folding", this.folding ? null : "no");
      this.view = null;
      this.draw();
    });
    this.root.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    axis.addEventListener("pointerdown", (event) => this.drag(event));
    new ResizeObserver(() => this.draw()).observe(axis);
  }

  isOpen(item) { return this.open.has(item.id) || (item.unfolded && !this.closed.has(item.id)); }

  draw() {
    const { axis, tree } = this.parts;
    const width = Math.max(80, axis.clientWidth);
    const now = this.spans.now();
    const all = this.spans.items();
    this.scale = new Scale(this.spans.active(now), this.spans.length(now), width, this.folding, this.view);
    this.items = visible(all, (item) => this.isOpen(item)).slice(0, MOST_ROWS);
    drawAxis(axis, this.scale);
    const keep = new Set(this.items.map((item) => item.id));
    for (const [id, row] of this.rows) if (!keep.has(id)) { row.remove(); this.rows.delete(id); }
    let before = null;
    for (const item of this.items) {
      let row = this.rows.get(item.id);
      if (!row) { row = rowOf(item); this.rows.set(item.id, row); }
      writeRow(row, item, this.isOpen(item), item.id === this.selected, now);
      drawLane(row, item, this.scale, now, this.spans.ended);
      const next = before ? before.nextElementSibling : tree.firstElementChild;
      if (next !== row) tree.insertBefore(row, next);
      before = row;
    }
    if (!this.rows.has(this.at)) this.roving(this.rows.has(this.selected) ? this.selected : this.items[0]?.id); // who walks stays where they are
    this.parts.note.textContent = all.length && this.items.length >= MOST_ROWS ? `The first ${MOST_ROWS} rows are shown.` : this.spans.whole ? "" : "The log is longer than what one timeline shows.";
    if (this.panel.item) { const item = this.items.find((each) => each.id === this.panel.item.id); if (item) this.panel.refresh(item, now); }
  }

  tick() {
    clearTimeout(this.timer);
    if (this.spans.ended) return;
    const slow = calm.matches || this.items.length > 300;
    this.timer = setTimeout(() => { if (document.visibilityState === "visible") this.draw(); this.tick(); }, slow ? 1000 : 200);
  }

  // -- walking through it

  roving(id) {
    for (const [each, row] of this.rows) row.tabIndex = each === id ? 0 : -1;
    this.at = id;
  }

  focusRow(id) {
    const row = this.rows.get(id);
    if (!row) return;
    this.roving(id);
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  key(event) {
    const index = this.items.findIndex((item) => item.id === this.at);
    const item = this.items[index];
    if (!item) return;
    const go = (to) => { event.preventDefault(); const target = this.items[Math.min(Math.max(to, 0), this.items.length - 1)]; this.focusRow(target.id); if (this.panel.item) this.select(target); };
    switch (event.key) {
      case "ArrowDown": return go(index + 1);
      case "ArrowUp": return go(index - 1);
      case "Home": return go(0);
      case "End": return go(this.items.length - 1);
      case "PageDown": return go(index + 12);
      case "PageUp": return go(index - 12);
      case "ArrowRight": event.preventDefault(); return this.isOpen(item) || !item.foldable ? go(index + 1) : this.fold(item, true);
      case "ArrowLeft": {
        event.preventDefault();
        if (item.foldable && this.isOpen(item)) return this.fold(item, false);
        const parent = this.items.slice(0, index).reverse().find((each) => each.level < item.level);
        return parent ? go(this.items.indexOf(parent)) : undefined;
      }
      case "Enter": case " ": event.preventDefault(); this.select(item); return this.panel.focus();
      case "Escape": return this.panel.close();
      case "+": case "=": return this.button("in");
      case "-": return this.button("out");
      case "0": return this.button("fit");
      case "[": return this.pan(-0.2);
      case "]": return this.pan(0.2);
    }
  }

  click(event) {
    const row = event.target.closest("[role=treeitem]");
    const item = row && this.items.find((each) => each.id === row.dataset.id);
    if (!item) return;
    this.roving(item.id);
    if (event.target.closest(".tl-fold")) return this.fold(item, !this.isOpen(item));
    if (this.panel.item?.id === item.id) return this.panel.close();
    this.select(item);
  }

  fold(item, open) {
    open ? (this.open.add(item.id), this.closed.delete(item.id)) : (this.open.delete(item.id), this.closed.add(item.id));
    if (open && item.kind === "child" && item.child) this.spans.load(item).then(() => this.draw(), () => {});
    this.draw();
    this.focusRow(item.id);
  }

  select(item) {
    this.selected = item.id;
    this.panel.show(item, this.spans.now());
    this.draw();
  }

  // -- zoom

  button(what) {
    if (what === "in") this.zoom(0.6, 0.5);
    else if (what === "out") this.zoom(1 / 0.6, 0.5);
    else if (what === "fit") { this.view = null; this.draw(); }
  }

  zoom(factor, at) {
    const [from, to] = this.view ?? [0, this.scale.total];
    const middle = from + (to - from) * at;
    const length = Math.max((to - from) * factor, this.scale.total / 20_000);
    if (length >= this.scale.total) this.view = null;
    else { const begin = Math.min(Math.max(0, middle - length * at), this.scale.total - length); this.view = [begin, begin + length]; }
    this.draw();
  }

  pan(share) {
    if (!this.view) return;
    const [from, to] = this.view;
    const step = Math.min(Math.max((to - from) * share, -from), this.scale.total - to);
    this.view = [from + step, to + step];
    this.draw();
  }

  wheel(event) {
    const box = this.parts.axis.getBoundingClientRect();
    if (event.clientX < box.left || event.clientX > box.right) return;
    if (event.ctrlKey || event.metaKey) { event.preventDefault(); this.zoom(event.deltaY > 0 ? 1.18 : 1 / 1.18, (event.clientX - box.left) / box.width); }
    else if (this.view && Math.abs(event.deltaX) > Math.abs(event.deltaY)) { event.preventDefault(); this.pan(event.deltaX / box.width); }
  }

  drag(event) {
    const axis = this.parts.axis;
    const box = axis.getBoundingClientRect();
    const begin = event.clientX;
    axis.setPointerCapture(event.pointerId);
    const end = (last) => {
      axis.removeEventListener("pointerup", end);
      const [left, right] = [begin, last.clientX].sort((a, b) => a - b).map((x) => (x - box.left) / box.width);
      if (right - left < 0.01) return;
      const [from, to] = this.view ?? [0, this.scale.total];
      this.view = [from + (to - from) * Math.max(0, left), from + (to - from) * Math.min(1, right)];
      this.draw();
    };
    axis.addEventListener("pointerup", end);
  }
}
