"""The benchmark runs, after checking that all compute the same, and keeps its rows."""

import json
import os
import subprocess
import sys

import pytest


def run(*arguments, **environment):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "Elman"])
def test_all_peers_agree_and_are_measured(cell, tmp_path):
    done = run("--suite", "peers", "--peers", "all", "--cells", cell, "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "cpu.json").read_text())["rows"]
    measured = {row["variant"] for row in rows if row["ms"]}
    assert {"rnnjax", "scan", "linen", "nnx", "haiku", "keras", "torch"} <= measured
    assert {row["pass"] for row in rows} == {"forward", "training"}


def test_flax_modules_agree_and_are_measured(tmp_path):
    """With rx.unroll and with the modules that they stand in for."""
    done = run("--suite", "flax", "--cells", "Elman", "--sizes", "100,1,32,32", "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "cpu.json").read_text())["rows"]
    assert {"rx.unroll", "NNX module", "linen module", "nnx", "linen"} <= {row["variant"] for row in rows if row["ms"]}


def test_unknown_names_are_refused_in_a_line(tmp_path):
    for option, value in (("--cells", "GRUU"), ("--sizes", "1,2,3"), ("--peers", "jax"), ("--suite", "all")):
        done = run(option, value, "--out", str(tmp_path))
        assert done.returncode == 2
        assert value in done.stderr
        assert done.stderr.count("\n") == 1
