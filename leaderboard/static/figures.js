// Draws a figure when it comes into view, in the colours of the theme, and in light ones for print.
"use strict";

const COLORS = {
  light: { text: "#1f2430", grid: "#e3e6ec", middle: "#ffffff", better: "#00784a", worse: "#b34700", level: "#6b7385", far: "#9aa2b1", paleBetter: "#8fd0b3", paleWorse: "#f2b48c" },
  dark: { text: "#e4e7ee", grid: "#333a48", middle: "#161a22", better: "#5fd3a5", worse: "#f5a46b", level: "#98a1b3", far: "#7a8496", paleBetter: "#1f6e50", paleWorse: "#8a4a1c" },
};
const TOUCH = matchMedia("(pointer: coarse)").matches;
const PRINT = matchMedia("print");
const themeNow = () => (PRINT.matches ? "light" : document.documentElement.dataset.theme);

function themed(figure, theme) {
  const colors = COLORS[theme];
  const copy = JSON.parse(JSON.stringify(figure));
  const name = (value) => Object.keys(COLORS.light).find((key) => COLORS.light[key] === value);
  const color = (value) => colors[name(value)] || value;
  for (const trace of copy.data) {
    if (trace.meta === "diverging") {
      trace.colorscale = [[0, colors.paleWorse], [0.5, colors.middle], [1, colors.paleBetter]];
      trace.textfont = { color: colors.text };
    }
    if (trace.marker) {
      const own = trace.marker.color;
      trace.marker.color = Array.isArray(own) ? own.map(color) : color(own);
    }
    if (trace.line && trace.line.color) trace.line.color = color(trace.line.color);
    if (trace.error_x) trace.error_x.color = colors.text;
  }
  const layout = copy.layout;
  Object.assign(layout, { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colors.text, family: "system-ui, sans-serif", size: 13 } });
  for (const axis of [layout.xaxis, layout.yaxis]) Object.assign(axis, { gridcolor: colors.grid, zerolinecolor: colors.text });
  if (TOUCH) layout.dragmode = false;
  return copy;
}

// With a pair chosen in the page's table, the figure of that pair, or the same rows in its order.
function figureNow(name) {
  const figures = kdbench.data.figures || {};
  const table = kdbench.tables[0];
  const pair = table ? table.pair : "all";
  if (pair === "all" || !figures[name]) return figures[name];
  if (figures[`${name} ${pair}`]) return figures[`${name} ${pair}`];
  if (name !== "heat") return figures[name];
  const copy = JSON.parse(JSON.stringify(figures.heat));
  const trace = copy.data[0];
  const at = copy.layout.meta.pairs.indexOf(pair);
  const gain = (i) => trace.customdata[i][at] ?? -Infinity;
  const order = trace.y.map((_, i) => i).sort((a, b) => gain(b) - gain(a));
  for (const key of ["y", "z", "text", "hovertext", "customdata"]) trace[key] = order.map((i) => trace[key][i]);
  return copy;
}

async function draw(canvas) {
  await Promise.all([kdbench.load("static/plotly-cartesian.min.js"), kdbench.load(document.documentElement.dataset.figures)]);
  const figure = figureNow(canvas.dataset.figure);
  if (!figure) return;
  const { data, layout } = themed(figure, themeNow());
  canvas.style.minHeight = layout.height + "px";
  await Plotly.react(canvas, data, layout, { responsive: true, displaylogo: false, scrollZoom: false, displayModeBar: TOUCH ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
  canvas.dataset.drawn = "yes";
}

addEventListener("DOMContentLoaded", () => {
  const canvases = [...document.querySelectorAll("[data-figure]")];
  const again = () => canvases.filter((canvas) => canvas.dataset.drawn).forEach(draw);
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      draw(target);
    }
  }, { rootMargin: "200px" });
  canvases.forEach((canvas) => seen.observe(canvas));
  for (const event of ["themechange", "remembered", "popstate", "beforeprint", "afterprint"]) addEventListener(event, again);
  PRINT.addEventListener("change", again);
});
