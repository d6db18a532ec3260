// From state to what is shown, and from controls to state.
const AT = Object.fromEntries(DATA.header.map((name, place) => [name, place]));
const METRIC = new Map(DATA.metrics);
const ALL = "all";
const tasks = [...new Set(DATA.settings.map((s) => s.task))];
const NAME = "name";
const GROUP = "f.groups";
// What does not change the plot, so that sorting leaves it as it is.
const BESIDE = ["sort", "descending", "columns", "setting"];
let limit = PAGE;
let plotted = "";
DATA.settings.forEach((setting, index) => { setting.index = index; });

/** Return a setting's name: within the chosen group the short one. */
function nameOf(setting) {
  const name = DATA.names[state[GROUP]]?.[setting.index] || DATA.names[""][setting.index];
  return unbroken(name);
}

/** Return a name in which "M = 2" stays on one line. */
function unbroken(name) {
  return name.replaceAll(" = ", "\u00a0=\u00a0");
}

/** Return the columns of the leaderboard: names, those that are shown at first, all others. */
function leaderboardColumns() {
  const covered = new Set(["settings", "recipe", "schema"]);
  const columns = DATA.shown.map(([key, title], place) => {
    const source = AT[`${key}_mean`] ?? AT[key];
    covered.add(key);
    return column(key, title, source, (s) => s.shown[place], true);
  });
  columns.unshift({ key: NAME, title: "setting", text: nameOf, usual: true, numeric: false,
    value: nameOf, exact: (s) => s.label, mark: (s) => s.mark });
  columns.push(column("task", "task", undefined, (s) => s.task, false));
  for (const [metric] of DATA.metrics) {
    if (!covered.has(metric)) {
      const spread = (s) => s.cells[AT[`${metric}_ci95`]] || s.cells[AT[`${metric}_std`]];
      columns.push(column(metric, DATA.titles[metric], AT[`${metric}_mean`],
        (s) => s.cells[AT[`${metric}_mean`]] + (spread(s) ? ` ± ${spread(s)}` : ""), false));
    }
    for (const part of ["mean", "std", "ci95"]) covered.add(`${metric}_${part}`);
  }
  for (const name of DATA.header) {
    if (!covered.has(name)) {
      columns.push(column(name, DATA.titles[name], AT[name], (s) => s.cells[AT[name]], false));
    }
  }
  return columns;
}

function column(key, title, source, text, usual) {
  const values = new Map(DATA.settings.map((s) => [s, sortable(source === undefined ? text(s) : s.cells[source])]));
  const numeric = [...values.values()].every((v) => v === "" || typeof v === "number");
  return { key, title, text, usual, numeric, value: (s) => values.get(s),
    exact: (s) => (source === undefined ? text(s) : s.cells[source]) };
}

const columns = leaderboardColumns();
const known = new Map(columns.map((c) => [c.key, c]));

/** Return the columns by whose values rows can be chosen. */
function categories() {
  const open = new Set([...DATA.costs.map(([key]) => key), ...METRIC.keys(), NAME, "task", "seeds",
    "latency_device"]);
  return columns.filter((c) => !open.has(c.key)).map((c) => ({ ...c, values: choices(c) }))
    .filter((c) => c.values.length > 1 && c.values.length <= 30);
}

/** A setting can belong to several groups; every other cell is one value. */
function parts(c, setting) {
  return c.key === "groups" ? c.exact(setting).split("/") : [c.exact(setting)];
}

function choices(c) {
  return [...new Set(DATA.settings.flatMap((s) => parts(c, s)))].filter((v) => v !== "")
    .sort(collator.compare);
}

const filters = categories();
// Words that name a setting; among all the numbers any short one would be found.
const searchable = new Map(DATA.settings.map((s) => [s, tokens(
  [DATA.names[""][s.index], s.label, s.task, AT.groups === undefined ? "" : s.cells[AT.groups]].join(" "))]));

/** Return the words of a text; those with a number stay whole. */
function tokens(text) {
  const words = text.toLowerCase().split(/[\s,;:()=]+/).filter(Boolean);
  return [...new Set(words.flatMap((w) => (/\d/.test(w) ? [w] : [w, ...w.split(/[_/-]/)])))];
}

/** Return whether a word is one of a setting's; of a word without a number its beginning is enough. */
function named(word, setting) {
  return searchable.get(setting).some((t) => t === word || (!/\d/.test(word) && t.startsWith(word)));
}

/** Return what the plot's cost can be: costs, then every other number that differs. */
function costChoices() {
  const named = DATA.costs.map(([key, title, factor]) => ({ key, title, factor, real: true }));
  const others = columns.filter((c) => c.numeric && !METRIC.has(c.key)
    && !named.some((n) => n.key === c.key) && choices(c).length > 1);
  return [...named, ...others.map((c) => ({ key: c.key, title: c.title, factor: 1 }))];
}

