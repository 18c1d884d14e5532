// Two rows beside each other, from the address: in words that can be quoted, per pair and over all.
"use strict";

const MARKS = { better: ["▲", "better"], worse: ["▼", "worse"], level: ["=", "not told apart"], open: ["?", "undecided"], none: ["·", "one seed"] };
const signed = (value) => (value < 0 ? "−" : "+") + kdbench.fixed(Math.abs(value));
const chance = (p) => (p < 0.0001 ? "p < 0.0001" : "p = " + kdbench.fixed(p, 4));

function markOf(kind) {
  const made = kdbench.element("span", undefined, { class: "mark " + kind });
  made.append(kdbench.element("span", MARKS[kind][0], { "aria-hidden": "true" }), " ", MARKS[kind][1]);
  return made;
}

// All differences of two rows: over all pairs (null where one is not ranked), and by pair.
function differences(suite, a, b, blocks) {
  const [i, j] = [suite.rows.indexOf(a), suite.rows.indexOf(b)];
  const at = Math.abs(i - j) - 1, sign = i < j ? 1 : -1; // the earlier row's script has both
  const from = (block) => (!block || block.mean[at] === null ? null : contrastOf(sign * block.mean[at], block.error[at], block.freedom[at]));
  const all = from(blocks.all);
  if (all) all.corrected = (i < j ? blocks.all.corrected : blocks.all.turned)[at];
  const pairs = suite.pairs.map((name, n) => ({ name, n, found: from(blocks[n]) })).filter(({ found }) => found);
  const corrected = holm(pairs.map(({ found }) => found.p));
  pairs.forEach((pair, i) => { pair.found.corrected = corrected[i]; });
  return { all, pairs };
}

// One sentence, to be quoted.
function sentence(suite, a, b, found) {
  const { all } = found;
  const place = `On ${suite.title} (${suite.pairs.length} pair${suite.pairs.length > 1 ? "s" : ""} of networks)`;
  if (!all) return `${place}, ${a.name} and ${b.name} are not both complete, so nothing is said over all pairs.`;
  if (all.p === null) return `${place}, ${a.name} and ${b.name} differ by ${signed(all.mean)} points; one seed tells nothing of its variation.`;
  const size = `${kdbench.fixed(Math.abs(all.mean))} percentage points ${all.mean < 0 ? "below" : "above"} ${b.name}`;
  const facts = `95 % interval ${signed(all.low)} to ${signed(all.high)}, ${chance(all.p)}; ${chance(all.corrected)} corrected over all rows`;
  const alone = verdictOf(all, all.p), board = verdictOf(all, all.corrected);
  const verdict = { better: `${a.name} is measurably better`, worse: `${a.name} is measurably worse` };
  const last = verdict[board] ? `${verdict[board]}, also after that correction.`
    : verdict[alone] ? `By themselves ${verdict[alone]}; among all rows of the board this is not measurable.`
      : alone === "open" ? `The two are not told apart, and a difference of ${MATTERS.toFixed(1)} points is not ruled out: undecided.`
        : `The two are not told apart, and a difference of ${MATTERS.toFixed(1)} points is ruled out.`;
  return `${place}, the mean top-1 accuracy of ${a.name} is ${size} (${facts}). ${last}`;
}

function tableOf(found) {
  const made = kdbench.element;
  const table = made("table", undefined, { class: "plain", id: "differences" });
  table.append(made("caption", "Differences"));
  const head = made("tr");
  for (const title of ["Pair", "Difference", "95 % interval", "Verdict", "p", "p corrected", "Would be seen from"]) head.append(made("th", title, { scope: "col", class: title === "Pair" || title === "Verdict" ? "text" : "number" }));
  const thead = made("thead"), body = made("tbody");
  thead.append(head);
  const rows = [...(found.all ? [{ name: "all pairs", found: found.all, over: "all" }] : []), ...found.pairs];
  for (const { name, found: d, over } of rows) {
    const row = made("tr", undefined, { "data-place": over || name });
    const kind = verdictOf(d, over ? d.p : d.corrected);
    const verdict = made("td", undefined, { class: "text" });
    verdict.append(markOf(kind));
    const number = (text, value) => made("td", text, { class: "number", ...(value === null || value === undefined ? {} : { "data-value": value }) });
    row.append(made("th", name, { scope: "row", class: "text" }), number(signed(d.mean), d.mean));
    const interval = number(d.low === null ? "one seed" : `${signed(d.low)} to ${signed(d.high)}`);
    if (d.low !== null) { interval.dataset.low = d.low; interval.dataset.high = d.high; }
    row.append(interval, verdict, number(d.p === null ? "–" : chance(d.p).replace("p ", "").replace("= ", ""), d.p),
      number(d.corrected === null ? "–" : chance(d.corrected).replace("p ", "").replace("= ", ""), d.corrected),
      number(d.detectable === null ? "–" : kdbench.fixed(d.detectable), d.detectable));
    body.append(row);
  }
  table.append(thead, body);
  const scroll = made("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": "Differences" });
  scroll.append(table);
  return scroll;
}

