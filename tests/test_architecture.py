"""The rooms of the house, and which of them may import which: docs/architecture.md, kept."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGES = ("nfe", "baselines")
SOURCES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk"))]


def place(path: str) -> str:
    """Return the room that a row of the table is about."""
    return {"nfe/__init__.py": "nfe"}.get(
        path, path.removesuffix(".py").strip("/").removeprefix("nfe/").replace("/", ".")
    )


def table() -> dict[str, set[str]]:
    """Return what each room may import, as the page says, bottom first."""
    rows = re.findall(r"^\| `([\w/.]+)` \| [^|]+ \|([^|]*)\|$", PAGE, re.MULTILINE)
    return {place(path): {word.strip() for word in cell.split(",")} - {""} for path, cell in rows}


ALLOWED = table()


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def room(module: str) -> str:
    """Return the room of a module: its folder below nfe, or its own name where it has none."""
    package, *rest = module.split(".")
    if package == "baselines":
        below = rest[0] if rest else ""
        return f"baselines.{below}" if below in ("shared", "settings") else "baselines"
    return rest[0] if rest else "nfe"


def imports(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and module, or module and name, of all that a file imports from here."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import hides where it leads"
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in found if name.split(".")[0] in PACKAGES)


def arrows(path: str, text: str) -> list[str]:
    """Return the imports of a file that the page does not allow."""
    mine, found = room(dotted(path)), []
    for line, name in imports(text):
        other = room(name)
        rival = mine == other == "baselines"
        if rival or (other != mine and other not in ALLOWED[mine]):
            found.append(f"{path}, line {line}: {mine} imports {name}")
    return found


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_import_is_an_arrow_of_the_plan() -> None:
    entry = ROOT / "nfe" / "__main__.py"
    wrong = [a for p in SOURCES if p != entry for a in arrows(relative(p), p.read_text())]
    assert wrong == []


def test_the_workflow_imports_what_it_may() -> None:
    for path in RULES:
        lines = re.findall(r"^from (?:nfe|baselines)\S* import .+$", path.read_text(), re.MULTILINE)
        for _, name in imports("\n".join(lines)):
            assert room(name) in ALLOWED["workflow"], f"{path.name}: {name}"


@pytest.mark.parametrize(
    ("path", "planted"),
    [
        ("nfe/evaluation/metrics.py", "from nfe.engine.trainer import Trainer"),
        ("nfe/splitting/network.py", "def f():\n    import nfe.data.splits"),
        ("nfe/pruning/masking.py", "from nfe.splitting import grouping"),
        ("nfe/common/files.py", "from nfe import backbones"),
        ("nfe/report/tables.py", "from nfe.cluster.site import load"),
        ("nfe/engine/runner.py", "from baselines.single import Single"),
        ("baselines/mimo.py", "from baselines.treenet import TreeNet"),
        ("baselines/mimo.py", "from nfe.engine.runner import execute"),
        ("baselines/shared/exits.py", "from baselines import single"),
    ],
)
def test_a_planted_arrow_is_found(path: str, planted: str) -> None:
    assert arrows(path, (ROOT / path).read_text()) == []
    assert len(arrows(path, f"{(ROOT / path).read_text()}\n{planted}\n")) == 1


def test_the_page_has_every_room_and_no_other() -> None:
    folders = {p.name for p in (ROOT / "nfe").iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    files = {p.stem for p in (ROOT / "nfe").glob("*.py")} - {"__init__", "__main__"}
    assert set(ALLOWED) == folders | files | {
        "baselines",
        "baselines.settings",
        "baselines.shared",
        "workflow",
        "nfe",
    }


def test_arrows_point_one_way() -> None:
    rooms = list(ALLOWED)
    for number, name in enumerate(rooms):
        assert ALLOWED[name] <= set(rooms[:number]), name


def test_no_module_leads_back_to_itself() -> None:
    names = {dotted(relative(path)) for path in SOURCES}
    graph = {}
    for path in SOURCES:
        found = [name for _, name in imports(path.read_text())]
        # from a.b import c: the module c of a.b, or the name c of the module a.b.
        exact = {name if name in names else name.rpartition(".")[0] for name in found}
        graph[dotted(relative(path))] = exact - {"nfe"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules in a circle: {error.args[1]}")


def test_every_path_of_the_page_exists() -> None:
    paths = re.findall(r"`((?:nfe|baselines|tests|workflow)/[\w/.]*)`", PAGE)
    assert len(paths) > 20
    for path in paths:
        assert (ROOT / path).exists(), path