const costs = costChoices();

function visible() {
  const words = state.q.toLowerCase().split(/[\s,;:()=]+/).filter(Boolean);
  return DATA.settings.filter((s) => (state.task === ALL || s.task === state.task)
    && words.every((word) => named(word, s))
    && filters.every((c) => state[`f.${c.key}`] === "" || parts(c, s).includes(state[`f.${c.key}`])));
}

function shownColumns() {
  const chosen = state.columns === "" ? null : new Set(state.columns.split(","));
  return columns.filter((c, place) => place === 0 || (chosen ? chosen.has(c.key) : c.usual)
    || (c.key === "task" && state.task === ALL && tasks.length > 1));
}

/** Return a setting's number of seeds that ended well. */
function seeds(setting) {
  return Number(setting.cells[AT.seeds] || 0);
}

/** Return why these settings have no rank and no front; "" where they have. */
function unranked(rows) {
  if (!DATA.ranks) return "the suite ranks nothing";
  if (new Set(rows.filter(seeds).map(seeds)).size > 1) return "settings differ in their number of seeds n";
  if (new Set(rows.map((s) => s.task)).size > 1) return "these are several tasks";
  return "";
}

/** Return what the leaderboard is sorted by; by nothing, where nothing is ranked. */
function sorting(rows) {
  if (known.has(state.sort)) return { key: state.sort, descending: state.descending === "1" };
  const best = DATA.metrics[0]?.[0];
  if (unranked(rows) || !known.has(best)) return { key: "", descending: false };
  return { key: best, descending: METRIC.get(best) === "high" };
}

function showBoard(rows) {
  const by = sorting(rows);
  const shown = by.key ? sorted(rows, known.get(by.key), by.descending) : rows;
  fill(find("board"), shownColumns(), shown, by,
    (c) => {
      const down = c.key === by.key ? !by.descending : METRIC.get(c.key) === "high";
      change({ sort: c.key, descending: down ? "1" : "0" });
    }, (s) => change({ setting: s.label }), limit);
  find("count").textContent = `${rows.length} of ${DATA.settings.length} settings`;
  const why = unranked(rows);
  find("unranked").textContent = !why ? "" : `No ranks: ${why}. ${by.key ? "" : "Rows are in the tables’ order."}`;
  find("more").hidden = rows.length <= limit;
  find("more").textContent = `Show more (${Math.min(limit, rows.length)} of ${rows.length} rows)`;
}

async function showPlot(rows) {
  const wanted = Object.entries(state).filter(([key]) => !BESIDE.includes(key));
  const signature = JSON.stringify([wanted, css("--ink")]);
  if (signature === plotted) return;
  plotted = signature;
  const cost = costs.find((c) => c.key === state.x) ?? costs[0];
  const metric = METRIC.has(state.y) ? state.y : DATA.metrics[0][0];
  const colour = known.get(state.colour) ?? known.get(NAME);
  const title = known.get(metric)?.title ?? metric;
  const part = (s, name) => s.cells[AT[`${metric}_${name}`]];
  const costCell = (s) => s.cells[AT[cost.key]];
  const usable = rows.filter((s) => part(s, "mean") !== "" && costCell(s) !== "");
  const points = usable.map((s) => {
    const y = Number(part(s, "mean"));
    const spread = part(s, "ci95") || part(s, "std");
    const x = cost.factor * Number(costCell(s));
    return { x, y, low: spread ? y - Number(spread) : null, high: spread ? y + Number(spread) : null,
      label: s.label, name: nameOf(s), n: seeds(s), index: s.index, ...look(markOf(s, colour)),
      tip: `${nameOf(s)}, n = ${seeds(s)}\n${title}: ${part(s, "mean")}${spread ? ` ± ${spread}` : ""}\n${cost.title}: ${x.toLocaleString("en")}` };
  });
  const log = state.log === "1" && points.every((p) => p.x > 0);
  const lost = rows.length - usable.length;
  const why = unranked(usable);
  const better = cost.real && !why ? METRIC.get(metric) : null;
  const device = DATA.settings.find((s) => s.cells[AT.latency_device])?.cells[AT.latency_device];
  find("plot-note").textContent = [
    "Bars: 95 % interval over seeds; standard deviation where there are two; none for one seed.",
    better ? `Dashed: Pareto front, ${better === "high" ? "higher" : "lower"} is better.`
      : `No Pareto front: ${why || "no cost, or neither more nor less of this metric is better"}.`,
    cost.key === "latency_ms" ? `Measured on ${device}.` : "",
    lost ? `${lost} settings have no value here.` : "",
    "A mark opens its setting.",
  ].filter(Boolean).join(" ");
  await scatter(find("plot"), points,
    { x: cost.title, y: title, better },
    { front: state.front === "1", bars: state.bars === "1", log },
    (index) => change({ setting: DATA.settings[index].label }));
  showKey(usable, colour);
}

