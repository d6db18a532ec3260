"""The audit of the public code: its departures, its record, and what the document says of it."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from founded import unfounded

from nfe import data as datasets
from nfe import fission
from nfe.common.errors import InputError
from nfe.common.files import csv_bytes, read_json
from nfe.engine.trainer import build_network
from nfe.suite.run import specify

BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import audit  # noqa: E402
import audit_departures as departures  # noqa: E402
import audit_tables as tables  # noqa: E402
from audit_record import Record, read_rows  # noqa: E402

DOCUMENT = ROOT / "docs" / "reference-audit.md"
EMPTY = "No numbers are recorded yet."
FILES = (".csv", "_images.npz", "_differences.csv", ".json")
# Both kinds of exits, pruning, gradient masks, and two tiers, as on photographs.
SMALL = dataclasses.replace(
    audit.TASKS["digits"],
    name="small",
    card=datasets.card("digits", num_classes=3, images_per_class=40),
    precision="bfloat16",
    epochs=1,
    seeds=2,
    separate_heads=True,
    tiers=(
        tuple(departures.SETTINGS[name] for name in ("ours", "b", "ours, snip 0.8", "c")),
        tuple(departures.SETTINGS[name] for name in ("ours, N = 2", "a, N = 2")),
    ),
)


def record(folder: Path) -> Record:
    return Record.read(folder, SMALL.name, SMALL.order)


def made(folder: Path, seeds: int = SMALL.seeds, **options: object) -> int:
    """Make the small task in a folder; return how many runs are missing."""
    missing: int = audit.make(SMALL, seeds, record(folder), audit.Images(), **options)
    return missing


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pooled")
    assert made(folder, workers=2) == 0
    return folder


# --- Making --------------------------------------------------------------------------------


def test_pooled_runs_are_those_of_one_after_the_other(pooled: Path) -> None:
    found = record(pooled)
    data = datasets.load(SMALL.card)
    audit.prepare_process(1, SMALL.precision)
    for name, seed in itertools.product(SMALL.order, range(2)):
        outcome = audit.run(SMALL, data, data, departures.SETTINGS[name], seed)
        row = {key: str(value) for key, value in outcome.row.items()}
        assert found.rows[name, seed] == row
        for column, values in found.images[name, seed].items():
            assert np.array_equal(values, outcome.per_image[column])


def test_heads_drawn_separately_are_those_of_the_method(tmp_path: Path) -> None:
    """Ours is what ``nfe`` trains: the costs and the start are the registered method's."""
    data = datasets.load(SMALL.card)
    built: list[departures.Built] = []

    def build(start: departures.Start, exits: int) -> departures.Built:
        built.append(departures.ours(start, exits))
        return built[0]

    still = dataclasses.replace(SMALL, recipe=dataclasses.replace(SMALL.recipe, lr=1e-30))
    setting = dataclasses.replace(departures.SETTINGS["ours"], build=build)
    audit.run(still, data, data, setting, 0)
    run = specify(
        dataset="digits",
        num_classes=3,
        images_per_class=40,
        architecture_name="wrn-10-1",
        method="nfe",
        epochs=1,
    )
    expected, _ = build_network(run, run.build_method(), data)
    for (name, mine), (_, other) in zip(
        built[0].network.named_parameters(), expected.named_parameters(), strict=True
    ):
        assert torch.allclose(mine, other, rtol=0, atol=1e-20), name


def test_seeds_of_a_tier_come_first_and_the_table_has_its_order(pooled: Path) -> None:
    first, second = ([s.name for s in tier] for tier in SMALL.tiers)
    wanted = [*itertools.product((0, 1), first), *itertools.product((0, 1), second)]
    assert [(seed, name) for name, seed in SMALL.runs(2)] == wanted
    rows = [(row["setting"], int(row["seed"])) for row in read_rows(pooled / "audit_small.csv")]
    assert rows == list(itertools.product([*first, *second], (0, 1)))


def test_after_a_cut_the_same_command_goes_on(
    tmp_path: Path, pooled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made(tmp_path, seconds=0) == 12
    assert read_rows(tmp_path / "audit_small.csv") == []
    add = Record.add

    def add_and_die(self: Record, *run: object) -> None:
        add(self, *run)
        if len(self.rows) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Record, "add", add_and_die)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path)
    stands = record(tmp_path).rows
    assert list(stands) == [("ours", 0), ("b", 0), ("ours, snip 0.8", 0)]
    added: list[tuple[str, int]] = []

    def add_and_tell(self: Record, row: dict[str, object], *images: object) -> None:
        added.append((row["setting"], row["seed"]))
        add(self, row, *images)

    monkeypatch.setattr(Record, "add", add_and_tell)
    assert made(tmp_path) == 0
    assert added == [key for key in SMALL.runs(2) if key not in stands]
    for end in FILES:
        name = f"audit_small{end}"
        assert (tmp_path / name).read_bytes() == (pooled / name).read_bytes(), name


