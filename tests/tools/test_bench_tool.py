"""tools/bench_evaluator.py as a person runs it."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments):
    command = [sys.executable, str(ROOT / "tools" / "bench_evaluator.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=dict(os.environ))


@pytest.fixture(scope="module")
def speed(cache, problem, tmp_path_factory):
    """A whole run of the first mode on the tiny workload."""
    path = tmp_path_factory.mktemp("reports") / "bench.json"
    done = run("--workload", "tiny", "--threads", 1, "--repeats", 2, "--cache", cache, "--json", path)
    assert done.returncode == 0, done.stderr
    return done, json.loads(path.read_text())


def test_report_has_every_figure_the_documentation_names(speed):
    figures = speed[1]["workloads"]["tiny"]
    for name in ("algorithm1_s", "fedcoin_s", "ratio", "bound_s", "share_of_bound", "peak_rss_bytes", "load_s"):
        assert figures[name] > 0, name
    assert figures["ratio"] == pytest.approx(figures["algorithm1_s"] / figures["fedcoin_s"])
    assert (figures["clients"], figures["images"], figures["iterations_per_call"]) == (4, 200, 256)
    assert len(figures["rounds"]["seconds"]["fedcoin"]) == len(figures["rounds"]["rates"]) == 2


def test_evaluator_counts_as_algorithm_1_does_and_repeats_to_the_bit(speed):
    figures = speed[1]["workloads"]["tiny"]
    assert figures["prefixes_compared"] >= 1000
    assert figures["max_count_difference"] <= 1
    assert figures["bit_identical"] is True


def test_library_that_is_not_there_is_null_and_said_so(speed):
    done, report = speed
    for library in ("pydvl", "shapiq"):
        absent = find_spec(library) is None
        assert (report["workloads"]["tiny"][f"{library}_s"] is None) is absent
        assert (f"{library} is not installed" in done.stderr) is absent


def test_table_is_printed_with_the_machine(speed):
    done, report = speed
    assert report["machine"]["cpu"] in done.stdout
    assert report["machine"]["threads"] == 1
    assert "| tiny " in done.stdout


def test_second_mode_reports_every_sampler(cache, problem, tmp_path):
    path = tmp_path / "samplers.json"
    done = run(
        *("--samplers", "--workload", "tiny", "--cache", cache, "--json", path, "--threads", 1),
        *("--miners", 2, "--iterations", 64, "--longest", 128),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(path.read_text())["samplers"]["tiny"]
    assert figures["reference"] == {"how": "all coalitions", "standard_error": 0.0}
    assert set(figures["samplers"]) | set(figures["refused"]) == {"PERMUTATION", "ANTITHETIC", "HYBRID", "EXACT"}
    for found in figures["samplers"].values():
        assert found["curve"][0]["iterations"] == 1
        assert found["curve"][0]["error"] > found["curve"][-1]["error"] >= 0
    assert "permutation" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workload", "W7"], "'W7' is not one of W10, W100"),
        (["--workload", "tiny", "--workload", "TINY"], "named twice"),
        (["--threads", "0"], "'0' is not a whole number from 1"),
        (["--repeats", "many"], "'many' is not a whole number from 1"),
        (["--seed", "-1"], "-1"),
        (["--device", "gpu"], "'gpu' is not auto, cpu, cuda"),
        (["--data-root", "no/such/folder"], "no/such/folder is not a folder"),
        (["--json", str(ROOT / "README.md" / "x.json")], "x.json cannot be written"),
        (["--json", str(ROOT)], "cannot be written"),
        (["--quik"], "--quik"),
    ],
)
def test_bad_flag_gets_one_clear_line(arguments, message, capsys):
    from benchlib.options import read_options

    with pytest.raises(SystemExit) as stopped:
        read_options(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_folder_without_mnist_is_an_error_without_a_traceback(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"not images")
    done = run("--workload", "tiny", "--cache", tmp_path / "cache", "--data-root", tmp_path)
    assert done.returncode == 1
    assert "DATASET" in done.stderr
    assert "Traceback" not in done.stderr
