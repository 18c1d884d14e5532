// An answer for one pair, budget and what is at hand: a sentence, a table, and accuracy against cost.
"use strict";

const MARKS = { better: ["▲", "better"], worse: ["▼", "worse"], level: ["=", "not better"], open: ["?", "undecided"], none: ["·", "one seed"] };
const HANDS = { "": ["no teacher", "a teacher"], team: ["no teacher", "a teacher", "several teachers"], alone: ["no teacher"], nodata: ["no data"] };
const signed = (value) => (value < 0 ? "−" : "+") + kdbench.fixed(Math.abs(value));
const times = (value) => (value === null ? "unknown cost" : `× ${kdbench.fixed(value)}`);
const title = (row) => (row.reference === "kd" ? "plain KD" : row.reference === "vanilla" ? "the plain student" : row.name);

// The rows of a place that fit, the highest mean first, those on the Pareto front marked.
function fitting(board, place, most, hand) {
  const rows = place.rows.map(([n, mean, half, plain, kd]) => ({ ...board.rows[n], mean, half, plain, kd }))
    .filter((row) => HANDS[hand].includes(row.needs) && (!most || (row.cost !== null && row.cost <= most)))
    .sort((x, y) => y.mean - x.mean);
  let best = -Infinity;
  for (const row of rows.filter((row) => row.cost !== null).sort((x, y) => x.cost - y.cost || y.mean - x.mean)) {
    row.front = row.mean > best;
    best = Math.max(best, row.mean);
  }
  return rows;
}

const cheapest = (rows) => rows.filter((row) => row.cost !== null).sort((x, y) => x.cost - y.cost);

// The answer in one sentence, and what else a reader should know.
function advice(rows) {
  const better = (key) => rows.filter((row) => row[key] && row[key][1] === "better");
  const kd = rows.find((row) => row.reference === "kd"), plain = rows.find((row) => row.reference === "vanilla");
  const overKd = better("kd"), overPlain = better("plain");
  const winner = (found, key, reference) => {
    const first = found[0], cheap = cheapest(found)[0];
    const also = cheap && cheap.name !== first.name && cheap.cost < first.cost
      ? ` The cheapest that is: ${title(cheap)} (${signed(cheap[key][0])}, ${times(cheap.cost)}).` : "";
    return `Take ${title(first)}: measurably better than ${reference} (${signed(first[key][0])} points)${first.cost === null ? "" : ` at ${times(first.cost)} the plain student's training`}.${also}`;
  };
  if (!rows.length) return "Nothing measured fits: allow a higher cost, or other things at hand.";
  if (overKd.length) return winner(overKd, "kd", "plain KD");
  if (kd && kd.plain && kd.plain[1] === "better") {
    const ties = cheapest(rows.filter((row) => row.kd && row.kd[1] !== "worse" && row.kd[1] !== "better" && row.cost < kd.cost && row !== plain)).slice(0, 3);
    const also = ties.length ? ` Cheaper and not told apart from it: ${ties.map((row) => `${title(row)} (${times(row.cost)})`).join(", ")}.` : "";
    return `Take plain KD: nothing measured here is measurably better at this cost (${times(kd.cost)}).${also}`;
  }
  if (overPlain.length) return winner(overPlain, "plain", "the plain student");
  if (plain) {
    const first = rows.find((row) => row !== plain);
    const also = first ? ` The highest mean: ${title(first)} (${kdbench.fixed(first.mean)} %, ${first.plain ? signed(first.plain[0]) : "–"} points, ${times(first.cost)}), which chance may explain.` : "";
    return `Take the plain student: nothing measured here is measurably better at this cost.${also}`;
  }
  const first = rows[0];
  const over = first.plain ? ` It stands ${signed(first.plain[0])} points from the plain student, which has the data.` : "";
  return `${title(first)} has the highest mean (${kdbench.fixed(first.mean)} %) of what fits.${over}`;
}

function cells(row, texts) {
  for (const [content, kind] of texts) {
    const cell = kdbench.element("td", typeof content === "string" ? content : undefined, { class: kind });
    if (typeof content !== "string") cell.append(...content);
    row.append(cell);
  }
}

