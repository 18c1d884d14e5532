// Draws the page's figures in the colours of the theme, and in light ones for print.
"use strict";

const COLORS = { light: { text: "#1f2430", grid: "#e3e6ec", band: "#eef2f8", worse: "#e8853d", middle: "#ffffff", better: "#4f9fd0" },
  dark: { text: "#e4e7ee", grid: "#333a48", band: "#232a38", worse: "#a84a00", middle: "#161a22", better: "#005f96" } };
const TOUCH = matchMedia("(pointer: coarse)").matches;

function themed(figure, theme) {
  const colors = COLORS[theme];
  const copy = JSON.parse(JSON.stringify(figure));
  for (const trace of copy.data) {
    if (trace.meta === "diverging") {
      trace.colorscale = [[0, colors.worse], [0.5, colors.middle], [1, colors.better]];
      trace.textfont = { color: colors.text };
    }
    if (trace.error_x) trace.error_x.color = colors.text;
  }
  const layout = copy.layout;
  Object.assign(layout, { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colors.text, family: "system-ui, sans-serif", size: 13 } });
  for (const axis of [layout.xaxis, layout.yaxis]) Object.assign(axis, { gridcolor: colors.grid, zerolinecolor: colors.text });
  for (const shape of layout.shapes || []) if (shape.name === "band") shape.fillcolor = colors.band;
  if (TOUCH) layout.dragmode = false;
  return copy;
}

function draw(theme) {
  const figures = kdbench.data.figures || {};
  return Promise.all([...document.querySelectorAll("[data-figure]")].map((canvas) => {
    const figure = figures[canvas.dataset.figure];
    if (!figure) return null;
    const { data, layout } = themed(figure, theme);
    return Plotly.react(canvas, data, layout, { responsive: true, displaylogo: false, scrollZoom: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
  }));
}

addEventListener("DOMContentLoaded", () => {
  const print = matchMedia("print");
  const now = () => (print.matches ? "light" : document.documentElement.dataset.theme);
  draw(now()).then(() => { document.documentElement.dataset.drawn = "yes"; });
  addEventListener("themechange", () => draw(now()));
  addEventListener("beforeprint", () => draw("light"));
  addEventListener("afterprint", () => draw(now()));
  print.addEventListener("change", () => draw(now()));
});
