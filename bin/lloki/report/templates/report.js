"use strict";
/* The page's own script: tables and plots; explorer.js has the cells. All drawing is plotly's. */

const find = (query, from = document) => from.querySelector(query);
const all = (query, from = document) => [...from.querySelectorAll(query)];
const make = (tag, values = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...children);
  return element;
};
const isPhone = () => window.innerWidth < 700;

/** The bytes of a packed column: base64 of gzip. */
async function unpack(id) {
  const text = atob(document.getElementById(`packed-${id}`).textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function save(name, rows) {
  const quoted = value => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const text = rows.map(row => row.map(quoted).join(",")).join("\n") + "\n";
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/* ---- tables: sort by a click on a heading, filter, save ---- */

function prepareTable(table) {
  const body = table.tBodies[0], headings = all("thead tr:last-child th", table);
  const key = (row, i) => row.cells[i].dataset.value ?? row.cells[i].innerText.trim();
  const empty = value => value === "" || value === "–";
  const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  headings.forEach((heading, i) => {
    const sort = () => {
      const down = heading.ariaSort === "ascending";
      headings.forEach(other => other.removeAttribute("aria-sort"));
      heading.ariaSort = down ? "descending" : "ascending";
      const rows = [...body.rows].map(row => [key(row, i), row]);
      rows.sort(([a], [b]) => empty(a) - empty(b) || (down ? compare(b, a) : compare(a, b)));
      body.append(...rows.map(([, row]) => row));
    };
    heading.tabIndex = 0;
    heading.onclick = sort;
    heading.onkeydown = event => event.key === "Enter" && sort();
  });
  const tools = make("div", { className: "tools" });
  if (body.rows.length > 8) {
    const filter = make("input", { type: "search", placeholder: "Filter", ariaLabel: "Filter the table" });
    filter.oninput = () => {
      const words = filter.value.toLowerCase().split(/\s+/);
      for (const row of body.rows) row.hidden = !words.every(w => row.innerText.toLowerCase().includes(w));
    };
    tools.append(filter);
  }
  const button = make("button", { type: "button", textContent: "Save as CSV" });
  button.onclick = () => {
    const text = cell => cell.dataset.value ?? cell.innerText.trim().replace(/^–$/, "");
    const rows = [...body.rows].filter(row => !row.hidden).map(row => [...row.cells].map(text));
    save(`${table.dataset.name}.csv`, [headings.map(h => h.innerText.trim()), ...rows]);
  };
  tools.append(button);
  table.closest(".scroll").before(tools);
}

/* ---- plots that stand in the page as plotly's JSON, drawn when they come into sight ---- */

const BASE = {
  font: { family: "system-ui, sans-serif", size: 13, color: "#2b2f36" }, margin: { l: 60, r: 16, t: 12, b: 48 },
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", legend: { orientation: "h", y: 1.15 },
  modebar: { bgcolor: "rgba(255,255,255,.85)", color: "#5f6670", activecolor: "#0072b2" },
};
const CONFIG = {
  displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "resetScale2d"]],
  plotGlPixelRatio: window.devicePixelRatio,  // plotly's own is 2, four times the pixels
};

function preparePlot(element) {
  const { traces, layout } = JSON.parse(find("script", element).textContent);
  new IntersectionObserver((entries, observer) => {
    if (!entries.some(entry => entry.isIntersecting)) return;
    observer.disconnect();
    loaded.then(() => Plotly.newPlot(element, traces, { ...BASE, ...layout }, CONFIG));
  }).observe(element);
}

const loaded = unpack("plotly").then(bytes => {
  document.head.append(make("script", { textContent: new TextDecoder().decode(bytes) }));
});
const first = find("#cells") ? loaded.then(explore) : Promise.resolve();
first.finally(() => {  // the cells come first: a reader looks at them while the rest is made ready
  all("table.data").forEach(prepareTable);
  all(".plot").forEach(preparePlot);
  const watch = new ResizeObserver(entries => entries.forEach(({ target }) => {
    target.classList.toggle("wide", target.scrollWidth > target.clientWidth + 2);
    target.classList.toggle("tall", target.scrollHeight > target.clientHeight + 2);
  }));
  all(".scroll").forEach(element => watch.observe(element));
  all("pre").forEach(pre => {
    const button = make("button", { type: "button", textContent: "Copy" });
    button.onclick = () => navigator.clipboard?.writeText(find("code", pre).textContent);
    pre.prepend(button);
  });
});
