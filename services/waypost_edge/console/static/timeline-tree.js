// Spans to a tree of steps. A step is one line: a model call with what it chose below it, a tool call with its attempts and waits in it.
import { span } from "./times.js";

const BUSY = new Set(["model_call", "step", "attempt", "reconcile", "child"]);

export class Spans {
  constructor(run) {
    this.run = run;
    this.seq = 0;
    this.ended = false;
    this.whole = true;
    this.agent = "";
    this.markers = [];
    this.rows = new Map();
    this.waiting = new Set();
    this.children = new Map(); // run id → Spans
  }

  take(news) {
    for (const id of this.waiting) this.rows.delete(id);
    for (const row of news.rows) this.rows.set(row.id, row);
    this.waiting = new Set(news.pending.map((row) => row.id));
    for (const row of news.pending) this.rows.set(row.id, row);
    Object.assign(this, { seq: news.seq, ended: news.ended, whole: news.whole, agent: news.agent, markers: news.markers ?? [], startedUs: news.started_us });
    this.toldUs = news.now_us;
    this.toldAt = performance.now();
    this.made = null;
  }

  /** Microseconds since the run's start, by the edge's clock. */
  now() { return this.toldUs + (performance.now() - this.toldAt) * 1000; }

  length(now) {
    if (!this.ended) return now;
    let last = 0;
    for (const row of this.rows.values()) last = Math.max(last, row.end);
    return last;
  }

  /** When something was done, and not only waited for. */
  active(now) {
    const found = [];
    for (const row of this.rows.values()) if (BUSY.has(row.kind)) found.push([row.start, row.open ? now : row.end]);
    for (const marker of this.markers) found.push([marker.at, marker.at + 1]);
    if (!this.ended) found.push([Math.max(0, now - 3e5), now]);
    found.sort((a, b) => a[0] - b[0]);
    const merged = [];
    for (const each of found) {
      const last = merged.at(-1);
      if (last && each[0] <= last[1] + 1000) last[1] = Math.max(last[1], each[1]);
      else merged.push([...each]);
    }
    return merged;
  }

