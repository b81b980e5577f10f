// Time to pixels. Where nothing but waiting happens for long, the scale is folded: such a stretch takes a small, fixed width, and is marked.
import { span } from "./times.js";

const NICE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 1.5e7, 3e7, 6e7, 1.2e8, 3e8, 6e8, 9e8, 1.8e9, 3.6e9, 7.2e9, 1.08e10, 2.16e10, 4.32e10, 8.64e10, 1.728e11, 6.048e11];

export class Scale {
  /** `active`: intervals [from, to] in microseconds, in order, that do not overlap; `length`: of the run; `view`: in units of the scale. */
  constructor(active, length, width, folding, view) {
    this.width = width;
    this.pieces = pieces(active, Math.max(length, 1000), folding);
    this.total = this.pieces.at(-1).to * 1.06; // room for what is written behind the last bar
    [this.from, this.to] = view ?? [0, this.total];
    if (this.to > this.total) { this.from = Math.max(0, this.from - (this.to - this.total)); this.to = this.total; }
  }

  x(us) {
    let low = 0;
    let high = this.pieces.length - 1;
    while (low < high) { const middle = (low + high) >> 1; if (this.pieces[middle].end < us) low = middle + 1; else high = middle; }
    const piece = this.pieces[low];
    const share = Math.min(1, Math.max(0, (us - piece.begin) / (piece.end - piece.begin)));
    return (piece.from + share * (piece.to - piece.from) - this.from) / (this.to - this.from) * this.width;
  }

  pixels(units) { return (units - this.from) / (this.to - this.from) * this.width; }

  /** Marks of the axis: {x, text} and, of what is folded, {x, wide, text, folded}. */
  marks() {
    const found = [];
    let last = -Infinity;
    for (const piece of this.pieces) {
      const left = this.pixels(piece.from);
      const right = this.pixels(piece.to);
      if (right < 0 || left > this.width) continue;
      if (piece.folded) { found.push({ x: left, wide: right - left, text: span((piece.end - piece.begin) / 1e6), folded: true }); last = right - 20; continue; }
      const perPixel = (piece.end - piece.begin) / (right - left);
      const step = NICE.find((each) => each / perPixel >= 92) ?? NICE.at(-1);
      const begin = piece.begin + Math.max(0, -left) * perPixel;
      for (let at = Math.ceil(begin / step) * step; at <= piece.end; at += step) {
        const x = this.x(at);
        if (x > this.width - 4) break;
        if (x - last >= 60 || last === -Infinity) { found.push({ x, text: label(at, step) }); last = x; }
      }
    }
    return found;
  }
}

function label(us, step) {
  const seconds = us / 1e6;
  if (us === 0) return "0";
  if (step >= 3.6e9) return `${Math.floor(seconds / 3600)} h`;
  if (step >= 6e7) return seconds >= 3600 ? `${Math.floor(seconds / 3600)} h ${Math.round(seconds % 3600 / 60)} min` : `${Math.round(seconds / 60)} min`;
  if (seconds >= 60) return `${Math.floor(seconds / 60)} min ${Number((seconds % 60).toFixed(step < 1e6 ? 1 : 0))} s`;
  if (step >= 1e6) return `${Math.round(seconds)} s`;
  if (step >= 1e5) return `${seconds.toFixed(1)} s`;
  return seconds >= 1 ? `${seconds.toFixed(step >= 1e4 ? 2 : 3)} s` : `${Number((us / 1000).toFixed(step >= 1000 ? 0 : 2))} ms`;
}

function pieces(active, length, folding) {
  const busy = active.reduce((sum, [from, to]) => sum + to - from, 0);
  const longest = Math.max(3e6, busy * 0.35); // a quiet stretch above this is folded
  const folded = Math.max(busy * 0.06, 2e5);
  const found = [];
  let at = 0;
  let units = 0;
  const add = (end, fold) => {
    if (end <= at) return;
    const wide = fold ? folded : end - at;
    found.push({ begin: at, end, from: units, to: units + wide, folded: fold });
    units += wide;
    at = end;
  };
  for (const [from, to] of [...active, [length, length]]) {
    if (folding && from - at > longest) { const edge = Math.min(folded / 2, (from - at) / 4); add(at + edge, false); add(from - edge, true); }
    add(from, false);
    add(Math.min(to, length), false);
  }
  add(length, false);
  return found;
}
