// Small pictures that need no library: dots on a line, points in a plane. Every text is set as text.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function picture(width, height, label) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, class: "picture", role: "img", "aria-label": label });
}

// Round numbers between two values, about so many.
function ticks(low, high, about) {
  const raw = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) found.push(Number(t.toFixed(10)));
  return found;
}

function logTicks(low, high) {
  const all = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].filter((t) => t >= low && t <= high);
  return all.length > 1 ? all : [low, high].map((t) => Number(t.toPrecision(2)));
}

// Rows of dots, one a seed, with their mean as a bar: [{ name, values }].
function dotRows(rows, label) {
  const width = 640, left = 170, right = 20, line = 34, top = 8;
  const values = rows.flatMap((row) => row.values);
  if (!values.length) return null;
  const low = Math.min(...values), high = Math.max(...values), pad = (high - low) * 0.06 || 0.5;
  const at = (v) => left + ((v - low + pad) / (high - low + 2 * pad)) * (width - left - right);
  const height = top + rows.length * line + 30;
  const svg = picture(width, height, label);
  for (const t of ticks(low, high, 6)) {
    svg.append(shape("path", { d: `M${at(t)} ${top}V${height - 26}`, class: "grid" }));
    svg.append(shape("text", { x: at(t), y: height - 8, class: "tick middle" }, String(t)));
  }
  rows.forEach((row, n) => {
    const y = top + n * line + line / 2;
    svg.append(shape("text", { x: left - 12, y: y + 4, class: "end" }, row.name.length > 24 ? row.name.slice(0, 23) + "…" : row.name));
    row.values.forEach((v) => svg.append(shape("circle", { cx: at(v), cy: y, r: 4, class: "dot" })));
    if (!row.values.length) return;
    const mean = row.values.reduce((a, b) => a + b) / row.values.length;
    svg.append(shape("path", { d: `M${at(mean)} ${y - 12}V${y + 12}`, class: "mean" }));
  });
  return svg;
}

// Points in a plane, cost on a logarithmic axis; those on the Pareto front joined and named.
// points: [{ name, x, y, mark, front }]; far ones below the axis stand at its edge.
function plane(points, xTitle, yTitle, label) {
  const width = 720, height = 400, left = 56, right = 24, top = 22, bottom = 46;
  const ys = points.map((p) => p.y).sort((a, b) => a - b);
  const q = (part) => ys[Math.round(part * (ys.length - 1))];
  const floor = q(0.25) - 3 * Math.max(q(0.75) - q(0.25), 1e-6);
  const shown = ys.filter((y) => y >= floor);
  const pad = (shown[shown.length - 1] - shown[0]) * 0.1 || 0.5;
  const lowY = shown[0] - pad, highY = shown[shown.length - 1] + pad;
  const xs = points.map((p) => p.x);
  const lowX = Math.min(...xs) / 1.15, highX = Math.max(...xs) * 1.25;
  const atX = (x) => left + (Math.log(x / lowX) / Math.log(highX / lowX)) * (width - left - right);
  const atY = (y) => Math.min(height - bottom, top + ((highY - y) / (highY - lowY)) * (height - top - bottom));
  const svg = picture(width, height, label);
  for (const t of logTicks(lowX, highX)) {
    svg.append(shape("path", { d: `M${atX(t)} ${top}V${height - bottom}`, class: "grid" }));
    svg.append(shape("text", { x: atX(t), y: height - bottom + 18, class: "tick middle" }, "× " + t));
  }
  for (const t of ticks(lowY, highY, 6)) {
    svg.append(shape("path", { d: `M${left} ${atY(t)}H${width - right}`, class: "grid" }));
    svg.append(shape("text", { x: left - 8, y: atY(t) + 4, class: "tick end" }, String(t)));
  }
  svg.append(shape("text", { x: (left + width - right) / 2, y: height - 6, class: "middle" }, xTitle));
  svg.append(shape("text", { x: left, y: 12, class: "tick" }, yTitle));
  const front = points.filter((p) => p.front).sort((a, b) => a.x - b.x);
  const path = front.map((p, i) => (i ? `H${atX(p.x)}V${atY(p.y)}` : `M${atX(p.x)} ${atY(p.y)}`)).join("");
  if (front.length > 1) svg.append(shape("path", { d: path, class: "front" }));
  for (const p of points) {
    const far = p.y < floor;
    const dot = far ? shape("path", { d: `M${atX(p.x) - 5} ${height - bottom - 8}h10l-5 8z`, class: `dot ${p.mark}` })
      : shape("circle", { cx: atX(p.x), cy: atY(p.y), r: p.front ? 6 : 4.5, class: `dot ${p.mark}` });
    dot.append(shape("title", {}, `${p.name}: ${kdbench.fixed(p.y)} %, × ${kdbench.fixed(p.x)}`));
    svg.append(dot);
  }
  for (const p of front) {
    const end = atX(p.x) > width - 110;
    svg.append(shape("text", { x: atX(p.x) + (end ? -8 : 8), y: atY(p.y) - 8, class: end ? "end name" : "name" }, p.name));
  }
  return svg;
}
