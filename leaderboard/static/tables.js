// Sorting, filtering, choosing columns and pairs in the tables that the page already has.
"use strict";

class BoardTable {
  constructor(root) {
    this.root = root;
    this.id = root.dataset.table;
    this.table = root.querySelector("table");
    this.heads = [...this.table.tHead.rows[0].cells];
    this.bodies = [...this.table.tBodies];
    this.lines = new Map(this.bodies.map((body) => [body, [...body.rows].filter((row) => !row.classList.contains("section"))]));
    this.view = root.querySelector("[data-view]");
    this.search = root.querySelector("[data-search]");
    this.filters = [...root.querySelectorAll("[data-filter]")];
    this.boxes = [...root.querySelectorAll("[data-column]")];
    this.usual = this.chosenColumns();
    this.sort = "";
    this.heads.forEach((head) => head.firstElementChild.addEventListener("click", () => this.sortBy(head)));
    for (const input of [this.view, this.search, ...this.filters, ...this.boxes]) {
      if (input) input.addEventListener("input", () => { this.remember(); this.apply(); });
    }
    kdbench.onState(() => { this.recall(); this.apply(); });
  }

  chosenColumns() { return this.boxes.filter((box) => box.checked).map((box) => box.dataset.column).join(","); }

  key(name) { return this.id + "." + name; }

  recall() {
    const state = kdbench.state();
    const set = (input, value) => {
      if (input.tagName !== "SELECT" || [...input.options].some((option) => option.value === value)) input.value = value;
    };
    if (this.view) set(this.view, state.get(this.key("pair")) || "all");
    if (this.search) set(this.search, state.get(this.key("q")) || "");
    for (const input of this.filters) set(input, state.get(this.key(input.dataset.filter)) || "");
    const columns = (state.get(this.key("columns")) || this.usual).split(",");
    for (const box of this.boxes) box.checked = columns.includes(box.dataset.column);
    this.sort = state.get(this.key("sort")) || "";
  }

  remember() {
    const changes = { [this.key("sort")]: this.sort };
    if (this.view) changes[this.key("pair")] = this.view.value === "all" ? "" : this.view.value;
    if (this.search) changes[this.key("q")] = this.search.value;
    for (const input of this.filters) changes[this.key(input.dataset.filter)] = input.value;
    const columns = this.chosenColumns();
    changes[this.key("columns")] = columns === this.usual ? "" : columns;
    kdbench.remember(changes);
  }

  sortBy(head) {
    const key = head.dataset.key;
    const first = head.classList.contains("number") && !/^(rank|p|year)$/.test(key) ? "-" : "";
    const turns = [first + key, (first ? "" : "-") + key, ""];
    this.sort = turns[(turns.indexOf(this.sort) + 1) % turns.length] || "";
    this.remember();
    this.apply();
  }

  apply() {
    this.showColumns();
    this.order();
    this.filter();
  }

  showColumns() {
    const pair = this.view ? this.view.value : "all";
    const chosen = new Set(this.boxes.filter((box) => box.checked).map((box) => box.dataset.column));
    const all = !this.boxes.length;
    const hidden = this.heads.map((head) => {
      const group = head.dataset.group;
      if (group && group !== pair) return true;
      if (group && group !== "all") return false;
      return !all && !chosen.has(head.dataset.key);
    });
    this.heads.forEach((head, i) => { head.hidden = hidden[i]; });
    for (const lines of this.lines.values()) {
      for (const line of lines) for (let i = 0; i < line.cells.length; i++) line.cells[i].hidden = hidden[i];
    }
  }

  order() {
    const key = this.sort.replace(/^-/, "");
    const at = this.heads.findIndex((head) => head.dataset.key === key);
    const down = this.sort.startsWith("-");
    this.heads.forEach((head, i) => {
      if (i === at) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    for (const [body, lines] of this.lines) {
      const sorted = at < 0 ? lines : [...lines].sort((a, b) => compare(a.cells[at], b.cells[at], down));
      body.append(...sorted);
    }
  }

  filter() {
    const words = (this.search ? this.search.value : "").toLowerCase().split(/\s+/).filter(Boolean);
    const pair = this.view ? this.view.value : "all";
    let shown = 0, total = 0;
    for (const [body, lines] of this.lines) {
      let here = 0;
      for (const line of lines) {
        const has = (name, value) => (line.dataset[name] || "").split("|").includes(value);
        const fits = this.filters.every((input) => !input.value || has(input.dataset.filter, input.value)) &&
          (pair === "all" || has("pair", pair)) &&
          words.every((word) => line.textContent.toLowerCase().includes(word));
        line.hidden = !fits;
        here += fits;
      }
      body.hidden = here === 0;
      shown += here;
      total += lines.length;
    }
    const count = this.root.querySelector("[data-count]");
    count.textContent = shown === total ? total + " rows" : shown + " of " + total + " rows";
  }

  // What is shown: titles, and for each line its cells and its paper.
  visible() {
    const at = this.heads.map((head, i) => (head.hidden ? -1 : i)).filter((i) => i >= 0);
    const lines = this.bodies.flatMap((body) => [...body.rows].filter((row) => !row.hidden && !body.hidden && !row.classList.contains("section")));
    return {
      titles: at.map((i) => this.heads[i].textContent),
      kinds: at.map((i) => (this.heads[i].classList.contains("number") ? "number" : "text")),
      lines: lines.map((line) => ({ paper: line.dataset.paper, cells: at.map((i) => read(line.cells[i])) })),
    };
  }
}

// A cell's text, the same with its further numbers, these numbers by name, its tags, its value and interval.
function read(cell) {
  const number = (name) => (cell.dataset[name] === undefined ? null : Number(cell.dataset[name]));
  const said = (node) => node.textContent.trim().replace(/\s+/g, " ");
  const rest = cell.cloneNode(true);
  const take = (selector) => [...rest.querySelectorAll(selector)].map((node) => { node.remove(); return node; });
  const tags = take(".tag").map(said);
  const shown = said(rest);
  const parts = Object.fromEntries(take("[data-part]").map((node) => [node.dataset.part, Number(node.dataset.value)]));
  return { text: said(rest), shown, parts, tags, value: number("value"), low: number("low"), high: number("high") };
}

function compare(a, b, down) {
  const x = a.dataset.value, y = b.dataset.value;
  if (x === undefined && y === undefined) return (down ? -1 : 1) * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  if (x === undefined || y === undefined) return x === undefined ? 1 : -1; // what is missing comes last
  return (down ? -1 : 1) * (Number(x) - Number(y));
}

addEventListener("DOMContentLoaded", () => {
  kdbench.tables = [...document.querySelectorAll("[data-table]")].map((root) => new BoardTable(root));
});