/** Return a setting's mark: its own, or that of its value in a column. */
function markOf(setting, colour) {
  if (colour.key === NAME) return setting.mark;
  const value = colour.exact(setting);
  if (colour.key === "method") return DATA.methods[setting.method];
  if (colour.key === "pruning" && DATA.pruners[value]) return DATA.pruners[value];
  return DATA.marks[choices(colour).indexOf(value) % DATA.marks.length] 
    ?? { colour: css("--quiet"), shape: DATA.marks[0].shape, fill: "none", size: 1, edge: false };
}

/** Return what a mark stands for: a setting, or what the settings that share it have in common. */
function meaning(settings, colour) {
  if (colour.key === "method") return settings[0].method;
  if (colour.key !== NAME) return colour.exact(settings[0]) || "–";
  if (settings.length === 1) return nameOf(settings[0]);
  const names = [...new Set(settings.map((s) => unbroken(s.marked)))];
  return `${names.join(" or ")}, ${settings.length} settings`;
}

/** Say below the plot what each mark is, and of how many seeds. */
function showKey(rows, colour) {
  const entries = new Map();
  for (const s of rows) {
    const mark = markOf(s, colour);
    const key = colour.key === NAME ? JSON.stringify(mark) : meaning([s], colour);
    const entry = entries.get(key) ?? { mark, settings: [] };
    entry.settings.push(s);
    entries.set(key, entry);
  }
  const shown = [...entries.values()].slice(0, KEYS).map(({ mark, settings }) => {
    const n = [...new Set(settings.map(seeds))].sort((a, b) => a - b);
    return element("li", {}, drawnMark(mark), ` ${meaning(settings, colour)} `,
      element("span", { class: "n" }, `n = ${n.length > 2 ? `${n[0]} to ${n.at(-1)}` : n.join(", ")}`));
  });
  if (entries.size > KEYS) shown.push(element("li", {}, `and ${entries.size - KEYS} more`));
  find("key").replaceChildren(...shown);
}

