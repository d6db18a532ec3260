"""The results page in a real browser: what loads, what is shown, who can use it, how fast."""

import copy
import csv
import json
import os
import statistics
from pathlib import Path

import pytest
from conftest import NARROW, RESULTS, ROOT, WIDE
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

INDEX = RESULTS / "index.html"
# "Smooth" is 200 ms an interaction on an idle machine. A test runs on busy ones too: only a page
# that has become several times slower fails; the numbers measured go to a file.
GOAL_MS, FAILURE_MS = 200, 1500
ROWS = 2000


def table(name):
    with open(RESULTS / name, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("suite", sorted(p.parent.name for p in ROOT.glob("results/*/index.html")))
def test_it_loads_without_a_word_or_a_request(page, suite):
    path = ROOT / "results" / suite / "index.html"
    page.open(path)
    said, asked = page.logs()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "about:"))] == [path.as_uri()]
    assert page.script("return document.querySelectorAll('#plot svg, #plot canvas').length") == 1


def test_numbers_are_those_of_the_tables(page):
    page.open(INDEX)
    summary = table("summary.csv")
    keys = ("accuracy", "nll", "ece", "brier", "disagreement")
    for column, key in [*((f"{k}_mean", k) for k in keys), *((k, k) for k in ("macs_nonzero",))]:
        assert sorted(page.column(key)) == sorted(row[column] for row in summary), column
    markdown = (RESULTS / "summary.md").read_text()
    rows = page.script(
        "return [...document.querySelectorAll('#board tbody tr')]"
        ".map(r => [...r.cells].map(c => c.textContent))"
    )
    assert len(rows) == len(summary)
    for cells in rows:
        assert "| " + " | ".join(cells) + " |" in markdown


def test_sorting_orders_by_number_and_turns_round(page):
    page.open(INDEX)
    rows = table("summary.csv")
    right = sorted(float(r["nll_mean"]) for r in rows if r["nll_mean"])
    page.click("th[data-key='nll'] button")
    assert [float(c) for c in page.column("nll") if c] == right
    assert page.one("th[data-key='nll']").get_attribute("aria-sort") == "ascending"
    page.click("th[data-key='nll'] button")
    assert [float(c) for c in page.column("nll") if c] == right[::-1]
    page.click("th[data-key='disagreement'] button")
    cells = page.column("disagreement")
    assert "" in cells and "" not in cells[: len(cells) - cells.count("")]


def test_filters_choose_rows_and_marks(page):
    page.open(INDEX)
    rows = table("summary.csv")
    marks = "return document.querySelectorAll('#plot .mark-symbol.role-mark path').length"
    assert page.script(marks) == len(rows)
    page.choose("[id='f.method']", "nfe")
    chosen = [r for r in rows if r["method"] == "nfe"]
    assert set(page.column("method")) == {"nfe"}
    assert len(page.column("method")) == len(chosen) == page.script(marks)
    page.type("#q", "snip 0.9")
    assert page.column("accuracy") == [
        r["accuracy_mean"] for r in chosen if (r["pruning"], r["sparsity"]) == ("snip", "0.9")
    ]
    assert page.one("#count").text == f"1 of {len(rows)} settings"
    page.type("#q", "no such thing")
    assert page.column("method") == []
    page.click("#reset")
    assert len(page.column("method")) == len(rows)


def test_every_cost_and_metric_is_drawn(page, data):
    page.open(INDEX)
    page.click("#front")
    labels = {s["label"]: s for s in data["settings"]}
    at = {name: i for i, name in enumerate(data["header"])}
    marks = """return [...document.querySelectorAll('#plot .mark-symbol.role-mark path')]
        .map(p => p.__data__.datum).map(d => [d.label, d.x, d.y])"""
    for key, _, factor in data["costs"]:
        page.choose("#x", key)
        for label, x, _ in page.script(marks):
            assert x == factor * float(labels[label]["cells"][at[key]])
    for metric, _ in data["metrics"]:
        page.choose("#y", metric)
        drawn = page.script(marks)
        assert drawn
        for label, _, y in drawn:
            assert y == float(labels[label]["cells"][at[f"{metric}_mean"]])
    assert page.logs()[0] == []