def test_further_seeds_are_added_to_what_stands(tmp_path: Path, pooled: Path) -> None:
    assert made(tmp_path, seeds=1) == 0
    before = (tmp_path / "audit_small.csv").read_text().splitlines()
    assert len(before) == 7
    assert made(tmp_path) == 0
    after = (tmp_path / "audit_small.csv").read_text().splitlines()
    assert {*before} < {*after}
    assert read_json(tmp_path / "audit_small.json")["configuration"]["seeds"] == [0, 1]
    # Fewer asked for: nothing is taken away.
    assert made(tmp_path, seeds=1) == 0
    assert (tmp_path / "audit_small.csv").read_text().splitlines() == after


def test_a_row_without_its_images_is_made_again(tmp_path: Path, pooled: Path) -> None:
    for end in (".csv", ".json"):
        (tmp_path / f"audit_small{end}").write_bytes((pooled / f"audit_small{end}").read_bytes())
    assert record(tmp_path).rows == {}


def test_what_was_made_otherwise_is_not_mixed_in(pooled: Path, tmp_path: Path) -> None:
    for end in FILES:
        (tmp_path / f"audit_small{end}").write_bytes((pooled / f"audit_small{end}").read_bytes())
    longer = dataclasses.replace(SMALL, epochs=2)
    with pytest.raises(InputError, match="epochs is 2 and what stands there was made with 1"):
        audit.make(longer, 3, record(tmp_path), audit.Images())
    about = read_json(tmp_path / "audit_small.json")
    with pytest.raises(InputError, match="device_name is 'another'"):
        record(tmp_path).begin(
            about["configuration"], {**about["environment"], "device_name": "another"}
        )