function verdict(told, href) {
  if (!told) return "–";
  const made = kdbench.element("span", undefined, { class: "mark " + told[1] });
  made.append(kdbench.element("span", MARKS[told[1]][0], { "aria-hidden": "true" }), " ", MARKS[told[1]][1]);
  return [href ? kdbench.element("a", signed(told[0]), { href }) : signed(told[0]), " ", made];
}

function tableOf(titles, name) {
  const made = kdbench.element;
  const table = made("table", undefined, { class: "plain", id: "choices" }), head = made("tr"), thead = made("thead"), body = made("tbody");
  table.append(made("caption", name));
  for (const [text, kind] of titles) head.append(made("th", text, { scope: "col", class: kind }));
  thead.append(head);
  table.append(thead, body);
  const scroll = made("div", undefined, { class: "scroll tall", tabindex: "0", role: "region", "aria-label": name });
  scroll.append(table);
  return [scroll, body];
}

function named(row) {
  const head = kdbench.element("th", row.page ? undefined : row.name, { scope: "row", class: "text" });
  if (row.page) head.append(kdbench.element("a", row.name, { href: row.page }));
  return head;
}

function showMeasured(board, place, form, near) {
  const made = kdbench.element;
  const rows = fitting(board, place, Number(form.elements.cost.value) || 0, form.elements.hand.value);
  const measured = near ? `The nearest measured: ${kdbench.fixed(near.ratio, 1)} times smaller. ` : "";
  const parts = [made("p", measured + advice(rows), { class: "answer", id: "advice" })];
  if (board.purpose) parts.push(made("p", `This suite is ${board.purpose}.`, { class: "note" }));
  const costly = rows.filter((row) => row.cost !== null && row.cost > 0);
  if (costly.length > 1) {
    const points = costly.map((row) => ({ name: row.name, x: row.cost, y: row.mean, mark: row.plain ? row.plain[1] : "", front: row.front }));
    const figure = made("figure", undefined, { class: "small" });
    figure.append(plane(points, "training cost, plain student = 1", "top-1, %", `Accuracy against training cost on ${place.label}; on the Pareto front: ${points.filter((p) => p.front).map((p) => p.name).join(", ")}`),
      made("figcaption", `Cost is ${board.cost}, as a multiple of the plain student's. Dashed and named: the Pareto front, where more accuracy costs more. Green and orange: measurably better and worse than the plain student.`));
    parts.push(figure);
  }
  const [scroll, body] = tableOf([["Method", "text"], ["Top-1, %", "number"], ["Against KD", "number"], ["Over the plain student", "number"], ["Cost", "number"], ["Needs", "text"]], `What fits on ${place.label}`);
  for (const row of rows) {
    const line = made("tr");
    const link = (to) => `compare.html#suite=${encodeURIComponent(board.suite)}&a=${encodeURIComponent(row.name)}&b=${to}`;
    line.append(named(row));
    cells(line, [[row.half === null ? kdbench.fixed(row.mean) : `${kdbench.fixed(row.mean)} ± ${kdbench.fixed(row.half)}`, "number"], [verdict(row.kd, link("kd")), "number"],
      [verdict(row.plain, link("vanilla")), "number"], [row.cost === null ? "–" : times(row.cost), "number"], [row.needs, "text"]]);
    body.append(line);
  }
  const about = made("p", undefined, { class: "fine" });
  about.append("All numbers of this place: ", made("a", place.label, { href: place.page }), ". Verdicts are corrected over all rows there, whatever fits.");
  return [...parts, scroll, about];
}