def test_the_pareto_front_is_what_nothing_beats(page, data):
    page.open(INDEX)
    at = {name: i for i, name in enumerate(data["header"])}
    points = {
        (2 * float(s["cells"][at["macs_nonzero"]]), float(s["cells"][at["accuracy_mean"]]))
        for s in data["settings"]
    }
    front = {
        (x, y)
        for x, y in points
        if not any(a <= x and b >= y and (a, b) != (x, y) for a, b in points)
    }
    line = "document.querySelector('#plot .mark-line.role-mark path')"
    drawn = f"""return [...{line}.__data__.mark.items]
        .map(i => [i.datum.x, i.datum.y])"""
    assert {tuple(point) for point in page.script(drawn)} == front
    page.choose("#y", "disagreement")
    assert page.script("return document.querySelector('#plot .mark-line.role-mark')") is None


def test_a_view_is_shared_by_its_address(page):
    page.open(INDEX)
    assert page.state() == ""
    page.choose("#x", "train_macs")
    page.choose("[id='f.groups']", "pai")
    page.click("th[data-key='ece'] button")
    page.choose("#theme", "dark")
    address, shown = page.state(), page.column("ece")
    page.open(INDEX, address)
    assert page.state() == address
    assert page.column("ece") == shown
    assert page.script("return document.querySelector('#x').value") == "train_macs"
    page.script("location.hash = '#f.method=single'")
    page.settle()
    assert page.column("method") == ["single"]
    # What an address asks for and the page does not have is passed over.
    page.open(INDEX, "#sort=nothing&x=nothing&f.method=single&unheard=of")
    assert page.column("method") == ["single"]
    assert page.logs()[0] == []


def test_a_setting_shows_seeds_exits_curves_calibration_and_files(page, data):
    setting = next(
        s for s in data["settings"] if s["label"].startswith("nfe, M 3") and len(s["runs"]) == 2
    )
    page.open(INDEX)
    page.script(
        "[...document.querySelectorAll('#board tbody tr')]"
        ".find(r => r.cells[0].textContent === 'nfe' && r.cells[1].textContent === '3')"
        ".querySelector('button').click()"
    )
    page.settle()
    assert page.one("#detail-title").text == setting["label"]
    runs = {r["run"]: r for r in table("runs.csv")}
    for row in page.driver.find_elements("css selector", "#detail tr[data-run]"):
        run = runs[row.get_attribute("data-run")]
        cells = {c.get_attribute("data-key"): c.get_attribute("textContent")
                 for c in row.find_elements("css selector", "td[data-key]")}  # fmt: skip
        for key in ("seed", "accuracy", "nll", "ece", "train_seconds"):
            assert cells[key] == run[key]
        exits = run["member_accuracy"].split("/")
        assert [cells[f"member_accuracy {k + 1}"] for k in range(len(exits))] == exits
        for link in row.find_elements("css selector", "a"):
            address = link.get_attribute("href").replace("file://", "").replace("%3D", "=")
            assert "/artifacts/quick/" in address or Path(address).is_file()
    page.script("return new Promise(done => setTimeout(done, 1000))")
    titles = page.script(
        "return [...document.querySelectorAll('#detail .plot svg')].map(s => s.textContent)"
    )
    said = " ".join(titles)
    for words in ("member_accuracy, by exit", "reliability", "heldout_nll, mean"):
        assert words in said
    page.one("#detail").send_keys(Keys.ESCAPE)
    page.settle()
    assert "setting=" not in page.state()
    assert page.logs()[0] == []


def test_the_reliability_diagram_gives_the_tables_ece(data):
    at = data["runHeader"].index("ece")
    known = [(run, bins) for run, bins in zip(data["runs"], data["bins"], strict=True) if bins]
    assert known
    for run, bins in known:
        images = sum(count for count, _, _ in bins)
        error = sum(abs(right - confidence) for _, right, confidence in bins) / images
        # The table's is of float64 confidences, the page's of float32 ones in rounded sums.
        assert error == pytest.approx(float(run[at]), abs=2e-6 + 15e-4 / images)


