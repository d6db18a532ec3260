// What is known of one setting: its seeds, exits, curves, calibration and files.
const RUN = Object.fromEntries(DATA.runHeader.map((name, place) => [name, place]));

/** Return what the parts of a setting's ensemble are. */
function partOf(setting) {
  return setting.cells[DATA.header.indexOf("exit_stages")] ? "exit" : "member";
}

/** Return the run table's columns that say how a seed did; lists per member become columns. */
function seedColumns(runs, part) {
  const means = new Set(DATA.header.filter((c) => c.endsWith("_mean")).map((c) => c.slice(0, -5)));
  const found = [];
  DATA.runHeader.forEach((name, place) => {
    if (name === "seed" || name === "status" || means.has(name) || name === "device") {
      found.push({ key: name, title: DATA.titles[name], text: (run) => run[place] });
    }
    if (!name.startsWith("member_") || name === "member_runs") return;
    const parts = Math.max(...runs.map((run) => (run[place] ? run[place].split("/").length : 0)));
    for (let k = 0; k < parts; k += 1) {
      found.push({ key: `${name} ${k + 1}`, title: `${DATA.titles[name]}, ${part} ${k + 1}`,
        text: (run) => run[place].split("/")[k] ?? "" });
    }
  });
  return found;
}

function files(run) {
  const name = run[RUN.run];
  const folder = `runs/${encodeURIComponent(name)}`;
  const links = ["config.json", "metrics.json", "history.csv"].map((f) => link(f, folder, f));
  if (run[RUN.status] === "ok") {
    links.push(link("model card", folder, "README.md"));
  }
  return element("span", { class: "links" }, ...links);
}

function seedTable(runs, part) {
  const columns = seedColumns(runs, part).filter((column) => runs.some((run) => column.text(run) !== ""));
  const head = columns.map((c) => element("th", { scope: "col", class: "number" }, c.title));
  const body = runs.map((run) => element("tr", { "data-run": run[RUN.run] },
    ...columns.map((c) => element("td", { class: "number", "data-key": c.key }, c.text(run)))
      .toSpliced(1, 0, element("td", {}, files(run)))));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Seeds" },
    element("table", {},
      element("thead", {}, element("tr", {}, ...head.toSpliced(1, 0, element("th", { scope: "col" }, "files")))),
      element("tbody", {}, ...body)));
}

/** Return a list of settings that a person can read. */
function readable(json) {
  const given = Object.entries(JSON.parse(json || "{}"));
  return given.map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join("\n") || "none";
}

/** Return the bins of several runs taken together. */
function pooled(bins) {
  return bins[0].map((_, i) => bins[0][i].map((__, part) => bins.reduce((sum, b) => sum + b[i][part], 0)));
}

function calibrationError(bins) {
  const images = bins.reduce((sum, [count]) => sum + count, 0);
  return bins.reduce((sum, [, right, confidence]) => sum + Math.abs(right - confidence), 0) / images;
}

/** Return where weights lie: git does not hold them, so no link would lead there for everyone. */
function weights(runs) {
  const ones = runs.filter((run) => run[RUN.status] === "ok")
    .flatMap((run) => (run[RUN.member_runs] || run[RUN.run]).split("/"));
  if (!ones.length) return [];
  return [element("details", {},
    element("summary", {}, "Weights and predictions"),
    element("p", { class: "quiet" }, "Not in git: ", element("code", {}, "dvc pull"),
      " in a clone of the repository brings them, as far as the default remote holds them, to"),
    element("pre", {}, ones.map((name) => `artifacts/${DATA.suite}/${name}/model.safetensors`).join("\n")))];
}

function exitCharts(runs, part, chart) {
  DATA.runHeader.forEach((name, place) => {
    if (!name.startsWith("member_") || name === "member_runs") return;
    const values = runs.flatMap((run) => (run[place] ? run[place].split("/") : []).map((cell, k) =>
      ({ x: k + 1, y: Number(cell), series: `seed ${run[RUN.seed]}` })));
    if (values.some((v) => v.x > 1)) lines(chart(), values, `${DATA.titles[name]}, by ${part}`, part, DATA.titles[name]);
  });
}

function curveCharts(setting, chart) {
  const curve = DATA.curves[setting.label] ?? [];
  DATA.curveHeader.forEach((name, place) => {
    if (!place || !curve.length) return;
    const title = DATA.titles[name];
    const values = curve.map((point) => ({ x: point[0], y: point[place], series: title }));
    const of = seeds(setting) > 1 ? `mean of ${seeds(setting)} seeds` : "one seed";
    lines(chart(), values, `${title}, ${of}`, "epoch", title);
  });
}

function reliabilityCharts(setting, runs, chart) {
  const known = setting.runs.map((place) => DATA.bins[place]).filter(Boolean);
  if (!known.length) return;
  const several = known.length > 1;
  const ece = known.reduce((sum, bins) => sum + calibrationError(bins), 0) / known.length;
  reliability(chart(), pooled(known), {
    text: several ? `reliability, ${known.length} seeds together` : "reliability",
    subtitle: `ECE ${ece.toFixed(4)}${several ? ", mean of the seeds" : ""}`,
  });
}

/** Show a setting in the dialog. */
function showDetail(setting) {
  const runs = setting.runs.map((place) => DATA.runs[place]);
  const cell = (name) => setting.cells[DATA.header.indexOf(name)] ?? "";
  find("detail-title").textContent = DATA.names[""][setting.index];
  const body = find("detail-body");
  const charts = element("div", { class: "charts" });
  const part = partOf(setting);
  body.replaceChildren(
    element("p", { class: "quiet" }, `n = ${seeds(setting)}; ${setting.task}`),
    element("p", { class: "quiet" }, "In the tables: ", element("code", {}, setting.label)),
    element("h3", {}, "Seeds"), seedTable(runs, part),
    element("p", { class: "quiet" }, "Model cards come with a release."), ...weights(runs),
    element("h3", {}, "Exits, learning curves, calibration"), charts,
    element("h3", {}, "Settings of the method"), element("pre", {}, readable(cell("settings"))),
    element("h3", {}, "Recipe"), element("pre", {}, readable(cell("recipe"))),
  );
  if (!find("detail").open) find("detail").showModal();
  const chart = () => charts.appendChild(element("div", { class: "plot" }));
  exitCharts(runs, part, chart);
  reliabilityCharts(setting, runs, chart);
  curveCharts(setting, chart);
  if (!charts.children.length) charts.append("No run of this setting ended well.");
}
