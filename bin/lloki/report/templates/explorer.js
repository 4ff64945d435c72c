"use strict";
/* ---- the explorer: UMAP and map side by side, one choice of colours and of cells for both ---- */

const BUTTONS = [["toImage"], ["zoom2d", "pan2d", "select2d", "lasso2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]];

async function explore() {
  const head = JSON.parse(find("#cells").textContent), columns = new Map();
  const view = { colour: 0, umap: 0, map: "all", hidden: new Set(), size: 1, chosen: null };
  const panels = { umap: find("#umap-panel"), map: find("#map-panel") };
  const shown = { umap: [[], []], map: [[], []] };
  const webgl = !!document.createElement("canvas").getContext("webgl");
  const step = webgl ? 1 : Math.ceil(head.n / 4000);  // without WebGL fewer cells, as SVG
  let names = null;

  async function column(name, Kind) {
    if (!columns.has(name)) columns.set(name, new Kind(await unpack(name)));
    return columns.get(name);
  }
  const codesOf = colour => column(colour.column, (colour.names ?? []).length >= 255 ? Uint16Array : Uint8Array);
  const none = colour => (colour.names ? colour.names.length : 255);
  const slices = await column(head.slice, head.slices.length >= 255 ? Uint16Array : Uint8Array);
  const sliceColour = head.colours.find(colour => colour.column === head.slice);
  const sliceOf = sliceColour.names.map(name => head.slices.find(slice => slice.name === name));
  const hovered = head.colours.filter(c => /^label:|carried|probability|^cluster$/.test(c.title));

  /** Places of the tiles of all slices side by side, in the rows that fill the panel best; pixels of a tile. */
  function tiles() {
    const { clientWidth: width, clientHeight: height } = panels.map, label = 44;  // pixels for name and scale bar
    head.slices.forEach(slice => {
      const longest = Math.max(...slice.sides), [w, h] = slice.sides.map(side => side / longest);
      slice.tile = { w, h, wide: Math.max(w, 0.4) + 0.12, longest };
    });
    const rowsOf = n => Array.from({ length: Math.ceil(head.slices.length / n) }, (_, i) => head.slices.slice(i * n, i * n + n));
    const tall = row => Math.max(...row.map(slice => slice.tile.h));
    const scale = rows => Math.min(
      width / Math.max(...rows.map(row => row.reduce((sum, slice) => sum + slice.tile.wide, 0))),
      Math.max(height - label * rows.length, 50) / rows.reduce((sum, row) => sum + tall(row), 0));
    const best = head.slices.map((_, i) => rowsOf(i + 1)).reduce((a, b) => (scale(b) > scale(a) ? b : a));
    let y = 0;
    for (const row of best) {
      let x = 0;
      for (const { tile } of row) {
        Object.assign(tile, { x: x + (tile.wide - tile.w) / 2, y });
        x += tile.wide;
      }
      y += tall(row) + label / scale(best);
    }
    return scale(best);
  }

  function inSpan(column, place) {
    const x = new Float32Array(head.n), y = new Float32Array(head.n);
    for (let i = 0; i < head.n; i++) {
      const p = place(i), u = column[i], v = column[head.n + i];
      x[i] = p && u <= 65534 ? p.x + (u / 65534) * p.w : NaN;
      y[i] = p && u <= 65534 ? p.y + (v / 65534) * p.h : NaN;
    }
    return { x, y };
  }
  const span = ({ low, sides }) => ({ x: low[0], y: low[1], w: sides[0], h: sides[1] });

  async function places(panel) {
    if (panel === "umap") {
      const umap = head.umaps[view.umap], whole = span(umap);
      return inSpan(await column(umap.column, Uint16Array), () => whole);
    }
    const [kind, index] = view.map.split(":");
    if (kind === "frame") {
      const frame = head.frames[index], whole = span(frame), inside = new Set(frame.slices);
      return inSpan(await column("aligned", Uint16Array), i => inside.has(sliceOf[slices[i]].name) && whole);
    }
    const map = await column("map", Uint16Array);
    if (kind === "all") {
      tiles();
      return inSpan(map, i => sliceOf[slices[i]].tile);
    }
    const only = head.slices[index], whole = span(only);
    return inSpan(map, i => sliceOf[slices[i]] === only && whole);
  }

  function marker(colour, codes, rows, size) {
    if (!colour) return { size, color: "#c4c8cc", opacity: 0.5 };
    const k = Math.max(colour.names?.length ?? 0, 1);
    const scale = colour.names
      ? colour.colours.flatMap((shade, i) => [[i / k, shade], [(i + 1) / k, shade]])
      : "Viridis";
    const color = Float32Array.from(rows, i => codes[i] + (colour.names ? 0.5 : 0));
    return { size, color, colorscale: scale, cmin: 0, cmax: colour.names ? k : 254, showscale: false, opacity: 0.85 };
  }

  async function draw() {
    const colour = head.colours[view.colour], codes = await codesOf(colour), missing = none(colour);
    let rows = [];
    for (let i = 0; i < head.n; i += step) if (!view.hidden.has(codes[i])) rows.push(i);
    if (!colour.names) rows.sort((a, b) => codes[a] - codes[b]);  // the highest on top
    await Promise.all(Object.entries(panels).filter(([, element]) => element).map(async ([panel, element]) => {
      const { x, y } = await places(panel), there = rows.filter(i => !isNaN(x[i]));
      const room = element.clientWidth * element.clientHeight;
      const size = view.size * Math.min(8, Math.max(1.6, 0.42 * Math.sqrt(room / Math.max(there.length, 1))));
      shown[panel] = [there.filter(i => codes[i] === missing), there.filter(i => codes[i] !== missing)];
      const traces = shown[panel].map((own, kind) => ({
        type: webgl ? "scattergl" : "scatter", mode: "markers", hoverinfo: "none", showlegend: false,
        x: Float32Array.from(own, i => x[i]), y: Float32Array.from(own, i => y[i]),
        marker: marker(kind ? colour : null, codes, own, size), unselected: { marker: { color: "#c4c8cc", opacity: 0.25 } },
        ...(view.chosen ? { selectedpoints: own.flatMap((i, at) => (view.chosen.has(i) ? [at] : [])) } : {}),
      }));
      await Plotly.react(element, traces, layout(panel), { ...CONFIG, displayModeBar: true, modeBarButtons: BUTTONS });
      listen(panel, element);
    }));
    legend(colour, codes);
  }

  function layout(panel) {
    const axis = { visible: false, showgrid: false, zeroline: false };
    const base = {
      ...BASE, margin: { l: 4, r: 4, t: 30, b: 4 }, hovermode: "closest", dragmode: isPhone() ? false : "zoom",
      xaxis: axis, yaxis: { ...axis, scaleanchor: "x" }, uirevision: `${panel} ${view[panel]}`,
    };
    if (panel === "umap") return { ...base, images: behind([[head.umaps[view.umap], span(head.umaps[view.umap]), true]]) };
    const [kind, index] = view.map.split(":");
    const pixels = kind === "all" ? tiles() : 0;
    const drawn = kind === "all" ? head.slices.map(s => [s, s.tile, 1 / s.tile.longest])
      : kind === "frame" ? [[head.frames[index], span(head.frames[index]), 1]]
      : [[head.slices[index], span(head.slices[index]), 1]];
    const annotations = [], shapes = [];
    for (const [slice, at, scale] of drawn) {
      const most = Math.max(at.w, at.h) / scale / 3, unit = 10 ** Math.floor(Math.log10(most));
      const length = unit * [5, 2, 1].find(n => n * unit <= most), low = at.y + at.h + (pixels ? 8 / pixels : 0.04 * Math.max(at.w, at.h));
      shapes.push({ type: "line", x0: at.x, x1: at.x + length * scale, y0: low, y1: low, line: { color: "#2b2f36", width: 2 } });
      annotations.push({ x: at.x + length * scale, y: low, xanchor: "left", showarrow: false, font: { size: pixels && pixels < 110 ? 8 : 10 },
        text: length < 1000 ? `${length} µm` : `${length / 1000} mm` });
      if (kind !== "all") continue;
      const room = Math.floor((pixels * at.wide) / 6.6), text = slice.name.length > room ? `${slice.name.slice(0, room - 1)}…` : slice.name;
      annotations.push({ x: at.x + at.w / 2, y: at.y, yanchor: "bottom", showarrow: false, font: { size: 11 },
        text: text.replaceAll("<", "&lt;"), hovertext: `${slice.name}, ${slice.technology}, ${slice.cells} cells` });
    }
    return { ...base, yaxis: { ...base.yaxis, autorange: "reversed" }, shapes, annotations,
      images: behind(drawn.map(([slice, at]) => [slice, at, false])) };
  }

  /** All cells in grey, where the points are a sample of them. */
  function behind(tiles) {
    return tiles.filter(([slice]) => slice.behind).map(([slice, at, upright]) => ({
      source: slice.behind, xref: "x", yref: "y", x: at.x, y: upright ? at.y + at.h : at.y, sizex: at.w, sizey: at.h,
      sizing: "stretch", layer: "below", opacity: 0.6, yanchor: "top",
    }));
  }

  function legend(colour, codes) {
    const place = find("#explorer .legend");
    if (!colour.names) {
      const number = value => Number(value.toPrecision(3)).toLocaleString("en");
      place.replaceChildren(number(colour.limits[0]), make("i", { className: "scale" }), number(colour.limits[1]) + (colour.more ? " or more" : ""),
        make("small", { textContent: " grey: not measured, or no value" }));
      return;
    }
    const keys = [...colour.names, colour.missing].map((name, i) => {
      const key = make("button", { type: "button", className: view.hidden.has(i) ? "key off" : "key",
        ariaPressed: String(!view.hidden.has(i)), title: "click: on or off; double click: this one alone" },
        make("i"), name, make("small", { textContent: ` ${colour.counts[i].toLocaleString("en")}` }));
      key.firstChild.style.background = colour.colours[i] ?? "#c4c8cc";
      key.onclick = () => { view.hidden.delete(i) || view.hidden.add(i); draw(); };
      key.ondblclick = () => { view.hidden = new Set([...keys.keys()].filter(other => other !== i)); draw(); };
      return key;
    });
    const every = make("button", { type: "button", textContent: "Show all", hidden: !view.hidden.size });
    every.onclick = () => { view.hidden.clear(); draw(); };
    place.replaceChildren(every, ...keys.filter((_, i) => colour.counts[i]));
  }

  function listen(panel, element) {
    if (element.dataset.heard) return;
    element.dataset.heard = "1";
    const row = point => shown[panel][point.curveNumber][point.pointNumber];
    element.on("plotly_selected", event => {
      if (!event?.points?.length) return;
      view.chosen = new Set(event.points.map(row));
      tellChosen().then(draw);
    });
    element.on("plotly_deselect", () => { view.chosen = null; tellChosen().then(draw); });
    element.on("plotly_hover", async event => {
      const lines = await describe(row(event.points[0])), tip = find("#tip"), { clientX: x, clientY: y } = event.event;
      tip.replaceChildren(...lines.map(line => make("div", { textContent: line })));
      tip.hidden = false;
      tip.style.left = `${Math.min(x + 12, window.innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${Math.min(y + 12, window.innerHeight - tip.offsetHeight - 8)}px`;
    });
    element.on("plotly_unhover", () => { find("#tip").hidden = true; });
  }

  async function value(colour, i) {
    const code = (await codesOf(colour))[i];
    if (code === none(colour)) return colour.missing ?? "–";
    if (colour.names) return colour.names[code];
    const [low, high] = colour.limits;
    return `${code === 254 && colour.more ? "≥ " : ""}${Number((low + (code / 254) * (high - low)).toPrecision(2))}`;
  }

  async function cellNames() {
    if (head.names && !names) names = new TextDecoder().decode(await unpack("names")).split("\n");
    return names;
  }

  async function describe(i) {
    const slice = sliceOf[slices[i]], name = (await cellNames())?.[i];
    const lines = [name ?? "", `${slice.name}, ${slice.technology}`];
    for (const colour of new Set([...hovered, head.colours[view.colour]])) {
      if (colour !== sliceColour) lines.push(`${colour.title}: ${await value(colour, i)}`);
    }
    return lines.filter(Boolean);
  }

  async function tellChosen() {
    const place = find("#explorer .chosen"), chosen = view.chosen;
    place.hidden = !chosen;
    if (!chosen) return;
    const colour = head.colours.find(c => c.key === "lloki_label" || /^label:/.test(c.title)) ?? head.colours[0];
    const codes = await codesOf(colour), counts = new Map();
    for (const i of chosen) counts.set(codes[i], (counts.get(codes[i]) ?? 0) + 1);
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 5);
    const text = most.map(([code, n]) => `${colour.names?.[code] ?? colour.missing} ${Math.round((100 * n) / chosen.size)} %`);
    const button = make("button", { type: "button", textContent: "Save as CSV" });
    button.onclick = async () => {
      const known = await cellNames(), told = new Set([sliceColour, ...hovered, head.colours[view.colour]]);
      const rows = [["cell", ...[...told].map(c => c.title)]];
      for (const i of chosen) rows.push([known?.[i] ?? String(i), ...(await Promise.all([...told].map(c => value(c, i))))]);
      save("chosen_cells.csv", rows);
    };
    const clear = make("button", { type: "button", textContent: "Clear" });
    clear.onclick = () => { view.chosen = null; tellChosen().then(draw); };
    place.replaceChildren(`${chosen.size.toLocaleString("en")} cells chosen: ${text.join(", ")} `, button, clear);
  }

  /** A drop-down of [value, text, group]. */
  function choice(query, options, change) {
    const select = find(query), groups = new Map([[undefined, select]]);
    for (const [chosen, text, group] of options) {
      if (!groups.has(group)) groups.set(group, select.appendChild(make("optgroup", { label: group })));
      groups.get(group).append(make("option", { value: chosen, textContent: text }));
    }
    select.onchange = () => { change(select.value); draw(); };
  }
  choice("#colour", head.colours.map((c, i) => [i, c.title, c.group]), i => { view.colour = +i; view.hidden.clear(); });
  choice("#umap", head.umaps.map((u, i) => [i, u.title]), i => { view.umap = +i; });
  choice("#map", [["all", "all slices, each in its own frame"],
    ...head.frames.map((f, i) => [`frame:${i}`, `${f.slices.length} slices, aligned to ${f.name}`, "Aligned"]),
    ...head.slices.map((s, i) => [`slice:${i}`, s.name, "One slice"])], value => { view.map = value; });
  find("#size").oninput = event => { view.size = +event.target.value; draw(); };
  if (step > 1) find("#explorer .note").append(" This browser has no WebGL: 4,000 cells are shown.");
  await draw();
  window.lloki = { view, draw, shown, drawn: performance.now() };
}