def test_every_relative_link_leads_somewhere(page, data):
    page.open(INDEX)
    links = page.script(
        "return [...document.querySelectorAll('main a, header a')].map(a => a.href)"
    )
    paths = {Path(link.split("#")[0].removeprefix("file://")) for link in links}
    assert {"runs.csv", "CITATION.cff", "quick.yaml", "pai.pdf"} <= {path.name for path in paths}
    assert [path for path in paths if not path.exists()] == []


FOCUSED = """const focused = document.activeElement;
return focused.id || focused.closest('td, th')?.dataset.key || focused.tagName"""


def test_the_keyboard_is_enough(page):
    page.open(INDEX)
    page.script("document.querySelector('th[data-key=nll] button').focus()")
    keys = ActionChains(page.driver)
    keys.send_keys(Keys.ENTER).perform()
    page.settle()
    assert page.one("th[data-key='nll']").get_attribute("aria-sort") == "ascending"
    # The header that was pressed still has the focus: again turns it round.
    keys.send_keys(Keys.SPACE).perform()
    page.settle()
    assert page.one("th[data-key='nll']").get_attribute("aria-sort") == "descending"
    page.open(INDEX)
    seen = []
    for _ in range(80):
        keys.send_keys(Keys.TAB).perform()
        seen.append(page.script(FOCUSED))
        if seen[-1] == "method" and page.script("return !!document.activeElement.closest('tbody')"):
            break
    assert {"q", "f.method", "x", "y", "front", "bars", "log", "theme", "reset"} <= set(seen)
    keys.send_keys(Keys.ENTER).perform()
    page.settle()
    assert page.script("return document.querySelector('#detail').open")
    keys.send_keys(Keys.ESCAPE).perform()
    page.settle()
    assert not page.script("return document.querySelector('#detail').open")


def test_controls_have_names(page):
    page.open(INDEX)
    nameless = page.script("""return [...document.querySelectorAll('select, input, button')]
        .filter(e => !e.closest('[hidden]'))
        .filter(e => !(e.labels?.length && e.labels[0].textContent.trim()) && !e.textContent.trim())
        .map(e => e.outerHTML)""")
    assert nameless == []


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_nothing_is_wider_than_the_screen(page, width):
    first = table("runs.csv")[0]["method"]
    for state in ("", f"#setting={first}%2C+M+1"):
        page.open(INDEX, state, width)
        assert page.script("return document.documentElement.scrollWidth") <= width
        assert page.script("return document.querySelector('#detail').open") == bool(state)
    assert page.logs()[0] == []


def luminance(colour):
    parts = [int(p) / 255 for p in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(
    ("scheme", "state", "dark"),
    [("light", "", False), ("dark", "", True), ("light", "#theme=dark", True),
     ("dark", "#theme=light", False)],
)  # fmt: skip
def test_light_and_dark_follow_the_system_and_the_switch(page, scheme, state, dark):
    page.open(INDEX, state, scheme=scheme)
    style = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    paper = luminance(page.script(style, "body", "backgroundColor"))
    assert (paper < 0.1) == dark
    for text in ("body", "#legend", "#board a, #board tbody button", "header a"):
        ink = luminance(page.script(style, text, "color"))
        contrast = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
        assert contrast >= 4.5, text
    axis = page.script(
        "return document.querySelector('#plot .role-axis-title text').getAttribute('fill')"
    )
    assert axis == page.script(
        "return getComputedStyle(document.documentElement).getPropertyValue('--ink')"
    )


HOSTILE = '</script><img src=x onerror="document.title=`taken`"><b>&amp;"\' ${1} $suite'


def test_values_from_files_are_text(page, data, rendered):
    data["suite"] = data["note"] = data["legend"] = HOSTILE
    data["header"] = [*data["header"], HOSTILE]
    for number, setting in enumerate(data["settings"]):
        setting["label"] = f"{HOSTILE} {number}"
        setting["task"] = HOSTILE
        setting["shown"] = [HOSTILE for _ in setting["shown"]]
        setting["cells"][data["header"].index("method")] = HOSTILE
        setting["cells"].append(HOSTILE)
    data["tables"] = [{"name": HOSTILE, "header": [HOSTILE, "b"], "rows": [[HOSTILE, "1"]]}]
    data["runs"] = [[HOSTILE if c == "ok" else c for c in run] for run in data["runs"]]
    path = rendered(data)
    page.open(path)
    page.click("#board tbody button")
    page.script("return new Promise(done => setTimeout(done, 500))")
    assert page.script("return document.title").startswith("Results of suite </script>")
    for selector in ("h1", "#note", "#legend", "#board tbody th", "#detail-title"):
        assert HOSTILE in page.script(
            "return document.querySelector(arguments[0]).textContent", selector
        )
    images = "return [...document.images].filter(i => !i.src.startsWith('data:image/svg')).length"
    assert page.script(images) == 0
    assert page.script("return document.querySelectorAll('b').length") == 0
    said, asked = page.logs()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "about:"))] == [path.as_uri()]


