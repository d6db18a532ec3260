"""Suites say what they mean: keys twice, octal numbers and other encodings."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nfe.cli.main import main
from nfe.common.errors import InputError
from nfe.common.strict_yaml import load, loads
from nfe.suite.expansion import expand, read_config

ROOT = Path(__file__).resolve().parents[2]
SUITE = """\
suite: strict
note: naïve
dataset: digits
architecture: wrn-10-1
epochs: {epochs}
seeds: 1
groups:
  headline:
    - method: single
{more}"""


@pytest.mark.parametrize(
    ("epochs", "more", "message"),
    [
        ("4", "  headline:\n    - method: mimo\n", "line 10: 'headline' stands twice, in line 8"),
        ("4", "seeds: 2\n", "line 10: 'seeds' stands twice, in line 6"),
        ("4", "      method: mimo\n", "line 10: 'method' stands twice, in line 9"),
        ("010", "", "line 5: 010 is a number in base 8"),
        ("1:30", "", "line 5: 1:30 is a number in base 60"),
        ("4", "    - {method: nfe, exits: 2, granularity: 2:4}\n", "line 10: 2:4 is a number in"),
    ],
)
def test_a_suite_that_says_another_thing_than_it_seems_is_refused(
    tmp_path, capsys, epochs, more, message
):
    file = tmp_path / "suite.yaml"
    file.write_text(SUITE.format(epochs=epochs, more=more), encoding="utf-8")
    with pytest.raises(InputError, match=r"suite\.yaml: line") as caught:
        read_config(file)
    assert message in str(caught.value)
    assert main(["plan", "--config", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_yaml_means_plainly_stays():
    text = "a: &one {x: 1}\nb:\n  <<: *one\n  x: 2\nc: ['010', 0x10, 0, 0.5, 1e-3, -3, 10_000]\n"
    plain = [16, 0, 0.5, "1e-3", -3, 10_000]
    assert loads(text) == {"a": {"x": 1}, "b": {"x": 2}, "c": ["010", *plain]}
    assert loads("") is None


def test_every_committed_configuration_is_read_as_before():
    import yaml

    files = [*ROOT.glob("config/**/*.yaml"), *ROOT.glob("workflow/**/*.yaml")]
    assert files
    for file in files:
        assert load(file) == yaml.safe_load(file.read_text(encoding="utf-8"))


def test_a_suite_is_the_same_under_any_locale(tmp_path):
    file = tmp_path / "suite.yaml"
    file.write_text(SUITE.format(epochs=4, more=""), encoding="utf-8")
    program = (
        "import locale, sys; from pathlib import Path; from nfe.suite.expansion import *; "
        "assert locale.getpreferredencoding(False).lower() != 'utf-8'; "
        "print(expand(read_config(Path(sys.argv[1]))).digest)"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)],
        env={**os.environ, **plain},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == expand(read_config(file)).digest, done.stderr


def _calls_in_the_locale_s_encoding(file: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        keys = {keyword.arg for keyword in node.keywords}
        binary = any("b" in ast.unparse(mode) for mode in node.args[1:2])
        opens = ast.unparse(node.func) == "open" and not binary and "mode" not in keys
        reads = name in ("read_text", "write_text") or opens
        # Text of other programs, too.
        reads |= bool(keys & {"text", "universal_newlines"})
        if reads and "encoding" not in keys:
            found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    return found


def test_every_text_file_is_read_and_written_as_utf_8():
    files = [f for folder in ("nfe", "baselines") for f in ROOT.glob(f"{folder}/**/*.py")]
    files += ROOT.glob("docs/*.py")
    assert [place for file in files for place in _calls_in_the_locale_s_encoding(file)] == []
