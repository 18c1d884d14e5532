// A digit, a temperature, a teacher: soft targets as they move. Bars and texts stand in the page already.
"use strict";

function soften(logits, temperature) {
  const top = Math.max(...logits);
  const powers = logits.map((z) => Math.exp((z - top) / temperature));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((p) => p / sum);
}

const entropy = (soft) => -soft.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
const MARKS = [0.1, 1, 4, 20, 100]; // a slider near one of these means it
const temperatureAt = (value) => MARKS.find((t) => Math.abs(Math.log10(t) - value) < 0.006) || 10 ** value;
const short = (t) => String(Number(t.toPrecision(3)));

function paint(canvas, letters, levels) {
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < letters.length; i++) {
    const grey = Math.round((letters.charCodeAt(i) - 97) / levels * 255);
    image.data.set([grey, grey, grey, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

class Touch {
  constructor(form, digits) {
    Object.assign(this, { form, digits, fields: form.elements });
    this.rows = [...form.querySelectorAll("#targets tbody tr")];
    this.start = this.now();
    for (const button of form.querySelectorAll("[data-image]")) {
      paint(button.firstElementChild, digits.images[button.dataset.image], digits.levels);
      button.addEventListener("click", () => this.set("image", button.dataset.image));
    }
    for (const button of form.querySelectorAll("[data-t]")) {
      button.addEventListener("click", () => this.set("t", Math.log10(Number(button.dataset.t))));
    }
    form.addEventListener("input", () => this.show());
    form.addEventListener("change", () => this.remember());
    form.addEventListener("submit", (event) => event.preventDefault());
    kdbench.onState(() => this.recall());
  }

  now() { return { image: this.fields.image.value, t: this.fields.t.value, teacher: this.fields.teacher.value }; }

  set(name, value) {
    this.fields[name].value = value;
    this.show();
    this.remember();
  }

  remember() {
    const now = this.now();
    kdbench.remember(Object.fromEntries(Object.entries(now).map(([k, v]) => [k, v === this.start[k] ? "" : v])), true);
  }

  recall() {
    const state = kdbench.state();
    for (const [name, usual] of Object.entries(this.start)) {
      const value = state.get(name) || usual;
      this.fields[name].value = name === "teacher" || Number.isFinite(Number(value)) ? value : usual;
    }
    if (!this.fields.teacher.value) this.fields.teacher.value = this.start.teacher;
    this.show();
  }

  show() {
    const { digits, fields, form } = this;
    const image = Math.min(Math.max(Math.round(Number(fields.image.value)) || 0, 0), digits.images.length - 1);
    const temperature = temperatureAt(Number(fields.t.value));
    const soft = soften(digits.teachers[fields.teacher.value][image].map((z) => z / digits.parts), temperature);
    const label = Number(digits.labels[image]);
    this.rows.forEach((row, c) => {
      row.cells[1].textContent = c === label ? "1" : "0";
      row.cells[2].firstElementChild.style.width = (100 * soft[c]).toFixed(2) + "%";
      row.cells[3].textContent = soft[c].toFixed(3);
      row.classList.toggle("right", c === label);
    });
    const order = soft.map((p, c) => c).sort((a, b) => soft[b] - soft[a]);
    const said = { t: short(temperature), p: soft[order[0]].toFixed(3), c: order[0], q: soft[order[1]].toFixed(3), d: order[1],
      h: entropy(soft).toFixed(3), m: Math.log(soft.length).toFixed(3), n: image };
    const fill = (text, values) => text.replace(/\{(\w)\}/g, (whole, key) => values[key]);
    document.getElementById("touched").textContent = fill(form.dataset.said, said);
    document.getElementById("shown-t").textContent = said.t;
    fields.t.setAttribute("aria-valuetext", "T = " + said.t);
    const canvas = document.getElementById("digit");
    paint(canvas, digits.images[image], digits.levels);
    canvas.setAttribute("aria-label", fill(form.dataset.digit, { n: image, c: label }));
    for (const button of form.querySelectorAll("[data-image]")) button.setAttribute("aria-pressed", String(Number(button.dataset.image) === image));
  }
}

addEventListener("DOMContentLoaded", async () => {
  const form = document.getElementById("touch");
  await kdbench.load(form.dataset.digits);
  new Touch(form, kdbench.data.learn);
});
