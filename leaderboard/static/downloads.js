// Any table as CSV, JSON, LaTeX or BibTeX: the rows and columns that are shown.
"use strict";

const formats = {
  csv(table) {
    const plain = (value) => (Array.isArray(value) ? value.join("; ") : value ?? "");
    const columns = fields(table).flatMap(({ at, name, number, bounded, apart }) => [
      [name, (cell) => (number ? cell.value : cell.text)],
      ...(bounded ? [[name + " low", (cell) => cell.low], [name + " high", (cell) => cell.high]] : []),
      ...apart,
    ].map(([title, value]) => [title, (line) => plain(value(line.cells[at]))]));
    const lines = table.lines.map((line) => columns.map(([, value]) => value(line)));
    return [columns.map(([title]) => title), ...lines].map((line) => line.map(csvField).join(",")).join("\r\n") + "\r\n";
  },
  json(table) {
    const own = (cell) => (cell.low === null ? cell.value : { value: cell.value, low: cell.low, high: cell.high });
    const columns = fields(table).flatMap(({ at, name, number, apart }) => [
      [name, (cell) => (number ? own(cell) : cell.text)],
      ...apart,
    ].map(([title, value]) => [title, (line) => value(line.cells[at])]));
    const lines = table.lines.map((line) => Object.fromEntries(columns.map(([title, value]) => [title, value(line)])));
    return JSON.stringify(lines, null, 1) + "\n";
  },
  latex(table) {
    const columns = fields(table).flatMap(({ at, title, name, number, tagged }) => [
      [title, number ? "r" : "l", (line) => line.cells[at].shown],
      ...(tagged ? [[name + " tags", "l", (line) => line.cells[at].tags.join("; ")]] : []),
    ]);
    const row = (texts) => texts.map(latexText).join(" & ") + " \\\\";
    const kinds = columns.map(([, kind]) => kind).join("");
    return ["% \\usepackage{booktabs}", `\\begin{tabular}{${kinds}}`, "\\toprule", row(columns.map(([title]) => title)), "\\midrule",
      ...table.lines.map((line) => row(columns.map(([, , text]) => text(line)))), "\\bottomrule", "\\end{tabular}", ""].join("\n");
  },
  bibtex(table) {
    const papers = kdbench.data.papers || {};
    const keys = [...new Set(table.lines.map((line) => line.paper))].filter((key) => Object.hasOwn(papers, key)).sort();
    return keys.map((key) => bibtexEntry(key, papers[key])).join("\n") || "% none of these rows has a paper\n";
  },
};

// What each column holds, and what stands apart from it: its cells' further numbers and tags, each a title and a value.
// A column with further numbers, "Student (baseline)", is named without what its title says of them.
function fields(table) {
  return table.titles.map((title, at) => {
    const cells = table.lines.map((line) => line.cells[at]);
    const parts = [...new Set(cells.flatMap((cell) => Object.keys(cell.parts)))];
    const name = parts.length ? title.replace(/ \(.*\)$/, "") : title;
    const tagged = cells.some((cell) => cell.tags.length);
    const apart = parts.map((part) => [`${name} ${part}`, (cell) => cell.parts[part] ?? null]);
    if (tagged) apart.push([name + " tags", (cell) => cell.tags]);
    return { at, title, name, number: table.kinds[at] === "number", bounded: cells.some((cell) => cell.low !== null), tagged, apart };
  });
}

function csvField(value) {
  let text = String(value);
  if (typeof value === "string" && /^[=+@\t\r-]/.test(text)) text = "'" + text; // a spreadsheet would run it
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "→": "$\\to$",
  "×": "$\\times$", "–": "--", "−": "$-$" };

function latexText(text) { return text.replace(/[\\~^±→×–−&%$#_{}]/g, (found) => LATEX[found] || "\\" + found); }

function bibtexEntry(key, paper) {
  const authors = paper.authors.split(/,\s*/).join(" and ");
  const fields = [`  title = {{${latexText(paper.title)}}}`, `  author = {${latexText(authors)}}`];
  if (paper.year) fields.push(`  year = {${paper.year}}`);
  if (paper.arxiv) fields.push(`  eprint = {${paper.arxiv}}`, "  archivePrefix = {arXiv}");
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
      button.addEventListener("click", () => save(`kdbench-${table.id}.${endings[kind]}`, formats[kind](table.visible())));
    }
  }
});