function showPublished(dataset, pair, sources, form) {
  const made = kdbench.element;
  const one = sources[Number(form.elements.source.value) || 0];
  const [first, second] = one.rows;
  const then = second ? `, then ${second.name} (${signed(second.gain)})` : "";
  const parts = [
    made("p", `Only published numbers exist for ${pair} on ${dataset}. Within ${one.source}, the largest gain over its own plain student is that of ${first.name} (${signed(first.gain)})${then}.`, { class: "answer", id: "advice" }),
    made("p", `One source and one protocol at a time: gains of different sources cannot be ranked together. No intervals come with them, so close ones may be chance.${one.flags.length ? " Of this source: " + one.flags.join(", ") + "." : ""}`, { class: "note" }),
  ];
  const [scroll, body] = tableOf([["Method", "text"], ["Gain", "number"], ["Top-1, %", "number"]], `${pair} in ${one.source}`);
  for (const row of one.rows) {
    const line = made("tr");
    line.append(named(row));
    cells(line, [[signed(row.gain), "number"], [row.accuracy === null ? "–" : kdbench.fixed(row.accuracy), "number"]]);
    body.append(line);
  }
  const about = made("p", undefined, { class: "fine" });
  about.append("Source: ", one.address ? made("a", one.source, { href: one.address, rel: "noopener noreferrer" }) : one.source, `. ${one.notes}`);
  return [...parts, scroll, about];
}

function fill(select, groups, wanted) {
  select.replaceChildren(...groups.map(([label, options]) => {
    const made = options.map(([value, text]) => kdbench.element("option", text, { value }));
    if (!label) return made;
    const group = kdbench.element("optgroup", undefined, { label });
    group.append(...made);
    return [group];
  }).flat());
  if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;
}

const smaller = (place) => (place.ratio ? `${place.label}, ${kdbench.fixed(place.ratio, 1)} times smaller` : place.label);

// The pair whose student is most nearly so many times smaller.
function nearest(board, wanted) {
  const far = (place) => Math.abs(Math.log(place.ratio / wanted));
  return board.pairs.filter((place) => place.ratio).sort((x, y) => far(x) - far(y))[0];
}

async function refresh(form) {
  const boards = kdbench.data.choose || [];
  const state = kdbench.state();
  const { suite, pair, ratio, cost, hand, source } = form.elements;
  await kdbench.load("data/choose-published.js");
  const known = kdbench.data["choose-published"];
  const published = Object.keys(known).filter((name) => Object.keys(known[name]).length);
  fill(suite, [["Measured here", boards.map((board) => [board.suite, board.title])], ["Published numbers only", published.map((name) => ["published:" + name, name])]], state.get("suite"));
  const board = boards.find((one) => one.suite === suite.value);
  const dataset = suite.value.replace("published:", "");
  const options = board ? board.pairs.map((place) => [place.label, smaller(place)]) : Object.keys(known[dataset]).map((name) => [name, name]);
  fill(pair, [["", options]], state.get("pair"));
  ratio.disabled = !board;
  ratio.value = state.get("ratio") || "";
  const wanted = board && ratio.value ? Number(ratio.value) : null;
  const near = wanted >= 1 ? nearest(board, wanted) : null;
  if (near) pair.value = near.label;
  cost.value = state.get("cost") || "";
  hand.value = state.get("hand") || "";
  cost.disabled = hand.disabled = !board;
  const sources = board ? [] : known[dataset][pair.value];
  source.closest("label").hidden = Boolean(board);
  fill(source, [["", sources.map((one, n) => [String(n), `${one.source} (${one.rows.length})`])]], state.get("source"));
  if (wanted !== null && wanted < 1) {
    document.getElementById("answer").replaceChildren(kdbench.element("p", `Times smaller must be 1 or more, not ${wanted}.`, { class: "note" }));
    return;
  }
  const parts = board ? showMeasured(board, board.pairs.find((place) => place.label === pair.value), form, near) : showPublished(dataset, pair.value, sources, form);
  document.getElementById("answer").replaceChildren(...parts);
}

addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("asked");
  const again = () => refresh(form).catch((error) => document.getElementById("answer").replaceChildren(kdbench.element("p", `Cannot answer: ${error.message}.`, { class: "note" })));
  for (const input of form.elements) {
    input.addEventListener("change", () => {
      const value = (name) => form.elements[name].value;
      const afresh = input.name === "suite" ? { pair: "", ratio: "", source: "" } : input.name === "pair" ? { pair: value("pair"), ratio: "", source: "" }
        : input.name === "ratio" ? { ratio: value("ratio"), pair: "" } : {};
      kdbench.remember({ suite: value("suite"), cost: value("cost"), hand: value("hand"), source: value("source"), ...afresh });
      again();
    });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  kdbench.onState(again);
});
