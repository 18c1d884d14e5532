// One record, found by the suite, method and key in the address; every value is set as text.
"use strict";

const NAME = /^[a-z0-9][a-z0-9_.-]{0,99}$/;

function loadRecords(suite, method) {
  const name = `cells/${suite}/${method}`;
  if (kdbench.data[name]) return Promise.resolve(kdbench.data[name]);
  return new Promise((resolve, reject) => {
    const script = kdbench.element("script", undefined, { src: `data/${name}.js` });
    script.addEventListener("load", () => resolve(kdbench.data[name]));
    script.addEventListener("error", () => reject(new Error("its file is missing")));
    document.head.append(script);
  });
}

async function showRecord() {
  const state = kdbench.state();
  const [suite, method, key] = ["suite", "method", "key"].map((name) => state.get(name) || "");
  const place = document.getElementById("record");
  const index = kdbench.data["cells/index"] || {};
  if (!NAME.test(suite) || !NAME.test(method) || !Object.hasOwn(index, suite) || !index[suite].includes(method)) {
    place.replaceChildren(kdbench.element("p", "No such record. Numbers in the tables lead to theirs.", { class: "note" }));
    return;
  }
  const all = await loadRecords(suite, method);
  const found = all.records.filter((entry) => entry.record.key.startsWith(key) && key.length >= 8);
  if (!found.length) {
    place.replaceChildren(kdbench.element("p", "No such record.", { class: "note" }));
    return;
  }
  place.replaceChildren(...found.flatMap((entry) => describe(entry, all)));
}

function describe(entry, all) {
  const { record, origin, level, verified, command } = entry;
  const made = kdbench.element;
  const pair = record.teachers.length ? `${record.teachers.map((t) => t.model).join(", ")} → ${record.student}` : record.student;
  const parts = [made("h2", `${record.method.name}, ${pair}, seed ${record.seed}`)];
  const links = made("p", undefined, { class: "crumbs" });
  links.append(made("a", record.suite, { href: `suite/${record.suite}/index.html` }), " · ",
    made("a", record.method.name, { href: `method/${record.method.name}.html` }));
  parts.push(links);
  if (record.status !== "done") parts.push(made("p", `Not applicable: ${record.reason}`, { class: "note" }));
  const network = record.networks.find((n) => n.role === "student");
  const rows = [
    ["from", origin === "yours" ? "your own runs/ folder" : "accepted results"],
    ["verified", `${level < 2 ? "not verified" : `level ${level}`}${verified ? ": " + verified : ""}`],
    ...(network ? Object.entries(network.metrics).filter(([, value]) => value !== null) : []),
    ...(record.tasks ? [["average accuracy over tasks", record.tasks.average], ["forgetting", record.tasks.forgetting]] : []),
    ...(entry.balanced === undefined ? [] : [["balanced accuracy, mean over classes", entry.balanced]]),
    ...(entry.agreement === undefined ? [] : [["agrees with its teacher, % of test images", entry.agreement]]),
    ...(network ? [["parameters", network.parameters.toLocaleString("en")], ["MACs an image", network.macs.toLocaleString("en")]] : []),
    ...(record.cost ? spent(record.cost) : []),
    ["finished", record.finished],
    ["key", record.key],
  ];
  parts.push(table(rows));
  if (record.tasks) parts.push(made("h3", "After each task"), table(record.tasks.accuracy.map(afterTask)));
  const others = record.tasks ? [] : record.networks.filter((n) => n !== network);
  if (others.length) parts.push(made("h3", "Further networks"), table(others.map((n) => [n.role, about(n)])));
  const classes = all.classes[record.fingerprint];
  if (entry.by_class && classes) parts.push(byClass(entry.by_class, classes));
  parts.push(made("h3", "Repeat it"), made("pre", command, { tabindex: "0" }));
  parts.push(made("h3", "Parameters"), table(Object.entries(record.params)), made("p", `From: ${record.params_source}, after ${record.trials} trials.`, { class: "fine" }));
  parts.push(made("h3", "Provenance"), table([...Object.entries(record.environment),
    ["method version", record.method.version], ["plugin", `${record.method.distribution} ${record.method.distribution_version}`],
    ["method source", record.method.source_sha256], ...record.teachers.flatMap((t) => [[`teacher ${t.model}`, t.sha256], ...(t.origin ? [[`weights of ${t.model}`, t.origin]] : [])]),
    ...(record.distilled ? [["distilled images", record.distilled.sha256], ["made in", `${record.distilled.seconds.toFixed(1)} s, once for all students`]] : []),
    ["evidence", record.evidence_sha256], ["record", record.sha256]]));
  const whole = made("details");
  const full = { ...record, protocol: all.protocols[record.fingerprint] };
  whole.append(made("summary", "The whole record"), made("pre", JSON.stringify(full, null, 2), { tabindex: "0" }));
  parts.push(whole);
  return parts;
}

// The accuracy on each class, the worst first; names are whatever the data call them, and set as text.
function byClass(top1, classes) {
  const made = kdbench.element;
  const rows = top1.map((value, i) => [classes.names ? classes.names[i] : `class ${i}`, value, classes.images[i]])
    .filter(([, value]) => value !== null).sort((a, b) => a[1] - b[1]);
  const whole = made("details");
  whole.append(made("summary", `Accuracy on each of ${rows.length} classes, the worst first`),
    table(rows.map(([name, value, images]) => [name, `${value.toFixed(1)} % of ${images} images`])));
  return whole;
}

// The accuracy on each task so far.
function afterTask(row, task) {
  return [`task ${task + 1}`, row.map((value) => `${value.toFixed(1)} %`).join(", ")];
}

function spent(cost) {
  const count = (value) => value.toLocaleString("en");
  const rows = [["training", `${cost.train_seconds.toFixed(1)} s, ${count(cost.steps)} steps`],
    ["extra parameters", count(cost.method_parameters)]];
  if (cost.flops !== undefined) rows.push(["floating-point operations", cost.flops.toExponential(2)]);
  for (const [name, passes] of Object.entries(cost.passes || {})) {
    rows.push([`images through ${name}`, `${count(passes.forward)} forward, ${count(passes.backward)} backward`]);
  }
  if (cost.synthetic_images !== undefined) rows.push(["synthetic images", count(cost.synthetic_images)]);
  return rows;
}

function about(network) {
  const size = network.size_bytes === undefined ? "" : `, ${network.size_bytes.toLocaleString("en")} bytes`;
  return `${network.model}: ${kdbench.fixed(network.metrics.top1)} %, ${network.parameters.toLocaleString("en")} parameters${size}`;
}

function table(rows) {
  const made = kdbench.element("table", undefined, { class: "plain keys" });
  const body = kdbench.element("tbody");
  for (const [name, value] of rows) {
    const row = kdbench.element("tr");
    row.append(kdbench.element("th", name, { scope: "row" }), kdbench.element("td", typeof value === "object" ? JSON.stringify(value) : String(value)));
    body.append(row);
  }
  made.append(body);
  const scroll = kdbench.element("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": rows.length ? String(rows[0][0]) : "nothing" });
  scroll.append(made);
  return scroll;
}

addEventListener("DOMContentLoaded", () => kdbench.onState(() => showRecord().catch((error) => {
  document.getElementById("record").replaceChildren(kdbench.element("p", `Cannot show the record: ${error.message}.`, { class: "note" }));
})));