  async load(item) {
    if (this.children.has(item.child)) return;
    const child = new Spans(item.child);
    const answer = await fetch(`/runs/${encodeURIComponent(item.child)}/timeline`, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    child.take(await answer.json());
    this.children.set(item.child, child);
    this.made = null;
  }

  items() {
    this.made ??= this.make(1, 0, this);
    return this.made;
  }

  make(level, shift, top) {
    const below = new Map();
    let root = null;
    for (const row of this.rows.values()) {
      if (!row.parent) { root = row; continue; }
      if (!below.has(row.parent)) below.set(row.parent, []);
      below.get(row.parent).push(row);
    }
    if (!root) return [];
    for (const list of below.values()) list.sort((a, b) => a.start - b.start || a.end - b.end);
    const context = { below, run: this.run, shift, top };
    const found = level === 1 ? [whole(root, this)] : [];
    const first = below.get(root.id) ?? [];
    const deliveries = first.filter((row) => row.kind === "activation");
    if (deliveries.length && level === 1) found.push(worker(deliveries, this.run));
    const steps = [...first.filter((row) => row.kind !== "activation"), ...deliveries.flatMap((row) => below.get(row.id) ?? [])];
    steps.sort((a, b) => a.start - b.start || a.end - b.end);
    for (const row of steps) found.push(...step(row, level, context));
    return found;
  }
}

/** The items that are not inside something folded. */
export function visible(items, isOpen) {
  const found = [];
  let hiddenBelow = Infinity;
  for (const item of items) {
    if (item.level > hiddenBelow) continue;
    hiddenBelow = Infinity;
    found.push(item);
    if (item.foldable && !isOpen(item)) hiddenBelow = item.level;
  }
  return found;
}

function whole(row, spans) {
  return item(row, 1, spans.run, 0, { label: row.name.split(" ").at(-1), said: "", bars: [row], markers: spans.markers, seq: 1, noun: "Run" });
}

function worker(rows, run) {
  const first = rows[0];
  return { ...item(first, 1, run, 0, { label: "worker", said: "", bars: rows, noun: "Deliveries to a worker" }), id: `worker-${run}`, kind: "activation", end: rows.at(-1).end, start: first.start, open: rows.some((row) => row.open), meta: `${rows.length}×`, count: rows.length };
}

function step(row, level, context) {
  const inner = context.below.get(row.id) ?? [];
  const { run, shift } = context;
  const more = row.more ?? {};
  const below = [];
  if (row.kind === "reasoning_step") {
    const call = inner.find((each) => each.kind === "model_call");
    for (const each of inner) if (each !== call) below.push(...step(each, level + 1, context));
    const made = item(row, level, run, shift, { label: more.intent || "model call", said: "", meta: call?.more?.model ?? more.model ?? "", bars: call ? [row, call] : [row], noun: "Model call", seq: more.seq, cost: call?.cost ?? row.cost, facts: call ? { ...more, ...call.more } : more, took: call ?? row, error: row.error ?? call?.error ?? null });
    return [{ ...made, kind: "reasoning_step", foldable: below.length > 0, unfolded: true }, ...below];
  }
  if (row.kind === "tool_call") {
    const attempts = inner.filter((each) => each.kind === "attempt");
    for (const each of inner) below.push(detail(each, row, level + 1, run, shift));
    const tries = Math.max(attempts.length, more.attempts ?? 0);
    const waits = inner.find((each) => each.kind === "wait" && each.open);
    const made = item(row, level, run, shift, { label: more.tool ?? row.name, said: waits ? waiting(waits) : "", bars: [row, ...inner], noun: "Tool call", seq: more.seq, call: more.call, meta: tries > 1 ? `${tries} attempts` : "" });
    return [{ ...made, foldable: below.length > 1 }, ...(below.length > 1 ? below : [])];
  }
  if (row.kind === "child") {
    const agent = row.name.split(" ").at(-1);
    const child = context.top.children.get(more.child);
    const made = item(row, level, run, shift, { label: agent, said: "child run", bars: [row], noun: "Child run", seq: more.seq, call: more.call, child: more.child });
    const nested = child ? child.make(level + 1, shift + child.startedUs - context.top.startedUs, context.top) : [];
    return [{ ...made, foldable: true }, ...nested];
  }
  if (row.kind === "wait") return [item(row, level, run, shift, { label: waiting(row), said: more.reason ?? "", bars: [row], noun: "Wait", seq: more.seq, kind: `wait-${more.wait}` })];
  return [item(row, level, run, shift, { label: more.step ?? row.name, said: "", bars: [row], noun: "Local step", seq: more.seq, call: more.call })];
}

function detail(row, call, level, run, shift) {
  const more = row.more ?? {};
  const label = row.kind === "wait" ? waiting(row) : row.kind === "reconcile" ? "reconcile" : `attempt ${more.attempt}`;
  const kind = row.kind === "wait" ? `wait-${more.wait}` : row.kind;
  return item(row, level, run, shift, { label, said: row.error ?? more.reason ?? "", bars: [row], noun: row.kind === "wait" ? "Wait" : "Attempt", seq: call.more?.seq, call: call.more?.call, kind });
}

/** What a wait is for, in words. */
function waiting(row) {
  const more = row.more ?? {};
  switch (more.wait) {
    case "approval": return `approval by ${more.role ?? "somebody"}`;
    case "answer": return `answer of ${more.role ?? "somebody"}`;
    case "signal": return `signal ${more.signal ?? ""}`;
    case "retry": return `retry${more.attempt ? `, attempt ${more.attempt}` : ""}`;
    case "doubt": return "in doubt";
    case "paused": return more.limit ? `paused: ${more.limit}` : "paused";
    default: return more.wait ?? "wait";
  }
}

function item(row, level, run, shift, given) {
  const more = given.facts ?? row.more ?? {};
  const took = given.took ?? row;
  return {
    id: `${run}-${row.id}`, span: row.id, kind: row.kind, level, run, shift, start: row.start + shift, end: row.end + shift, open: Boolean(row.open),
    took: [took.start + shift, took.end + shift], error: row.error ?? null, cost: row.cost ?? 0, more, foldable: false, unfolded: false, seq: more.seq, meta: "", ...given,
    ...(given.took ? { took: [took.start + shift, took.end + shift] } : {}),
  };
}

/** How long an item took, in words. */
export function tookText(item, now) {
  return span(((item.open ? Math.max(now, item.took[1]) : item.took[1]) - item.took[0]) / 1e6);
}