// Mean over pairs by seed, of the seeds that all pairs have.
function overall(row) {
  const seeds = Object.keys(row.seeds[0]).filter((seed) => row.seeds.every((by) => by[seed] !== undefined));
  return seeds.map((seed) => row.seeds.reduce((sum, by) => sum + by[seed], 0) / row.seeds.length);
}

function seedsOf(suite, a, b) {
  const made = kdbench.element;
  const places = suite.pairs.map((name, n) => [name, (row) => Object.values(row.seeds[n])]);
  if (places.length > 1) places.unshift(["all pairs", overall]);
  return places.flatMap(([name, of]) => {
    const svg = dotRows([a, b].map((row) => ({ name: row.name, values: of(row) })), `Seeds of ${a.name} and ${b.name}, ${name}`);
    if (!svg) return [];
    const figure = made("figure", undefined, { class: "small" });
    figure.append(made("figcaption", `${name}: top-1 in %, a dot a seed, a bar the mean`), svg);
    return [figure];
  });
}

async function show(form) {
  const index = kdbench.data["compare/index"] || [];
  const answer = document.getElementById("answer");
  const suite = index.find((one) => one.suite === form.elements.suite.value);
  const [a, b] = ["a", "b"].map((name) => suite && suite.rows.find((row) => row.name === form.elements[name].value));
  if (!a || !b || a === b) {
    answer.replaceChildren(kdbench.element("p", a && a === b ? "Choose two different methods." : "No two rows to compare.", { class: "note" }));
    return;
  }
  const path = `compare/${suite.suite}/${Math.min(suite.rows.indexOf(a), suite.rows.indexOf(b))}`;
  await kdbench.load(`data/${path}.js`);
  const found = differences(suite, a, b, kdbench.data[path]);
  const made = kdbench.element;
  const quote = made("blockquote", sentence(suite, a, b, found), { id: "quote" });
  const about = made("p", undefined, { class: "fine" });
  about.append("More: ", made("a", a.name, { href: a.page }), ", ", made("a", b.name, { href: b.page }), ", ", made("a", suite.title, { href: suite.page }),
    `. p of all pairs: of these two alone, and corrected over ${suite.ranked - 1} rows; of single pairs: alone, and corrected over the pairs (Holm). The last column: what is found four times in five.`);
  answer.replaceChildren(quote, tableOf(found), about, ...seedsOf(suite, a, b));
}

function fill(select, options, wanted) {
  select.replaceChildren(...options.map(([value, text]) => kdbench.element("option", text, { value })));
  if (wanted) select.value = wanted; // one that is not there leaves the choice empty
}

const has = (suite, name) => suite.rows.some((row) => row.name === name);

// What of an address is not there, in one sentence; empty where all of it is.
function missing(named, suite, names) {
  if (!suite) return named ? `No suite '${named}' here.` : "";
  const lost = names.filter((name) => name && !has(suite, name));
  return lost.length ? `No row ${lost.map((name) => `'${name}'`).join(" or ")} on ${suite.suite}.` : "";
}

addEventListener("DOMContentLoaded", () => {
  const index = kdbench.data["compare/index"] || [];
  const form = document.getElementById("asked");
  const { suite, a, b } = form.elements;
  const refresh = () => {
    const state = kdbench.state();
    const wanted = [state.get("a"), state.get("b")], named = state.get("suite");
    const chosen = named ? index.find((one) => one.suite === named) : index.find((one) => wanted.every((name) => !name || has(one, name))) || index[0];
    fill(suite, index.map((one) => [one.suite, one.title]), named || (chosen && chosen.suite));
    const names = chosen ? chosen.rows.map((row) => [row.name, row.name]) : [];
    fill(a, names, wanted[0] || (names[0] || [])[0]);
    const other = names.map(([name]) => name).find((name) => name === "kd" && name !== a.value) || (names.find(([name]) => name !== a.value) || [])[0];
    fill(b, names, wanted[1] || other);
    const lost = missing(named, chosen, wanted);
    if (lost) document.getElementById("answer").replaceChildren(kdbench.element("p", lost, { class: "note" }));
    else show(form).catch((error) => document.getElementById("answer").replaceChildren(kdbench.element("p", `Cannot compare: ${error.message}.`, { class: "note" })));
  };
  const asked = () => { kdbench.remember({ suite: suite.value, a: a.value, b: b.value }); refresh(); };
  for (const select of [suite, a, b]) select.addEventListener("change", asked);
  document.getElementById("swap").addEventListener("click", () => { [a.value, b.value] = [b.value, a.value]; asked(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  kdbench.onState(refresh);
});
