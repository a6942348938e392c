"use strict";
// The charts of a profile: SVG, drawn anew for the width that there is.

// ---- what charts share

/** Round values from 0 to `most`, about `count` of them. */
function ticks(most, count) {
  const rough = Math.max(most, 1e-9) / count;
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * decade).find((s) => s >= rough) ?? rough;
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, i) => i * step);
}

/** An axis of times below a chart whose lanes end at `bottom`. */
function timeAxis(most, x, bottom) {
  return ticks(most, Math.max(x(most) / 130, 2)).flatMap((us) => [
    line(x(us), 0, x(us), bottom, "grid"),
    text(x(us), bottom + 16, us === 0 ? "0" : time(us), { "text-anchor": us ? "middle" : "start" }),
  ]);
}

/** Marks that say what they are when a pointer or the keyboard is on them. One is in the order of
 *  the Tab key, the arrows lead to the others. */
function inspectable(marks, words, output) {
  const show = (i) => { output.textContent = words[i](); };
  marks.forEach((mark, i) => {
    mark.setAttribute("tabindex", i === 0 ? 0 : -1);
    mark.setAttribute("role", "img");
    mark.addEventListener("pointerenter", () => show(i));
    mark.addEventListener("focus", () => { mark.setAttribute("aria-label", words[i]()); show(i); });
    mark.addEventListener("keydown", (event) => {
      const to = marks[i + ({ ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? NaN)];
      if (to) { event.preventDefault(); to.focus(); }
    });
  });
}

const widthOf = (node) => Math.max(node.clientWidth, 300);

// ---- a run

/** Parts of a length side by side, `most` being the whole width. */
function stacked(parts, most) {
  let at = 0;
  const rects = parts.map(([us, colour]) => {
    at += us;
    return rect(100 * (at - us) / most, 0, 100 * us / most, 1, { style: `fill:${colour}` });
  });
  return svg("svg", { viewBox: "0 0 100 1", preserveAspectRatio: "none" }, ...rects);
}

function drawTotals() {
  const phases = new Map();
  for (const [phase, , us] of data.host) grow(phases, phase, us);
  const kernels = data.total_us - data.gaps_us;
  const lanes = [
    ["device", [["kernels", kernels, "var(--accent)"], ["gaps", data.gaps_us, "var(--gap)"]]],
    ["host", [...phases].map(([phase, us]) => [phase, us, `var(--${phase})`])],
  ];
  const most = Math.max(...lanes.map(([, parts]) => sum(parts.map(([, us]) => us))), 1e-9);
  const drawn = lanes.map(([name, parts]) => {
    const words = parts.map(([part, us, colour]) => [`${part} ${time(us)}`, colour]);
    return html("div", { class: "total" }, html("b", {}, name), html("div", {},
      stacked(parts.map(([, us, colour]) => [us, colour]), most),
      html("span", { class: "legend" }, ...legend(words))));
  });
  const compile = html("div", { class: "total" }, html("b", {}, "compile"),
    html("span", {}, `${time(data.compile_us)} before the runs, in no other number`));
  byId("totals-chart").replaceChildren(...drawn, compile);
}

function drawOverhead() {
  const { overhead, profiled_us: profiled, unprofiled_us: unprofiled, runs } = data;
  const known = Number.isFinite(overhead);
  const than = `${time(profiled)} with timestamps, ${time(unprofiled)} without, medians of ${runs}`;
  const length = known && `${percent(Math.abs(overhead))} ${overhead < 0 ? "shorter" : "longer"}`;
  const words = known ? `Timestamps made the run ${length}: ${than}.` : `${than}.`;
  byId("overhead").textContent = `${words} From upload to samples: ${time(data.wall_us)}.`;
  if (data.trusted) return;
  const why = known ? `more than ${percent(data.limit)} of it` : "how much is not known";
  const warning = `Do not trust these times. ${words} That is ${why}, so a run without timestamps `
    + "spends its time otherwise.";
  byId("warning").replaceChildren(html("div", { class: "warning", role: "alert" }, warning));
}

// ---- a step

function drawOverview() {
  const figure = byId("overview");
  const [width, height, rows] = [widthOf(figure), 40, data.rows];
  const lengths = rows.map((row) => { const l = last(launchesOf(row)); return l.start + l.us; });
  const most = Math.max(...lengths);
  const pitch = Math.min(width / rows.length, 47);
  const marks = lengths.map((us, i) => {
    const tall = Math.max(height * us / most, 1);
    const mark = rect(i * pitch, height - tall, pitch * 0.85, tall,
      { class: `overview ${i === state.row ? "shown" : ""}` });
    mark.append(svg("title", {}, `step ${rowName(rows[i])}: ${time(us)}`));
    mark.addEventListener("click", () => selectRow(i));
    return mark;
  });
  figure.replaceChildren(svg("svg", { width, height, role: "img",
    "aria-label": "the length of every step" }, ...marks));
}

/** What the host did while a row ran, in times of the row; nothing where the clocks are related so
 *  badly that it could be another row's. */
function hostMarks(row, length, x, y) {
  const [least, most] = data.offset_us;
  if (Math.abs(most - least) > length) return [];
  const begin = row.start_us + (least + most) / 2;
  return data.host.flatMap(([phase, start, us]) => {
    const [from, to] = [Math.max(start - begin, 0), Math.min(start + us - begin, length)];
    if (to <= from) return [];
    const mark = rect(x(from), y, x(to) - x(from), 22,
      { class: "host", style: `fill:var(--${phase})` });
    mark.append(svg("title", {}, `${phase}: ${time(us)}`));
    return [mark];
  });
}

function drawTimeline() {
  const row = data.rows[state.row];
  const launches = launchesOf(row);
  const length = Math.max(...launches.map((l) => l.start + l.us), 1e-3);
  const figure = byId("timeline");
  const width = widthOf(figure) * state.zoom;
  const x = (us) => us / length * (width - 30);
  const blocks = launches.map((l) => rect(x(l.start), 20, Math.max(x(l.us), 0.5), 54,
    { class: x(l.us) > 3 ? "launch wide" : "launch", style: `fill:${colourOf(l.kernel)}` }));
  const labels = launches.flatMap((l) => {
    const name = endOfLayer(l, (x(l.us) - 10) / 7);
    return name ? [text(x(l.start) + 5, 51, name, { class: "on" })] : [];
  });
  const host = hostMarks(row, length, x, 96);
  const bottom = host.length ? 122 : 78;
  const lanes = [text(0, 14, "device"), ...(host.length ? [text(0, 91, "host")] : [])];
  const chart = svg("svg", { width, height: bottom + 22, role: "group",
    "aria-label": "launches of the step" }, ...timeAxis(length, x, bottom),
  rect(0, 20, x(length), 54, { class: "gap" }), ...blocks, ...labels, ...lanes, ...host);
  figure.replaceChildren(html("div", { class: "scroll" }, chart));
  const words = launches.map((l, i) => () =>
    `${i + 1} of ${launches.length} · ${describe(costOf(l))} · at ${time(l.start)}`);
  inspectable(blocks, words, byId("detail"));
  const costliest = launches.reduce((best, l, i) => (l.us > launches[best].us ? i : best), 0);
  byId("detail").textContent = words[costliest]();
  const phases = [...new Set(data.host.map(([phase]) => phase))];
  byId("legend").replaceChildren(...legend([...kernelLegend(), ["gap", "var(--gap)"],
    ...(host.length ? phases.map((p) => [`host: ${p}`, `var(--${p})`]) : [])]));
  drawClock(host.length > 0, launches.length, length);
}

function drawClock(host, launches, length) {
  const kinds = {
    "host": "Timed by the host, which runs each launch itself.",
    "inside-passes": "One timestamp after each launch: its time begins where the one before it "
      + "ends, so a gap inside a pass is part of the launch behind it.",
    "passes": "Timestamps around each launch, which is a pass of its own.",
    "events": "CUDA events between the kernels of a graph.",
  };
  const width = Math.abs(data.offset_us[1] - data.offset_us[0]);
  const related = data.clock === "host" ? "Its clock is that of all times."
    : host ? `The clocks of host and device are related to within ${time(width)}.`
    : `The clocks of host and device are related to no better than ${time(width)}: the host is `
      + "not shown, or did nothing in this step.";
  byId("clock").textContent = `${launches} launches in ${time(length)}. ${kinds[data.clock]} `
    + related;
}

// ---- roofline

/** Decades that hold all of `values`. */
function decades(values) {
  const logs = values.filter((v) => v > 0).map(Math.log10);
  return [Math.floor(Math.min(...logs, 0)), Math.ceil(Math.max(...logs, 1))];
}

/** A logarithmic axis of the decades from 10^low to 10^high, which lie at `from` and `to`. */
function logAxis([low, high], from, to) {
  const place = (value) => from + (Math.log10(value) - low) / (high - low) * (to - from);
  const marks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  const names = marks.map((mark) => mark.toLocaleString("en", { maximumFractionDigits: 20 }));
  return { place, marks, names, low: marks[0], high: last(marks) };
}

function logGrid(x, y, [left, right, top, bottom]) {
  return [
    ...x.marks.flatMap((v, i) => [line(x.place(v), top, x.place(v), bottom, "grid"),
      text(x.place(v), bottom + 18, x.names[i], { "text-anchor": "middle" })]),
    ...y.marks.flatMap((v, i) => [line(left, y.place(v), right, y.place(v), "grid"),
      text(left - 8, y.place(v) + 4, y.names[i], { "text-anchor": "end" })]),
    text((left + right) / 2, bottom + 38, "operations per byte", { "text-anchor": "middle" }),
    text(0, 0, "GFLOP/s", { "text-anchor": "middle",
      transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)` }),
  ];
}

/** The roof of memory and the highest rate of operations, and the ceilings below it. */
function roofMarks(roofs, x, y) {
  const slope = (intensity) => intensity * roofs.gbps;
  const best = Math.max(...roofs.gflops.map(([, rate]) => rate));
  const from = Math.max(x.low, y.low / roofs.gbps);
  const [x1, y1] = [x.place(from), y.place(slope(from))];
  const [x2, y2] = [x.place(best / roofs.gbps), y.place(best)];
  const turn = Math.atan2(y2 - y1, x2 - x1) * 180 / Math.PI;
  const middle = [(x1 + x2) / 2, (y1 + y2) / 2];
  const marks = [
    svg("path", { class: "roof", d: `M${x1} ${y1} L${x2} ${y2} L${x.place(x.high)} ${y2}` }),
    text(0, -7, byteRate(roofs.gbps), { class: "name", "text-anchor": "middle",
      transform: `translate(${middle}) rotate(${turn})` }),
  ];
  let label = -Infinity;
  for (const [name, rate] of [...roofs.gflops].sort(([, a], [, b]) => b - a)) {
    const at = y.place(rate);
    // Rates that are nearly the same have their names one below the other.
    label = Math.max(at - 6, label + 20);
    const start = x.place(Math.max(rate / roofs.gbps, x.low));
    if (rate < best) {
      marks.push(svg("path", { class: "roof ceiling", d: `M${start} ${at} H${x.place(x.high)}` }));
    }
    marks.push(text(x.place(x.high) - 4, label, `${name}: ${flopRate(rate)}`,
      { class: "name", "text-anchor": "end" }));
  }
  return marks;
}

/** Names of the costliest dots, where there is room beside each other and the boxes `taken`. */
function dotLabels(dots, taken) {
  return dots.slice(0, 8).flatMap(({ cost, cx, cy, r, right }) => {
    const name = endOfLayer(cost.launch, 24);
    const wide = name.length * 6.6;
    const left = cx + r + 4 + wide > right;
    const box = [left ? cx - r - 4 - wide : cx + r + 4, cy - 8, wide, 16];
    const meets = ([a, b, w, h]) =>
      a < box[0] + box[2] && box[0] < a + w && b < box[1] + box[3] && box[1] < b + h;
    if (taken.some(meets)) return [];
    taken.push(box);
    return [text(box[0], cy + 4, name, { class: "name" })];
  });
}

function drawRoofline(costs) {
  const shown = costs.filter((c) => c.flops > 0 && c.bytes > 0 && c.us > 0);
  const roofs = data.roofs;
  const figure = byId("roofline-chart");
  const [width, height] = [widthOf(figure), 460];
  const ridges = roofs ? roofs.gflops.map(([, rate]) => rate / roofs.gbps) : [];
  const intensity = (c) => c.flops / c.bytes;
  const [left, right, top, bottom] = [66, width - 22, 12, height - 46];
  const x = logAxis(decades([...shown.map(intensity), ...ridges.map((r) => 2 * r)]), left, right);
  const rates = [...shown.map((c) => c.gflops), ...(roofs?.gflops ?? []).map(([, r]) => 1.5 * r)];
  const y = logAxis(decades(rates), bottom, top);
  const all = sum(costs.map((c) => c.us));
  const dots = shown.map((cost) => ({ cost, cx: x.place(intensity(cost)), cy: y.place(cost.gflops),
    r: Math.max(3.5, 34 * Math.sqrt(cost.us / all)), right }));
  const circles = dots.map(({ cost, cx, cy, r }) => {
    const colour = colourOf(cost.launch.kernel);
    return svg("circle", { cx, cy, r, class: `dot ${cost.bound === "launch" ? "launch-bound" : ""}`,
      style: `fill:${colour};--colour:${colour}` });
  });
  const ceilings = (roofs?.gflops ?? []).map(([, rate]) =>
    [right - 170, y.place(rate) - 18, 170, 16]);
  const chart = svg("svg", { width, height, role: "group", "aria-label": "roofline" },
    ...logGrid(x, y, [left, right, top, bottom]), ...(roofs ? roofMarks(roofs, x, y) : []),
    ...circles, ...dotLabels(dots, ceilings));
  figure.replaceChildren(chart);
  const words = dots.map(({ cost }) => () => describe(cost));
  inspectable(circles, words, byId("roofline-detail"));
  byId("roofline-detail").textContent = words.length ? words[0]() : "";
  byId("roofline-note").textContent = rooflineNote(costs, shown.length, roofs);
}

function rooflineNote(costs, shown, roofs) {
  const notes = ["One dot for each kernel and layer, its area the time."];
  if (roofs) {
    notes.push("Roofs are rates measured on this device. An empty ring is bound by being a launch: "
      + `${time(roofs.launch_us)} at least.`);
    if (costs.some((c) => c.gbps > roofs.gbps)) {
      notes.push("What is above the slope found data in caches, which are faster than memory.");
    }
  } else {
    notes.push("There are no roofs, as this device was not measured: run `unnoise devices "
      + "--measure`, then profile again.");
  }
  const without = costs.length - shown;
  if (without) notes.push(`${without} without operations, or too short to time, are not shown.`);
  return notes.join(" ");
}

// ---- bars

function drawBars(rows) {
  const by = byId("by").value;
  const groups = grouped(rows, KEYS[by]);
  const shown = groups.slice(0, Number(byId("top").value));
  if (by === "step") shown.sort((a, b) => (a.row.step ?? -1) - (b.row.step ?? -1));
  const all = sum(groups.map((g) => g.us));
  const most = Math.max(...groups.map((g) => g.us), 1e-9);
  const names = { kernel: (g) => kernelOf(g.launch), layer: (g) => layerOf(g.launch),
    step: (g) => rowName(g.row) };
  const bars = shown.map((group) => {
    const kernels = [...group.kernels].sort(([, a], [, b]) => b - a);
    const chart = stacked(kernels.map(([kernel, us]) => [us, colourOf(kernel)]), most);
    const words = `${time(group.us)} · ${percent(group.us / all)} · ${group.calls}×`;
    return html("div", { class: "bar" }, html("span", {}, ...breakable(names[by](group))), chart,
      html("span", {}, words));
  });
  byId("bars-chart").replaceChildren(...bars);
  const rest = sum(groups.slice(shown.length).map((g) => g.us));
  byId("bars-note").textContent = rest > 0
    ? `${groups.length - shown.length} more take ${time(rest)}.` : "These are all.";
  byId("bars-legend").replaceChildren(...legend(kernelLegend()));
}
