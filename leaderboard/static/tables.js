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
    this.further = root.dataset.further || "";
    this.place();
    this.view = root.querySelector("[data-view]");
    this.search = root.querySelector("[data-search]");
    this.filters = [...root.querySelectorAll("[data-filter]")];
    this.boxes = [...root.querySelectorAll("[data-column]")];
    this.usual = this.chosenColumns();
    this.sort = "";
    this.heads.forEach((head) => head.firstElementChild.addEventListener("click", () => this.sortBy(head)));
    for (const input of [this.view, this.search, ...this.filters, ...this.boxes]) {
      if (input) input.addEventListener("input", () => { this.remember(input === this.search); this.apply(); });
    }
    kdbench.onState(() => { this.recall(); this.apply(); });
  }

  chosenColumns() { return this.boxes.filter((box) => box.checked).map((box) => box.dataset.column).join(","); }

  // Where a row has the cell of each head; those that are not seen at first come from a script, once they are asked for.
  place() {
    let next = 0;
    const late = this.further && this.heads.map((head) => head.hidden);
    this.at = this.heads.map((_, i) => (late && late[i] ? -1 : next++));
  }

  cell(line, i) { return line.cells[this.at[i]]; }

  async fetch() {
    const name = this.further;
    await kdbench.load(`data/${name}.js`);
    if (!this.further) return;
    const made = document.createElement("template");
    made.innerHTML = `<table><tbody>${kdbench.data[name]}</tbody></table>`; // by the same template as the page, escaped there
    const rows = [...made.content.querySelectorAll("tr")];
    const late = this.at.map((at, i) => (at < 0 ? i : -1)).filter((i) => i >= 0);
    [...this.lines.values()].flat().forEach((line, n) => {
      const cells = [...rows[n].cells];
      late.forEach((i, k) => line.insertBefore(cells[k], line.cells[i] || null));
    });
    this.further = "";
    this.place();
  }

  key(name) { return this.id + "." + name; }

  get pair() { return this.view ? this.view.value : "all"; }

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

  remember(typing) {
    const changes = { [this.key("sort")]: this.sort };
    if (this.view) changes[this.key("pair")] = this.pair === "all" ? "" : this.pair;
    if (this.search) changes[this.key("q")] = this.search.value;
    for (const input of this.filters) changes[this.key(input.dataset.filter)] = input.value;
    const columns = this.chosenColumns();
    changes[this.key("columns")] = columns === this.usual ? "" : columns;
    const goesOn = typing && this.search.value && kdbench.state().has(this.key("q"));
    kdbench.remember(changes, goesOn); // one step back undoes a whole word
  }

  sortBy(head) {
    const key = head.dataset.key;
    const first = head.classList.contains("number") && !/^(rank|p|year|cost|seconds|ratio|alone|spent)$/.test(key) ? "-" : "";
    const turns = [first + key, (first ? "" : "-") + key, ""];
    this.sort = turns[(turns.indexOf(this.sort) + 1) % turns.length] || "";
    this.remember();
    this.apply();
  }

  apply() {
    if (this.further && this.heads.some((head, i) => this.at[i] < 0 && this.wants(head))) {
      this.fetch().then(() => this.apply());
      return;
    }
    this.showColumns();
    this.order();
    this.filter();
  }

  // Whether a column is shown, or sorted by.
  wants(head) { return !this.isHidden(head) || head.dataset.key === this.sortedKey(); }

  isHidden(head) {
    const group = head.dataset.group;
    if (group && group !== this.pair) return true;
    if (group && group !== "all") return false;
    const box = this.boxes.find((one) => one.dataset.column === head.dataset.key);
    return Boolean(this.boxes.length) && !(box && box.checked);
  }

  showColumns() {
    this.table.classList.toggle("of-pair", this.pair !== "all"); // what stands beneath names is of all pairs
    const hidden = this.heads.map((head) => this.isHidden(head));
    const changed = hidden.map((value, i) => (this.heads[i].hidden === value ? -1 : i)).filter((i) => i >= 0);
    for (const i of changed) this.heads[i].hidden = hidden[i];
    for (const lines of this.lines.values()) {
      for (const line of lines) for (const i of changed) this.cell(line, i).hidden = hidden[i];
    }
  }

  get sorting() { return this.sort || (this.pair === "all" ? "" : "-a " + this.pair); } // a pair has an order of its own

  sortedKey() { return this.sorting.replace(/^-/, ""); }

  order() {
    const sort = this.sorting;
    const key = this.sortedKey();
    const at = this.heads.findIndex((head) => head.dataset.key === key);
    const down = sort.startsWith("-");
    this.heads.forEach((head, i) => {
      if (i === at) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    if (sort === (this.sorted || "")) return;
    this.sorted = sort;
    for (const [body, lines] of this.lines) {
      const sorted = at < 0 ? lines : [...lines].sort((a, b) => compare(this.cell(a, at), this.cell(b, at), down));
      body.append(...sorted);
    }
  }

  filter() {
    const words = (this.search ? this.search.value : "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0, total = 0;
    for (const [body, lines] of this.lines) {
      let here = 0;
      for (const line of lines) {
        const has = (name, value) => (line.dataset[name] || "").split("|").includes(value);
        const text = words.length ? (line.dataset.words || line.textContent).toLowerCase() : "";
        const fits = this.filters.every((input) => !input.value || has(input.dataset.filter, input.value)) &&
          (this.pair === "all" || has("pair", this.pair)) && words.every((word) => text.includes(word));
        if (line.hidden === fits) line.hidden = !fits;
        here += fits;
      }
      body.hidden = here === 0;
      shown += here;
      total += lines.length;
    }
    const count = this.root.querySelector("[data-count]");
    const [of, rows] = document.documentElement.lang === "en" ? [" of ", " rows"] : [" / ", " 行"];
    count.textContent = shown === total ? total + rows : shown + of + total + rows;
  }

  // What is shown: titles, and for each line its cells, its block and its paper.
  visible() {
    const at = this.heads.map((head, i) => (head.hidden ? -1 : i)).filter((i) => i >= 0);
    const lines = this.bodies.flatMap((body) => [...body.rows]
      .filter((row) => !row.hidden && !body.hidden && !row.classList.contains("section"))
      .map((row) => ({ paper: row.dataset.paper, block: body.dataset.section || "", cells: at.map((i) => read(this.cell(row, i))) })));
    return {
      caption: this.table.caption.textContent,
      titles: at.map((i) => this.heads[i].textContent),
      kinds: at.map((i) => (this.heads[i].classList.contains("number") ? "number" : "text")),
      lines,
    };
  }
}

// A cell's text, the same with its further numbers, these numbers by name, its verdict, its tags, its value and interval.
function read(cell) {
  const number = (name) => (cell.dataset[name] === undefined ? null : Number(cell.dataset[name]));
  const said = (node) => node.textContent.trim().replace(/\s+/g, " ");
  const rest = cell.cloneNode(true);
  const take = (selector) => [...rest.querySelectorAll(selector)].map((node) => { node.remove(); return node; });
  take(".beneath");
  const tags = take(".tag").map(said);
  const verdict = take(".mark").map((node) => said(node.lastChild)).join(" ");
  const shown = said(rest);
  const parts = Object.fromEntries(take("[data-part]").map((node) => [node.dataset.part, Number(node.dataset.value)]));
  return { text: said(rest), shown, parts, tags, verdict, value: number("value"), low: number("low"), high: number("high") };
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
