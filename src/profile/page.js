"use strict";
// Reads the numbers of a profile, adds them up and draws them. Names come from files of models, so
// they are only ever set as text.

const data = JSON.parse(document.getElementById("data").textContent);
const state = { row: Math.floor(data.rows.length / 2), zoom: 1, sort: "us", down: true };
const BOUNDS = ["compute", "memory", "launch"];
const COLOURS = 9;

const byId = (id) => document.getElementById(id);
const sum = (values) => values.reduce((a, b) => a + b, 0);
const last = (list) => list[list.length - 1];

// ---- elements and words

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
const html = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const text = (x, y, words, attributes = {}) => svg("text", { x, y, ...attributes }, words);
const rect = (x, y, width, height, attributes) =>
  svg("rect", { x, y, width: Math.max(width, 0), height, ...attributes });
const line = (x1, y1, x2, y2, name) => svg("line", { x1, y1, x2, y2, class: name });

/** Three digits, or all before the point. */
const digits = (value) => (value >= 1000 ? Math.round(value).toLocaleString("en")
  : value === 0 ? "0" : value.toPrecision(3));
function scaled(value, units) {
  let i = 0;
  while (Math.abs(value) >= 1000 && i < units.length - 1) { value /= 1000; i += 1; }
  return `${digits(value)} ${units[i]}`;
}
const time = (us) => scaled(us, ["µs", "ms", "s"]);
const percent = (part) => `${digits(100 * part)} %`;
const flopRate = (gflops) => scaled(gflops, ["GFLOP/s", "TFLOP/s", "PFLOP/s"]);
const byteRate = (gbps) => scaled(gbps, ["GB/s", "TB/s"]);
const rowName = (row) => (row.step === null ? "once" : `${row.step}`);

/** A name that may be broken where its words end. */
const breakable = (name) => name.split(/(?<=[._+])/).flatMap((part) => [part, html("wbr")]);

function legend(entries) {
  const entry = ([name, colour]) =>
    html("span", {}, html("i", { style: `background:${colour}` }), name);
  return entries.map(entry);
}

// ---- costs

/** The launches of a row, with their times in the row. */
function launchesOf(row) {
  let end = 0;
  return data.bodies[row.body].map((part, i) => {
    const start = end + row.gaps[i];
    end = start + row.us[i];
    return { ...data.parts[part], start, us: row.us[i] };
  });
}

const emptyCost = () => ({
  calls: 0, us: 0, flops: 0, bytes: 0, floors: new Map(), kernels: new Map(), tiles: new Set(),
});
const grow = (map, key, by) => map.set(key, (map.get(key) ?? 0) + by);

function add(cost, launch) {
  cost.calls += 1;
  cost.us += launch.us;
  cost.flops += launch.flops;
  cost.bytes += launch.bytes;
  grow(cost.kernels, launch.kernel, launch.us);
  if (launch.tile !== null) cost.tiles.add(data.tiles[launch.tile]);
  if (launch.floor_us !== null) grow(cost.floors, launch.bound, launch.floor_us);
}

/** Rates, what bounds most of the least time, and that time as a part of the time taken. */
function finish(cost) {
  // In 1e9 a second, as many in a microsecond as thousands of them.
  const rate = (work) => (cost.us > 0 ? work / cost.us / 1e3 : 0);
  const floor = (bound) => cost.floors.get(bound) ?? 0;
  const known = cost.floors.size > 0 && cost.us > 0;
  cost.gflops = rate(cost.flops);
  cost.gbps = rate(cost.bytes);
  cost.bound = known ? BOUNDS.reduce((a, b) => (floor(b) >= floor(a) ? b : a)) : null;
  cost.roofline = known ? sum([...cost.floors.values()]) / cost.us : null;
  return cost;
}

/** Launches of some rows, added up by a key, the costliest first. */
function grouped(rows, keyOf) {
  const groups = new Map();
  for (const row of rows) {
    for (const launch of launchesOf(row)) {
      const key = keyOf(launch, row);
      if (!groups.has(key)) groups.set(key, { ...emptyCost(), launch, row });
      add(groups.get(key), launch);
    }
  }
  return [...groups.values()].map(finish).sort((a, b) => b.us - a.us);
}

const KEYS = {
  kernel: (launch) => launch.kernel,
  layer: (launch) => launch.layer,
  step: (_, row) => row,
  both: (launch) => launch.kernel * data.layers.length + launch.layer,
};
const kernelOf = (launch) => data.kernels[launch.kernel];
const layerOf = (launch) => data.layers[launch.layer];
/** As many of the last parts of a layer's name as fit into so many letters; perhaps none. */
function endOfLayer(launch, letters) {
  const parts = layerOf(launch).split(".");
  while (parts.length && parts.join(".").length > letters) parts.shift();
  return parts.join(".");
}

// The costliest kernels have a colour each, the others share one.
const ranked = grouped(data.rows, KEYS.kernel).map((cost) => cost.launch.kernel);
const colourOf = (kernel) => {
  const rank = ranked.indexOf(kernel);
  return rank < COLOURS ? `var(--k${rank})` : "var(--other)";
};
const kernelLegend = () => {
  const coloured = ranked.slice(0, COLOURS).map((k) => [data.kernels[k], colourOf(k)]);
  const others = ranked.length > COLOURS ? [["other kernels", "var(--other)"]] : [];
  return [...coloured, ...others];
};