def test_the_command_line(
    tmp_path: Path,
    pooled: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(audit.TASKS, "small", SMALL)
    for end in FILES:
        (tmp_path / f"audit_small{end}").write_bytes((pooled / f"audit_small{end}").read_bytes())
    document = tmp_path / "document.md"
    document.write_text("before\n<!-- table: small -->\nold\n<!-- end of the table -->\nafter\n")
    command = ["small", "--output", str(tmp_path), "--seeds", "2"]
    assert audit.main([*command, "--document", str(document)]) == 0
    assert audit.main(command) == 0
    table = capsys.readouterr().out
    assert document.read_text() == (
        f"before\n<!-- table: small -->\n{table}<!-- end of the table -->\nafter\n"
    )
    # Three of ours with their departures, f where nothing is pruned.
    assert [line.split(" | ")[0][2:] for line in table.splitlines()[2:]] == [
        "ours, N = 3",
        "b. three independent draws",
        "f. best epoch on the test set",
        "ours, N = 2, SNIP at 80 %",
        "c. SNIP scores of another network",
        "ours, N = 2",
        "a. masked weights never zeroed",
        "f. best epoch on the test set",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bundle", "none.npz"], "none.npz: no such file"),
        (["--data-root", "nowhere"], "nowhere"),
        (["--workers", "0"], "workers is 0: allowed: whole numbers from 1"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as end:
        audit.main(["tiny-imagenet", "--output", str(tmp_path), *options])
    # What a process that ends so writes to its error stream, and its status is 1.
    assert isinstance(end.value.code, str)
    assert message in end.value.code
    assert "\n" not in end.value.code
    assert capsys.readouterr().err == ""


def test_a_process_that_ends_by_a_mistake_says_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/audit.py", "tiny-imagenet", "--output", str(tmp_path)]
    failed = subprocess.run(
        [*command, "--seeds", "0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert failed.stderr == "audit.py: error: seeds is 0: allowed: whole numbers from 1\n"


# --- Departures ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def start() -> departures.Start:
    return departures.Start("wrn-10-1", datasets.load(SMALL.card), 0)


def one_step(built: departures.Built, start: departures.Start) -> dict[str, torch.Tensor]:
    """Return each parameter's change after a step without decay."""
    before = {n: p.detach().clone() for n, p in built.network.named_parameters()}
    once = dataclasses.replace(
        SMALL,
        precision="float32",
        recipe=dataclasses.replace(SMALL.recipe, weight_decay=0.0, batch_size=64),
    )
    audit.train(once, built, start.data, start.seed)
    return {n: p.detach() - before[n] for n, p in built.network.named_parameters()}


def test_stale_weights_start_at_random_values_and_get_no_gradient(start: departures.Start) -> None:
    built = departures.stale_weights(start, 3)
    first = dict(start.backbone().named_parameters())["stages.2.0.conv1.weight"]
    names = [f"stages.2.{path}.0.conv1.weight" for path in (1, 2, 3)]
    for name in names:
        assert torch.equal(built.network.get_parameter(name), first)
    assert torch.equal(sum(built.masks[name].int() for name in names), torch.ones_like(first).int())
    changes = one_step(built, start)
    for name, mask in built.masks.items():
        assert not changes[name][~mask].any(), name
        assert changes[name][mask].any(), name


def test_independent_draws_overlap_and_ascend(start: departures.Start) -> None:
    masks = departures.independent_draws(start, 3).masks
    one, two, three = (
        torch.cat([m.flatten() for n, m in masks.items() if n.startswith(f"stages.2.{path}.")])
        for path in (1, 2, 3)
    )
    assert torch.equal(two, 1 - one - three)
    shares = [float((two == value).float().mean()) for value in (-1, 0, 1)]
    assert shares == pytest.approx([1 / 9, 4 / 9, 4 / 9], abs=0.02)
    held = sum(float((mask != 0).float().mean()) for mask in (one, two, three))
    assert held == pytest.approx(11 / 9, abs=0.03)


def test_unrelated_scores_keep_as_many_weights_and_others(start: departures.Start) -> None:
    kept, ours = (
        torch.cat(
            [split.group.flatten() != 0 for split in build(start, 2).network.weights.values()]
        )
        for build in (departures.unrelated_scores, departures.ours_snip)
    )
    assert int(kept.sum()) == int(ours.sum())
    # Of a fifth of the weights, a fifth in common is what chance gives.
    assert float((kept & ours).sum() / ours.sum()) < 0.6


def test_the_other_departures_change_one_thing_each(start: departures.Start) -> None:
    ours = departures.ours(start, 3).network
    late = departures.late_stride(start, 3).network
    for name, module in late.named_modules():
        if name.startswith("stages") and name.endswith(("conv1", "conv2")):
            twin = name[:-1] + {"1": "2", "2": "1"}[name[-1]]
            assert module.stride == ours.get_submodule(twin).stride
    momentum = departures.last_batch_statistics(start, 3).network
    assert [head[0].momentum for head in momentum.heads] == [0.9] * 3
    whole = departures.whole_shortcuts(start, 3).network
    pointwise = sum(
        (paths - 1) * layer.weight.numel()
        for paths, stage in zip((1, 2, 3), start.backbone().stages, strict=True)
        for layer in stage.modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.kernel_size == (1, 1)
    )
    count = audit.cost.parameters
    assert count(whole) - count(ours) == pointwise
    for network in (momentum, late):
        assert count(network) == count(ours)
        for mine, other in zip(network.parameters(), ours.parameters(), strict=True):
            assert torch.equal(mine, other)


def test_ours_is_fission_of_the_same_network(start: departures.Start) -> None:
    for exits in (2, 3):
        expected = fission(start.backbone(), exits, seed=0)
        for mine, other in zip(
            departures.ours(start, exits).network.parameters(), expected.parameters(), strict=True
        ):
            assert torch.equal(mine, other)


# --- What is released ----------------------------------------------------------------------


@pytest.mark.parametrize("name", audit.TASKS)
def test_the_document_shows_what_the_tables_say(name: str) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = read_rows(BENCHMARKS / f"audit_{name}.csv")
    differences = read_rows(BENCHMARKS / f"audit_{name}_differences.csv")
    table = tables.markdown(rows, differences) if rows else EMPTY
    assert tables.filled(text, name, table) == text


@pytest.mark.parametrize("name", audit.TASKS)
def test_released_differences_are_those_of_the_released_runs(name: str) -> None:
    found = Record.read(BENCHMARKS, name, audit.TASKS[name].order)
    if not found.path("_images.npz").exists():
        pytest.skip("what its runs make of each image is not recorded")
    assert len(found.rows) == len(read_rows(found.path(".csv")))
    expected = csv_bytes(tables.DIFFERENCE_COLUMNS, tables.difference_rows(found))
    assert found.path("_differences.csv").read_bytes() == expected
    about = read_json(found.path(".json"))["configuration"]
    assert about == audit.TASKS[name].configuration(len(about["seeds"]))


def test_every_number_told_of_photographs_is_in_their_tables() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text.partition("## On photographs")[2].partition("\n## ")[0]
    assert section
    begin, end = "<!-- table: tiny-imagenet -->", "<!-- end of the table -->"
    prose = section.partition(begin)[0] + section.partition(end)[2]
    assert unfounded(prose.replace("\n", " ")) == []
