// Everything that is drawn, by Vega-Lite.
const COLOURS = ["#3b82c4", "#e0812b", "#3aa06a", "#d1495b", "#8d6cc0", "#a8705a", "#d46fb0",
  "#7f8894", "#b3a125", "#2aa9b8"];
// Pixels of a mark of relative size 1; entries of the key.
const MARK = 11;
const KEYS = 60;
// More marks than this are drawn on a canvas: an SVG of them would be slow.
const MANY = 300;
const drawn = new Map();

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Return a mark of the figures as a plot's channels; a half-filled one is pale. */
function look({ colour, shape, fill, size, edge }) {
  return { stroke: edge ? css("--ink") : colour, fill: colour, shape, size: (MARK * size) ** 2,
    inside: { none: 0, left: 0.45 }[fill] ?? 0.9 };
}

/** Return a mark as a small picture beside text. */
function drawnMark(mark) {
  const { stroke, fill, shape, inside } = look(mark);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const side = MARK * mark.size;
  const path = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  for (const [name, value] of Object.entries({ viewBox: "-1.3 -1.3 2.6 2.6", width: side, height: side,
    class: "mark", "aria-hidden": "true" })) svg.setAttribute(name, value);
  for (const [name, value] of Object.entries({ d: shape, stroke, fill, "fill-opacity": inside,
    "stroke-width": 0.3 })) path.setAttribute(name, value);
  return svg;
}

function theme() {
  const ink = css("--ink"), line = css("--line");
  return {
    background: null, font: "system-ui, sans-serif", view: { stroke: line },
    axis: { labelColor: ink, titleColor: ink, gridColor: line, gridOpacity: 0.6, tickColor: line,
      domainColor: line, labelFontSize: 12, titleFontSize: 13, titleFontWeight: "normal" },
    legend: { labelColor: ink, titleColor: ink, labelFontSize: 12, labelLimit: 260 },
    title: { color: ink, fontSize: 13, fontWeight: "normal", subtitleColor: ink, subtitleFontSize: 12 }, rule: { color: ink },
  };
}

/** Draw a specification into an element, in place of what it shows; the last call wins. */
async function draw(place, spec, options = {}) {
  const turn = {};
  const before = drawn.get(place);
  drawn.set(place, { turn, view: before?.view });
  const full = { $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    autosize: { type: "fit", contains: "padding" }, width: "container",
    // A canvas has no parts to describe.
    config: { ...theme(), aria: !options.many }, ...spec };
  const frame = element("div", { style: "width: 100%" });
  if (!before) place.replaceChildren(frame);
  else place.append(frame);
  // The interpreter: the page forbids code from text.
  const { view } = await window.vegaEmbed(frame, full,
    { actions: false, ast: true, renderer: options.many ? "canvas" : "svg" });
  if (drawn.get(place)?.turn !== turn) {
    view.finalize();
    frame.remove();
    return;
  }
  before?.view?.finalize();
  place.replaceChildren(frame);
  drawn.set(place, { turn, view });
  if (options.click) view.addEventListener("click", (_, item) => item?.datum && options.click(item.datum));
}

/** Return the points that no other one beats in both; cheapest first. */
function paretoFront(points, better) {
  const sign = better === "high" ? 1 : -1;
  const front = [];
  for (const point of [...points].sort((a, b) => a.x - b.x || sign * (b.y - a.y))) {
    if (!front.length || sign * (point.y - front.at(-1).y) > 0) front.push(point);
  }
  return front;
}

/** Say in an element, instead of a plot, that there is none. */
function drawNothing(place, text) {
  drawn.get(place)?.view?.finalize();
  drawn.set(place, { turn: {} });
  place.replaceChildren(text);
}

