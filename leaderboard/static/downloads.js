// Any table as CSV, JSON, LaTeX or BibTeX: the rows and columns that are shown, each column one thing.
"use strict";

const formats = {
  csv(table) {
    const plain = (value) => (Array.isArray(value) ? value.join("; ") : value ?? "");
    const columns = fields(table).flatMap(({ at, name, number, bounded, apart }) => [
      [name, (cell) => (number ? cell.value : cell.text)],
      ...(bounded ? [[name + " low", (cell) => cell.low], [name + " high", (cell) => cell.high]] : []),
      ...apart,
    ].map(([title, value]) => [title, (line) => plain(value(line.cells[at]))]));
    const all = [...blocks(table), ...columns];
    const lines = table.lines.map((line) => all.map(([, value]) => value(line)));
    return [all.map(([title]) => title), ...lines].map((line) => line.map(csvField).join(",")).join("\r\n") + "\r\n";
  },
  json(table) {
    const own = (cell) => (cell.low === null ? cell.value : { value: cell.value, low: cell.low, high: cell.high });
    const columns = fields(table).flatMap(({ at, name, number, apart }) => [
      [name, (cell) => (number ? own(cell) : cell.text)],
      ...apart,
    ].map(([title, value]) => [title, (line) => value(line.cells[at])]));
    const all = [...blocks(table), ...columns];
    return JSON.stringify(table.lines.map((line) => Object.fromEntries(all.map(([title, value]) => [title, value(line)]))), null, 1) + "\n";
  },
  latex(table) {
    const columns = fields(table).flatMap(({ at, title, name, number, tagged, told }) => [
      [title, number ? "r" : "l", (line) => line.cells[at].shown],
      ...(told ? [[name + " verdict", "l", (line) => line.cells[at].verdict]] : []),
      ...(tagged ? [[name + " tags", "l", (line) => line.cells[at].tags.join("; ")]] : []),
    ]);
    const row = (texts) => texts.map(latexText).join(" & ") + " \\\\";
    const head = row(columns.map(([title]) => title));
    const body = [];
    let block = "";
    for (const line of table.lines) {
      if (line.block !== block) body.push(...(body.length ? ["\\midrule"] : []), `\\multicolumn{${columns.length}}{l}{\\emph{${latexText(line.block)}}} \\\\`);
      block = line.block;
      body.push(row(columns.map(([, , text]) => text(line))));
    }
    return ["% \\usepackage{booktabs,longtable}", `\\begin{longtable}{${columns.map(([, kind]) => kind).join("")}}`,
      `\\caption{${latexText(table.caption)}} \\\\`, "\\toprule", head, "\\midrule", "\\endfirsthead", "\\toprule", head, "\\midrule", "\\endhead",
      "\\bottomrule", "\\endfoot", ...body, "\\end{longtable}", ""].join("\n");
  },
  async bibtex(table) {
    await kdbench.load("data/papers.js");
    const papers = kdbench.data.papers;
    const shown = new Set(table.lines.map((line) => line.paper));
    const entries = new Map();  // one entry a paper, whatever its methods are called
    for (const [key, paper] of Object.entries(papers).sort()) {
      if (shown.has(key) && !entries.has(paper.arxiv || paper.title)) entries.set(paper.arxiv || paper.title, bibtexEntry(key, paper));
    }
    return [...entries.values(), ...kdbench.data.cite].join("\n");
  },
};

// The block that a line stands in, of tables in blocks.
function blocks(table) { return table.lines.some((line) => line.block) ? [["Block", (line) => line.block]] : []; }

// What each column holds, and what stands apart from it: its cells' further numbers, verdicts and tags, each a title and
// a value. A column with further numbers, "Student (baseline)", is named without what its title says of them.
function fields(table) {
  return table.titles.map((title, at) => {
    const cells = table.lines.map((line) => line.cells[at]);
    const parts = [...new Set(cells.flatMap((cell) => Object.keys(cell.parts)))];
    const name = parts.length ? title.replace(/ \(.*\)$/, "") : title;
    const tagged = cells.some((cell) => cell.tags.length), told = cells.some((cell) => cell.verdict);
    const apart = parts.map((part) => [`${name} ${part}`, (cell) => cell.parts[part] ?? null]);
    if (told) apart.push([name + " verdict", (cell) => cell.verdict]);
    if (tagged) apart.push([name + " tags", (cell) => cell.tags]);
    return { at, title, name, number: table.kinds[at] === "number", bounded: cells.some((cell) => cell.low !== null), tagged, told, apart };
  });
}

function csvField(value) {
  let text = String(value);
  if (typeof value === "string" && /^[=+@\t\r-]/.test(text)) text = "'" + text; // a spreadsheet would run it
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "→": "$\\to$",
  "×": "$\\times$", "–": "--", "−": "$-$", "≈": "$\\approx$",
  "{": "\\textbraceleft{}", "}": "\\textbraceright{}" };  // BibTeX counts braces, escaped or not

function latexText(text) { return text.replace(/[\s\p{Cc}]+/gu, " ").replace(/[\\~^±→×–−≈&%$#_{}]/g, (found) => LATEX[found] || "\\" + found); }

function bibtexEntry(key, paper) {
  const authors = paper.authors.split(/,\s*/).join(" and ");
  const fields = [`  title = {{${latexText(paper.title)}}}`, `  author = {${latexText(authors)}}`];
  if (paper.year) fields.push(`  year = {${paper.year}}`);
  if (paper.arxiv) fields.push(`  eprint = {${latexText(paper.arxiv)}}`, "  archivePrefix = {arXiv}");
  return `@misc{${key},\n${fields.join(",\n")}\n}\n`;
}

function save(name, text) {
  const link = kdbench.element("a", undefined, { download: name });
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

addEventListener("DOMContentLoaded", () => {
  const endings = { csv: "csv", json: "json", latex: "tex", bibtex: "bib" };
  for (const table of kdbench.tables) {
    for (const button of table.root.querySelectorAll("[data-download]")) {
      const kind = button.dataset.download;
      button.addEventListener("click", async () => save(`kdbench-${table.id}.${endings[kind]}`, await formats[kind](table.visible())));
    }
  }
});
