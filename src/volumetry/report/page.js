"use strict";
// Charts of a page: drawn when they come into view, their series hidden and shown together, saved.
const hidden = new Set();
const views = new Map();

function specOf(id, reviver) {
  return JSON.parse(document.getElementById(id + "-spec").textContent, reviver);
}

// A chart in a place, and no warning in the console if what it shows is hidden.
async function embed(place, spec) {
  const options = { mode: "vega-lite", renderer: "svg", actions: false, logLevel: 1 };
  const { view } = await vegaEmbed(place, spec, options);
  // The place has its numbers in words; nobody needs each mark read out besides.
  place.querySelector("svg").setAttribute("aria-hidden", "true");
  hide(view);
  return view;
}

function draw(place) {
  if (!views.has(place.id)) views.set(place.id, embed(place, specOf(place.id)));
  return views.get(place.id);
}

// The same chart for a file: on white, with the title and the legend that the page keeps outside.
function drawAlone(place) {
  const spec = specOf(place.id, (key, value) => (
    key === "legend" && value === null ? { title: null, columns: 2 } : value));
  const title = titleOf(place);
  return embed(document.createElement("div"), {
    ...spec,
    background: "white",
    ...(title && { title }),
    ...(spec.width === "container" && { width: 640 }),
  });
}

function titleOf(place) {
  return place.parentElement.querySelector("h3")?.textContent ?? "";
}

function hide(view) {
  try {
    view.signal("hidden", [...hidden]).runAsync();
  } catch {
    // A chart without series has no such signal.
  }
}

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function csvOf(panels) {
  const rows = panels.flatMap(({ id, title }) =>
    Object.values(specOf(id).datasets || {}).flat()
      .filter((row) => Object.keys(row).length > 1)
      .map((row) => ({ panel: title, ...row })));
  const columns = [...new Set(rows.flatMap(Object.keys))].filter((name) => name !== "x");
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = rows.map((row) => columns.map((name) => cell(row[name])).join(","));
  return [columns.join(","), ...lines].join("\n") + "\n";
}

async function saveFigure(button) {
  const { figure } = button.parentElement.dataset;
  const { kind } = button.dataset;
  const places = [...button.closest("figure, section").querySelectorAll(".chart")];
  if (kind === "csv") {
    const panels = places.map((place) => ({ id: place.id, title: titleOf(place) }));
    save(`${figure}.csv`, new Blob([csvOf(panels)], { type: "text/csv" }));
    return;
  }
  for (const place of places) {
    const view = await drawAlone(place);
    const name = `${place.id}.${kind}`;
    if (kind === "svg") {
      save(name, new Blob([await view.toSVG()], { type: "image/svg+xml" }));
    } else {
      const canvas = await view.toCanvas(2);
      canvas.toBlob((blob) => save(name, blob));
    }
    view.finalize();
  }
}

const places = document.querySelectorAll(".chart[id]");
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) {
      watcher.unobserve(entry.target);
      draw(entry.target);
    }
  }
}, { rootMargin: "600px" });
places.forEach((place) => watcher.observe(place));
// What has no image of its own yet must be there before the page is printed.
window.addEventListener("beforeprint", () => {
  places.forEach((place) => place.querySelector("svg") || draw(place));
  document.querySelectorAll("details").forEach((each) => { each.open = true; });
});

for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", async () => {
    const { series } = button.dataset;
    const shown = hidden.has(series);
    if (shown) hidden.delete(series); else hidden.add(series);
    for (const same of document.querySelectorAll(".legend button")) {
      if (same.dataset.series === series) same.setAttribute("aria-pressed", String(shown));
    }
    for (const drawing of views.values()) hide(await drawing);
  });
}

for (const tools of document.querySelectorAll(".tools")) {
  tools.hidden = false;
  tools.addEventListener("click", (event) => {
    if (event.target.dataset.kind) saveFigure(event.target);
  });
}

// Keys can scroll whatever is wider than its place.
const scrolling = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
  }
});
document.querySelectorAll(".table, pre").forEach((each) => scrolling.observe(each));
