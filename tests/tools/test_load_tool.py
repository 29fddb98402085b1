"""tools/load.py as a person runs it, on a tiny network of real miners."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, scratch):
    command = [sys.executable, str(ROOT / "tools" / "load.py"), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "TMPDIR": str(scratch)}
    )


@pytest.mark.functional
@pytest.mark.xdist_group("processes")
@pytest.mark.timeout(280)
def test_a_tiny_load_is_accepted_mined_and_measured(tmp_path):
    report_path, plot, scratch = tmp_path / "load.json", tmp_path / "load.svg", tmp_path / "scratch"
    scratch.mkdir()
    done = run(
        *("--miners", 2, "--seconds", 4, "--warm-up", 1, "--rate", 40, "--accounts", 50, "--audit-interval-ms", 500),
        *("--batch", 4, "--json", report_path, "--plot", plot, "--quiet"),
        scratch=scratch,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(report_path.read_text())
    assert report["rates"]["accepted"] > 0
    assert report["end"]["lost"] == 0
    assert report["end"]["agree"] is True
    assert report["end"]["height"] >= 1
    assert report["status"]["count"] > 0
    assert report["status"]["p50_s"] <= report["status"]["p99_s"] <= report["status"]["most_s"]
    for name in ("miner-0", "miner-1", "miner-0 evaluator", "load generator"):
        figures = report["processes"][name]
        assert figures["rss_most"] >= figures["rss_first"] > 0
        assert figures["handles_most"] > 0
    assert "accepted transactions lost | 0 |" in done.stdout
    assert plot.read_text().count("<polyline") >= 6
    assert not list(scratch.glob("fedcoin-*")), "keys, chains and logs are gone"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--miners", "1"], "2 at least"),
        (["--seconds", "0"], "positive number"),
        (["--rate", "-1"], "not negative"),
        (["--batch", "257"], "256 at most"),
        (["--profile"], "needs --folder"),
    ],
)
def test_bad_flag_gets_one_clear_line(arguments, message, capsys):
    from loadlib.options import read_options

    with pytest.raises(SystemExit) as stopped:
        read_options(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_percentiles_and_rates_are_what_they_say():
    from loadlib.plot import _rates
    from loadlib.report import percentile, spread

    assert percentile([], 0.5) is None
    assert percentile([float(number) for number in range(100)], 0.99) == 99.0
    assert spread([0.1, 0.2, 0.3])["most_s"] == 0.3
    assert _rates([(0.0, 0), (10.0, 100), (20.0, 400)], window=15.0) == [(10.0, 10.0), (20.0, 30.0)]
