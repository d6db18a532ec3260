"""The command line: bad input gets one clear line and a non-zero exit before any training."""

import json

import pytest

from nfe.cli.main import main

RUN = {
    "--dataset": "digits",
    "--architecture": "wrn-10-1",
    "--method": "nfe",
    "--epochs": "1",
    "--seed": "0",
}


@pytest.mark.parametrize(
    ("changed", "more", "message"),
    [
        ({"--dataset": "digts"}, [], "unknown data set 'digts': did you mean 'digits'?"),
        ({"--architecture": "wrn-12-1"}, [], "depth must be 6n + 4"),
        ({"--architecture": "resnet"}, [], "unknown architecture 'resnet'"),
        ({"--method": "nef"}, [], "did you mean 'nfe'?"),
        ({"--seed": "1.5"}, [], "seed is '1.5': allowed: whole numbers from 0"),
        ({"--seed": "x"}, [], "seed is 'x'"),
        ({"--epochs": "0"}, [], "epochs is '0'"),
        ({}, ["--set", "sparsty=0.5"], "did you mean 'sparsity'?"),
        ({}, ["--set", "pruning=snap"], "did you mean 'snip'?"),
        ({}, ["--set", "pruning=snip", "sparsity=1"], "sparsity is '1': allowed: numbers from 0"),
        ({}, ["--set", "pruning=snip", "sparsity=-0.1"], "sparsity is '-0.1'"),
        ({}, ["--set", "sparsity=0.5"], "with pruning 'none'"),
        ({}, ["--set", "exits=4"], "exits is 4: allowed: 1 to 3"),
        ({}, ["--set", "exits=0"], "exits is '0'"),
        ({}, ["--set", "exits=2", "ratio=0.4/0.5"], "sum 0.9: allowed: a sum of 1"),
        ({}, ["--set", "exits=2", "ratio=0.4"], "one per exit"),
        ({}, ["--set", "exits"], "'exits': allowed: key=value"),
        ({}, ["--recipe", "batch_size=501"], "batch_size is 501: allowed: 1 to 500"),
        ({}, ["--resolution", "32"], "no resolution 32: allowed: 8"),
        ({}, ["--precision", "float17"], "unknown precision 'float17'"),
        ({}, ["--protocol", "fair"], "unknown protocol 'fair'"),
    ],
)
def test_bad_input_is_one_line(changed, more, message, tmp_path, capsys):
    output = tmp_path / "run"
    arguments = [part for pair in {**RUN, **changed}.items() for part in pair]
    assert main(["train", *arguments, *more, "--output", str(output)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(output.glob("*"))


@pytest.mark.parametrize("parent", ["/proc", "file"])
def test_an_unwritable_output_is_one_line(parent, tmp_path, capsys):
    (tmp_path / "file").touch()
    output = tmp_path / parent / "run"
    arguments = [part for pair in RUN.items() for part in pair]
    assert main(["train", *arguments, "--output", str(output)]) == 2
    said = capsys.readouterr().err
    assert "cannot write there" in said
    assert said.count("\n") == 1


def test_lists_can_be_read_by_programs(capsys):
    assert main(["list", "methods", "--json"]) == 0
    assert {"single", "deep_ensemble", "nfe"} <= set(json.loads(capsys.readouterr().out))
    assert main(["list", "pruning"]) == 0
    assert "snip" in capsys.readouterr().out.split()


def test_plan_counts_the_runs(capsys):
    assert main(["plan", "--config", "config/quick.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    runs = [line for line in lines if line.endswith("]")]
    assert lines[: len(runs)] == runs
    assert lines[-1].startswith(f"{len(runs)} runs: ")
    assert main(["plan", "--config", "config/quick.yaml", "--summary"]) == 0
    assert capsys.readouterr().out.splitlines() == lines[len(runs) :]


def test_an_unknown_gpu_is_one_line(capsys):
    assert main(["plan", "--config", "config/quick.yaml", "--gpu", "a10"]) == 2
    said = capsys.readouterr().err
    assert "unknown GPU" in said
    assert "did you mean 'a100'?" in said
    assert said.count("\n") == 1


def test_figures_of_nothing_are_refused(tmp_path, capsys):
    common = ["--runs", str(tmp_path / "runs.csv"), "--output", str(tmp_path)]
    assert main(["figure", "pia", *common]) == 2
    assert "did you mean 'pai'?" in capsys.readouterr().err
    assert main(["figure", "pai", *common]) == 2
    assert "no such file" in capsys.readouterr().err
    common = ["--runs", "results/tuning/runs.csv", "--output", str(tmp_path / "drawn")]
    assert main(["figure", *common]) == 2
    assert "allowed: runs of group headline" in capsys.readouterr().err
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", '"', "\x00\xff"])
@pytest.mark.parametrize("command", ["figure", "tune", "diff"])
def test_files_that_are_no_tables_are_one_line(command, content, tmp_path, capsys):
    runs = tmp_path / "runs.csv"
    runs.write_bytes(content.encode("latin-1"))
    options = ["--runs", str(runs), "--output", str(tmp_path / "new")]
    arguments = {
        "figure": ["figure", "pai", *options],
        "tune": ["tune", *options],
        "diff": ["diff", str(tmp_path), str(tmp_path)],
    }
    assert main(arguments[command]) == 2
    said = capsys.readouterr().err
    assert "runs.csv: not a table of runs" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, capsys):
    table = ",".join(("method", "lr", "weight_decay", "heldout_nll", "status", "dataset"))
    table += ",resolution,architecture,epochs,seed,recipe\n"
    table += "single,0.1,0.1,1,ok,digits,8,wrn-10-1,1,0,{}\n"
    (tmp_path / "runs.csv").write_text(table)
    output = tmp_path / "absent" / "tuned.yaml"
    assert main(["tune", "--runs", str(tmp_path / "runs.csv"), "--output", str(output)]) == 1
    said = capsys.readouterr().err
    assert "absent" in said
    assert "No such file or directory" in said
    assert said.count("\n") == 1