/** Draw one mark per setting. */
function scatter(place, points, axes, show, click) {
  if (!points.length) return drawNothing(place, "No setting of this choice has both values.");
  const front = show.front && axes.better ? paretoFront(points, axes.better) : [];
  const narrow = place.clientWidth < 640;
  const x = { field: "x", type: "quantitative", title: axes.x,
    scale: { type: show.log ? "log" : "linear", ...(show.log ? {} : { zero: false }), nice: !show.log,
      padding: 24 },
    axis: { format: "~s", labelOverlap: true } };
  const y = { field: "y", type: "quantitative", title: axes.y, scale: { zero: false, padding: 10 } };
  // What a mark looks like stands in the data, and the key is below the plot.
  const given = (field, type = "nominal") => ({ field, type, scale: null, legend: null });
  const layer = [];
  if (front.length > 1) {
    layer.push({ data: { values: front }, mark: { type: "line", interpolate: "step-after",
      strokeDash: [5, 4], color: css("--quiet") }, encoding: { x, y } });
  }
  const spread = points.filter((point) => point.low !== null);
  if (show.bars && spread.length) {
    layer.push({ data: { values: spread },
      mark: { type: "rule", strokeWidth: 1.2 },
      encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" },
        color: given("fill") } });
  }
  layer.push({ mark: { type: "point", strokeWidth: 1.5, cursor: "pointer" },
    encoding: { x, y, fill: given("fill"), stroke: given("stroke"), shape: given("shape"),
      size: given("size", "quantitative"), fillOpacity: given("inside", "quantitative"),
      tooltip: { field: "tip" } } });
  return draw(place, { data: { values: points }, height: narrow ? 340 : 420, layer,
    description: `${axes.y} against ${axes.x}, one mark per setting` },
    { click: (datum) => datum.index !== undefined && click(datum.index), many: points.length > MANY });
}

/** Draw lines over epochs, or over exits. */
function lines(place, values, title, x, y) {
  return draw(place, { data: { values }, title, height: 220,
    mark: { type: "line", point: x !== "epoch" },
    encoding: {
      x: { field: "x", title: x, ...(x === "epoch"
        ? { type: "quantitative", axis: { tickMinStep: 1, format: "d" }, scale: { zero: false, nice: false } }
        : { type: "ordinal", axis: { labelAngle: 0 } }) },
      y: { field: "y", type: "quantitative", title: y, scale: { zero: false } },
      color: { field: "series", type: "nominal", title: null, scale: { range: COLOURS },
        legend: values.some((v) => v.series !== values[0].series) ? { orient: "bottom", columns: 4 } : null },
      tooltip: [{ field: "series" }, { field: "x", title: x }, { field: "y", title: y }],
    } });
}

/** Draw a reliability diagram: accuracy in each bin of confidence, against the diagonal. */
function reliability(place, bins, title) {
  const values = bins.map(([count, right, confidence], i) => ({
    from: i / bins.length, to: (i + 1) / bins.length, images: count,
    accuracy: count ? right / count : null, confidence: count ? confidence / count : null,
  })).filter((bin) => bin.images);
  const side = (field, name) => ({ field, type: "quantitative", title: name,
    scale: { domain: [0, 1] } });
  return draw(place, { height: 260, title, layer: [
    { data: { values }, mark: { type: "bar", color: COLOURS[0], stroke: css("--paper") },
      encoding: { x: { ...side("from", "confidence"), bin: { binned: true } }, x2: { field: "to" },
        y: side("accuracy", "accuracy"),
        tooltip: ["images", "accuracy", "confidence"].map((field) => ({ field, format: "~r" })) } },
    { data: { values: [{ a: 0, b: 0 }, { a: 1, b: 1 }] },
      mark: { type: "line", strokeDash: [4, 4], color: css("--ink") },
      encoding: { x: side("a", "confidence"), y: side("b", "accuracy") } },
    { data: { values }, mark: { type: "point", filled: true, size: 40, color: COLOURS[1] },
      encoding: { x: side("confidence", "confidence"), y: side("accuracy", "accuracy") } },
  ] });
}
