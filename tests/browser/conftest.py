"""A real headless Chromium, and the page as a reader sees it."""

import importlib.util
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "quick"
RELEASED = sorted(path.parent.name for path in (ROOT / "results").glob("*/releases"))
WIDE, NARROW = 1280, 390
OPTIONS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
)


class Page:
    """The page in a browser; every action waits until all of it is shown."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, path: Path, state: str = "", width: int = WIDE, scheme: str = "light") -> None:
        cdp = self.driver.execute_cdp_cmd
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < WIDE}
        cdp("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        cdp("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get("about:blank")  # Another hash alone would not load the page again.
        self.logs()
        self.driver.get(f"{path.as_uri()}{state}")
        self.settle()

    def settle(self) -> None:
        busy = "return document.readyState !== 'complete' || 'busy' in document.body.dataset"
        WebDriverWait(self.driver, 30, 0.02).until(lambda d: not d.execute_script(busy))

    def logs(self) -> tuple[list[str], list[str]]:
        """Return what the console said and what was asked for since the last call."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return said, [e["request"]["url"] for e in sent]

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        self.script("arguments[0].click()", self.one(selector))
        self.settle()

    def choose(self, selector: str, value: str) -> None:
        code = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))"
        self.script(code, self.one(selector), value)
        self.settle()

    def type(self, selector: str, text: str) -> None:
        code = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
        self.script(code, self.one(selector), text)
        self.settle()

    def column(self, key: str, table: str = "#board") -> list[str]:
        """Return the CSV cells behind a column, from top to bottom."""
        code = """return [...document.querySelectorAll(arguments[0])].map(c => c.dataset.exact)"""
        cells: list[str] = self.script(code, f"{table} tbody [data-key='{key}']")
        return cells

    def state(self) -> str:
        return str(self.script("return location.hash"))


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium and driver, "no chromium or no chromedriver: make test-browser installs them"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (*OPTIONS, f"user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield Page(started)
    started.quit()


def built(suite: str, root: Path) -> Path:
    """Write a suite's page as today's code makes it, with all that it links to beside it."""
    from nfe.report.page import write

    results = root / "results" / suite
    results.mkdir(parents=True)
    for path in (ROOT / "results" / suite).iterdir():
        if path.name != "index.html":
            (results / path.name).symlink_to(path)
    for name in ("config", "figures", "CITATION.cff"):
        (root / name).symlink_to(ROOT / name)
    return write(results)


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a suite that ranks nothing."""
    return built("quick", tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="session")
def ranking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a suite whose headline is ranked, and not its other groups."""
    return built("tiny-imagenet-20", tmp_path_factory.mktemp("ranking"))


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released suites as the documentation publishes them."""
    specification = importlib.util.spec_from_file_location("docs_conf", ROOT / "docs" / "conf.py")
    assert specification and specification.loader
    configuration = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(configuration)
    folder = tmp_path_factory.mktemp("site")
    configuration.publish_pages(folder)
    return folder


@pytest.fixture
def data(index: Path) -> dict[str, Any]:
    """What the page of the quick suite shows."""
    return shown(index)


def shown(page: Path) -> dict[str, Any]:
    """Return what a page shows."""
    text = page.read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    content: dict[str, Any] = json.loads(found[1])
    return content


@pytest.fixture
def rendered(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Write a page of other data."""
    from nfe.report.page import render

    def write(content: dict[str, Any]) -> Path:
        (tmp_path / "index.html").write_text(render(content))
        return tmp_path / "index.html"

    return write