def test_injected_code_would_not_run(page):
    page.open(INDEX)
    page.script("""const s = document.createElement('script');
        s.textContent = 'document.title = "taken"'; document.body.append(s)""")
    assert page.script("return document.title").startswith("Results of suite quick")
    assert "Content Security Policy" in page.logs()[0][0]


INTERACTIONS = {
    "sort by a number": "document.querySelector('th[data-key=nll] button').click()",
    "sort by text": "document.querySelector('th[data-key=setting] button').click()",
    "search": "q.value = 'nfe snip'; q.dispatchEvent(new Event('input'))",
    "search cleared": "q.value = ''; q.dispatchEvent(new Event('input'))",
    "another metric": "y.value = 'nll'; y.dispatchEvent(new Event('change'))",
    "another cost": "x.value = 'train_macs'; x.dispatchEvent(new Event('change'))",
    "more rows": "more.click()",
    "reset": "reset.click()",
}
MEASURE = """const done = arguments[0];
const [q, x, y, more, reset] = ['q', 'x', 'y', 'more', 'reset']
  .map((id) => document.getElementById(id));
const start = performance.now();
%s;
const wait = () => ('busy' in document.body.dataset ? setTimeout(wait, 1)
  : requestAnimationFrame(() => setTimeout(() => done(performance.now() - start))));
wait();"""


def many(data):
    """Return the data with 2,000 settings, each of another accuracy and cost."""
    at = {name: i for i, name in enumerate(data["header"])}
    settings = []
    for number in range(ROWS):
        setting = copy.deepcopy(data["settings"][number % len(data["settings"])])
        setting["label"] += f" #{number}"
        share = (number * 7919 % ROWS) / ROWS
        for cost in ("macs_nonzero", "macs_dense", "train_macs", "parameters"):
            cell = at[cost]
            setting["cells"][cell] = str(round(float(setting["cells"][cell]) * (0.2 + 5 * share)))
        setting["cells"][at["accuracy_mean"]] = f"{90 + 9 * share:.4f}"
        setting["cells"][at["accuracy_ci95"]] = "0.2000"
        settings.append(setting)
    return {**data, "settings": settings}


def test_two_thousand_rows_stay_smooth(page, data, rendered, tmp_path):
    page.open(rendered(many(data)))
    assert page.one("#count").text == f"{ROWS} of {ROWS} settings"
    measured = {name: [] for name in INTERACTIONS}
    for _ in range(3):
        for name, action in INTERACTIONS.items():
            measured[name].append(page.driver.execute_async_script(MEASURE % action))
            # What makes it smooth: the document never holds all rows.
            assert len(page.column("method")) <= 200
    medians = {name: round(statistics.median(times), 1) for name, times in measured.items()}
    record = {"rows": ROWS, "goal_ms": GOAL_MS, "median_ms": medians, "load": os.getloadavg()[0]}
    output = Path(os.environ.get("BENCHMARK_OUTPUT", tmp_path)) / "page.json"
    output.write_text(json.dumps(record, indent=1) + "\n")
    print(output.read_text())
    assert max(medians.values()) < FAILURE_MS, record
    assert page.logs()[0] == []
