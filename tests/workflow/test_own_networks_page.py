"""docs/own-networks.md: its commands, from an empty folder to two pages."""

import re
import shlex
import shutil

import pandas as pd
import pytest
from own_pages import blocks, executed, read

PAGE = read("own-networks.md")


@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path):
    for text in [*blocks(PAGE, "python"), *blocks(PAGE, "yaml")]:
        if match := re.match(r"# ([\w./-]+\.(py|yaml))\n", text):
            path = tmp_path / match[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    shutil.rmtree(tmp_path / "my_package")
    said = [
        executed(shlex.split(line), tmp_path)
        for block in blocks(PAGE, "sh")
        for line in block.splitlines()
    ]
    assert "my_nets sha256:" in said[0]
    assert "stages blocks.0 blocks.1 blocks.2" in said[0]
    assert re.search(r"\| `nfe` \| works \|", said[1])
    assert "its classifier left out" in said[6]
    for suite in ("my-backbone", "fine-tune"):
        assert (tmp_path / "results" / suite / "index.html").exists()
    rows = pd.read_csv(tmp_path / "results" / "fine-tune" / "summary.csv")
    accuracy = rows.set_index(["method", "architecture"])["accuracy_mean"].unstack()
    print(accuracy)
    assert set(accuracy.index) == {"single", "deep_ensemble", "nfe"}
    assert (accuracy["small-tuned"] > accuracy["small"]).all()
