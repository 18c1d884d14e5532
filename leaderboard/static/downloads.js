// Any table as CSV, JSON, LaTeX or BibTeX: the rows and columns that are shown.
"use strict";

const formats = {
  csv(table) {
    const titles = table.titles.flatMap((title, i) => (bounded(table, i) ? [title, title + " low", title + " high"] : [title]));
    const lines = table.lines.map((line) => line.cells.flatMap((cell, i) => {
      const own = table.kinds[i] === "number" ? (cell.value === null ? "" : cell.value) : cell.text;
      return bounded(table, i) ? [own, cell.low ?? "", cell.high ?? ""] : [own];
    }));
    return [titles, ...lines].map((line) => line.map(csvField).join(",")).join("\r\n") + "\r\n";
  },
  json(table) {
    const lines = table.lines.map((line) => Object.fromEntries(line.cells.map((cell, i) => [table.titles[i],
      table.kinds[i] === "text" ? cell.text : cell.low === null ? cell.value : { value: cell.value, low: cell.low, high: cell.high }])));
    return JSON.stringify(lines, null, 1) + "\n";
  },
  latex(table) {
    const columns = table.kinds.map((kind) => (kind === "number" ? "r" : "l")).join("");
    const row = (texts) => texts.map(latexText).join(" & ") + " \\\\";
    return ["% \\usepackage{booktabs}", `\\begin{tabular}{${columns}}`, "\\toprule", row(table.titles), "\\midrule",
      ...table.lines.map((line) => row(line.cells.map((cell) => cell.text))), "\\bottomrule", "\\end{tabular}", ""].join("\n");
  },
  bibtex(table) {
    const papers = kdbench.data.papers || {};
    const keys = [...new Set(table.lines.map((line) => line.paper))].filter((key) => Object.hasOwn(papers, key)).sort();
    return keys.map((key) => bibtexEntry(key, papers[key])).join("\n") || "% none of these rows has a paper\n";
  },
};

function bounded(table, i) { return table.lines.some((line) => line.cells[i].low !== null); }

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