function costOf(launch) {
  const cost = { ...emptyCost(), launch };
  add(cost, launch);
  return finish(cost);
}

function describe(cost) {
  const words = [kernelOf(cost.launch), ...cost.tiles, layerOf(cost.launch)];
  words.push(cost.calls > 1 ? `${time(cost.us)} in ${cost.calls} launches` : time(cost.us));
  words.push(flopRate(cost.gflops), byteRate(cost.gbps));
  if (cost.bound) words.push(`${cost.bound} bound`, `${percent(cost.roofline)} of the roofline`);
  return words.join(" · ");
}

// ---- table

const COLUMNS = [
  { key: "kernel", name: "kernel", kind: "word", value: (c) => kernelOf(c.launch) },
  { key: "layer", name: "layer", kind: "word layer", value: (c) => layerOf(c.launch) },
  { key: "tile", name: "tile", kind: "word minor", value: (c) => [...c.tiles].join(", ") },
  { key: "calls", name: "calls", value: (c) => c.calls },
  { key: "us", name: "µs", value: (c) => c.us, show: digits },
  { key: "share", name: "share", value: (c) => c.us / state.all, show: percent },
  { key: "gflops", name: "GFLOP/s", value: (c) => c.gflops, show: digits },
  { key: "gbps", name: "GB/s", value: (c) => c.gbps, show: digits },
  { key: "flops", name: "MFLOP", kind: "minor", value: (c) => c.flops / 1e6, show: digits },
  { key: "bytes", name: "MB", kind: "minor", value: (c) => c.bytes / 1e6, show: digits },
  { key: "bound", measured: true, name: "bound", kind: "word", value: (c) => c.bound ?? "" },
  { key: "roofline", measured: true, name: "roofline", value: (c) => c.roofline ?? -1,
    show: (v) => (v < 0 ? "" : percent(v)) },
].filter(({ measured }) => data.roofs || !measured);

function drawHead() {
  const cells = COLUMNS.map(({ key, name, kind }) => {
    const order = state.down ? "descending" : "ascending";
    const sorted = key === state.sort ? { "aria-sort": order } : {};
    const button = html("button", { type: "button" }, name);
    button.addEventListener("click", () => {
      state.down = key === state.sort ? !state.down : !/word/.test(kind);
      state.sort = key;
      draw();
      byId("table").querySelector("th[aria-sort] button").focus();
    });
    return html("th", { scope: "col", class: kind ?? "", ...sorted }, button);
  });
  byId("table").querySelector("thead").replaceChildren(html("tr", {}, ...cells));
}

function drawTable(costs) {
  drawHead();
  state.all = sum(costs.map((c) => c.us));
  const { value } = COLUMNS.find(({ key }) => key === state.sort);
  const order = (a, b) => (a < b ? -1 : Number(a > b)) * (state.down ? -1 : 1);
  const wanted = byId("filter").value.toLowerCase().split(/\s+/);
  const words = (c) =>
    `${kernelOf(c.launch)} ${layerOf(c.launch)} ${[...c.tiles]} ${c.bound}`.toLowerCase();
  const shown = costs.filter((c) => wanted.every((word) => words(c).includes(word)));
  shown.sort((a, b) => order(value(a), value(b)));
  const cell = (c) => ({ kind, value: of, show }) =>
    html("td", { class: kind ?? "" }, ...breakable((show ?? String)(of(c))));
  const rows = shown.map((c) => html("tr", {}, ...COLUMNS.map(cell(c))));
  byId("table").querySelector("tbody").replaceChildren(...rows);
  byId("matched").textContent = `${shown.length} of ${costs.length}: `
    + time(sum(shown.map((c) => c.us)));
}

// ---- the page

function drawAbout() {
  const words = data.about.map(([word, value]) =>
    html("div", {}, html("dt", {}, word), html("dd", {}, value)));
  byId("about").replaceChildren(...words);
  const model = data.about.find(([word]) => word === "model");
  if (model) document.title = `${model[1]} - unnoise profile`;
}

function draw() {
  const whole = document.querySelector("input[name=scope]:checked").value === "run";
  const rows = whole ? data.rows : [data.rows[state.row]];
  const costs = grouped(rows, KEYS.both);
  drawOverview();
  drawTimeline();
  drawRoofline(costs);
  drawBars(rows);
  drawTable(costs);
}

function selectRow(row) {
  state.row = Math.min(Math.max(row, 0), data.rows.length - 1);
  byId("step").value = state.row;
  draw();
}

function begin() {
  drawAbout();
  drawTotals();
  drawOverhead();
  byId("step").replaceChildren(...data.rows.map((row, i) =>
    html("option", { value: i }, rowName(row))));
  byId("step").addEventListener("change", (event) => selectRow(Number(event.target.value)));
  byId("previous").addEventListener("click", () => selectRow(state.row - 1));
  byId("next").addEventListener("click", () => selectRow(state.row + 1));
  byId("zoom").addEventListener("change", (event) => {
    state.zoom = Number(event.target.value);
    draw();
  });
  for (const id of ["scope", "by", "top"]) byId(id).addEventListener("change", draw);
  byId("filter").addEventListener("input", draw);
  window.addEventListener("resize", draw);
  selectRow(state.row);
}