/** Bring controls to the state. */
function showControls() {
  const simple = ["task", "q", "x", "y", "colour", "theme"];
  for (const id of simple) if (find(id).value !== state[id]) find(id).value = state[id];
  for (const id of ["front", "bars", "log"]) find(id).checked = state[id] === "1";
  for (const c of filters) find(`f.${c.key}`).value = state[`f.${c.key}`];
  const shown = new Set(shownColumns().map((c) => c.key));
  for (const box of find("column-list").querySelectorAll("input")) box.checked = shown.has(box.value);
  if (state.theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.theme;
}

function show() {
  showControls();
  const rows = visible();
  showBoard(rows);
  const setting = DATA.settings.find((s) => s.label === state.setting
    && (state.task === ALL || s.task === state.task));
  if (setting) showDetail(setting);
  else if (find("detail").open) find("detail").close();
  return showPlot(rows);
}

/** Change the state: the address and what is shown follow. */
function change(values) {
  Object.assign(state, values);
  writeState();
  document.body.dataset.busy = "1";
  const done = show().catch((error) => {
    find("plot").textContent = `This view cannot be drawn: ${error.message}`;
  });
  done.then(() => { delete document.body.dataset.busy; });
  return done;
}

function options(select, entries) {
  select.append(...entries.map(([value, text]) => element("option", { value }, text)));
}

function control(key, title, values) {
  const select = element("select", { id: key, onchange: (e) => filter({ [key]: e.target.value }) });
  options(select, [["", "all"], ...values.map((v) => [v, v])]);
  return element("label", {}, `${title} `, select);
}

/** Another choice of rows starts at the top. */
function filter(values) {
  limit = PAGE;
  return change(values);
}

function buildControls() {
  options(find("task"), [...tasks.map((t) => [t, t]), ...(tasks.length > 1 ? [[ALL, "all tasks"]] : [])]);
  find("task-label").hidden = tasks.length < 2;
  options(find("x"), costs.map((c) => [c.key, c.title]));
  options(find("y"), DATA.metrics.map(([m]) => [m, known.get(m)?.title ?? m]));
  const colours = [known.get(NAME), ...filters];
  options(find("colour"), colours.map((c) => [c.key, c.title]));
  const first = ["method", "groups"];
  for (const c of filters) {
    const at = find(first.includes(c.key) ? "filters" : "further-filters");
    at.append(control(`f.${c.key}`, c.title, c.values));
  }
  find("more-filters").hidden = !find("further-filters").children.length;
  find("column-list").append(...columns.slice(1).map((c) => element("label", {},
    element("input", { type: "checkbox", value: c.key, onchange: chooseColumns }), ` ${c.title}`)));
  find("task").addEventListener("change", (e) => filter({ task: e.target.value, ...groupOf(e.target.value) }));
  find("q").addEventListener("input", (e) => filter({ q: e.target.value }));
  for (const id of ["x", "y", "colour", "theme"]) {
    find(id).addEventListener("change", (e) => change({ [id]: e.target.value }));
  }
  for (const id of ["front", "bars", "log"]) {
    find(id).addEventListener("change", (e) => change({ [id]: e.target.checked ? "1" : "0" }));
  }
  find("more").addEventListener("click", () => { limit += PAGE; showBoard(visible()); });
  find("reset").addEventListener("click", () => filter({ ...defaults, theme: state.theme }));
  find("detail").addEventListener("close", () => {
    if (state.setting !== "") change({ setting: "" });
  });
  document.querySelector("[data-skip]").addEventListener("click", (e) => {
    e.preventDefault(); // The address holds the state.
    find("board").focus();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => change({}));
  window.addEventListener("hashchange", () => { readState(); change({}); });
}

/** Return the choice of a group for a task: none where the task has nothing of the one chosen. */
function groupOf(task) {
  const there = task === ALL || DATA.settings.some((s) => s.task === task
    && (!state[GROUP] || parts(known.get("groups"), s).includes(state[GROUP])));
  return there ? {} : { [GROUP]: "" };
}

function chooseColumns() {
  const boxes = [...find("column-list").querySelectorAll("input")].filter((box) => box.checked);
  const chosen = [columns[0].key, ...boxes.map((box) => box.value)].join(",");
  const usual = columns.filter((c, place) => place === 0 || c.usual).map((c) => c.key).join(",");
  change({ columns: chosen === usual ? "" : chosen });
}

function buildText() {
  find("legend").textContent = DATA.legend;
  const words = { plan: "runs of the suite (plan)", configuration: "configuration", citation: "citation" };
  const addresses = ["configuration", "plan", "citation"].filter((name) => DATA.links[name]);
  find("links").append(...addresses.map((name) => link(words[name], DATA.links[name])),
    ...["runs.csv", "summary.csv", "curves.csv"].map((name) => link(name, name)));
  find("cite").append(
    "Name the suite and the version of its tables: releases stand in ", link("releases/", "releases/"),
    DATA.links.citation ? " and in " : "", DATA.links.citation ? link("CITATION.cff", DATA.links.citation) : "",
    ". This page shows the runs.csv whose SHA-256 is ", element("code", {}, DATA.checksum),
    ", the one in its release’s manifest. Every number can be recomputed: ",
    element("code", {}, `nfe-bench verify results/${DATA.suite}`), ".");
}

function buildFigures() {
  find("figures").hidden = !DATA.figures.length;
  for (const figure of DATA.figures) {
    const links = Object.entries(figure.links).map(([kind, address]) => link(kind, address));
    find("figures").append(element("figure", {},
      element("img", { src: figure.image, alt: figure.title, loading: "lazy" }),
      element("figcaption", { class: "links" }, `${figure.title}: `, ...links)));
  }
}

/** Show a table that has no place of its own; it sorts like the leaderboard. */
function buildTable({ name, header, rows }) {
  const cols = header.map((title, place) => ({ key: title, title, value: (r) => sortable(r[place]),
    numeric: rows.every((r) => typeof sortable(r[place]) === "number" || r[place] === ""),
    text: (r) => r[place], exact: (r) => r[place] }));
  const table = element("table", {});
  const more = element("button", { type: "button" });
  let shown = PAGE;
  let sort = { key: "", descending: false };
  const again = () => {
    const by = cols.find((c) => c.key === sort.key);
    fill(table, cols, by ? sorted(rows, by, sort.descending) : rows, sort, (c) => {
      sort = { key: c.key, descending: c.key === sort.key && !sort.descending };
      again();
    }, null, shown);
    more.hidden = rows.length <= shown;
    more.textContent = `Show more (${Math.min(shown, rows.length)} of ${rows.length} rows)`;
  };
  more.addEventListener("click", () => { shown += PAGE; again(); });
  again();
  find("tables").hidden = false;
  find("tables").append(element("details", {}, element("summary", {}, name), element("p", {}, link(name, name)),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, table), more));
}

Object.assign(defaults, { task: tasks[0] ?? ALL, q: "", sort: "", descending: "", columns: "", x: costs[0]?.key ?? "", y: DATA.metrics[0]?.[0] ?? "",
  colour: NAME, front: "1", bars: "1", log: "1", setting: "", theme: "auto" });
for (const c of filters) defaults[`f.${c.key}`] = "";
// A reader sees first what the suite is about; ablations are a choice away.
if (filters.some((c) => c.key === "groups" && c.values.includes("headline"))) defaults[GROUP] = "headline";
readState();
buildControls();
buildText();
buildFigures();
DATA.tables.forEach(buildTable);
change({});
