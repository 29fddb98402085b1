"""Measures the evaluator: how fast, against whom, how near to the machine's limit, and how soon samplers converge.

    python tools/bench_evaluator.py --json runs/bench.json
    python tools/bench_evaluator.py --samplers --json runs/bench-samplers.json

`make bench` and `make bench-samplers` do so with pyDVL, shapiq and matplotlib installed. What the figures mean is in
docs/performance.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
for folder in (str(ROOT), str(ROOT / "tools")):
    if folder not in sys.path:
        sys.path.insert(0, folder)

from benchlib.libraries import LIBRARIES, installed  # noqa: E402
from benchlib.machine import describe_machine  # noqa: E402
from benchlib.measure import measure_workload  # noqa: E402
from benchlib.miner import engine_name  # noqa: E402
from benchlib.options import Options, read_options  # noqa: E402
from benchlib.problem import prepare_problem, show_progress  # noqa: E402
from benchlib.report import rates_line, sampler_table, table, write_json  # noqa: E402
from benchlib.sampler_error import measure_samplers  # noqa: E402

from fedcoin.core.errors import FedCoinError  # noqa: E402
from fedcoin.learning.device import limit_threads  # noqa: E402

SCHEMA = 1


def main(arguments: list[str] | None = None) -> int:
    """Runs what the command line asks for; the exit status."""
    options = read_options(arguments)
    limit_threads(options.settings.threads)
    plots = options.plots
    if plots is not None and not installed("matplotlib"):
        print("matplotlib is not installed: there will be no plots (make bench installs it)", file=sys.stderr)
        plots = None
    try:
        report = _samplers(options) if options.samplers else _speed(options)
        if options.json is not None:
            write_json(options.json, report)
            print(f"\nfigures: {options.json}")
        if plots is not None:
            from benchlib.plots import plot

            print("plots: " + ", ".join(str(path) for path in plot(report, plots)))
    except FedCoinError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1
    except (OSError, RuntimeError) as error:
        print(f"bench_evaluator.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def _speed(options: Options) -> dict[str, Any]:
    """The first mode."""
    settings = options.settings
    for library in LIBRARIES:
        if not installed(library):
            print(f"{library} is not installed: its figures are null (make bench installs it)", file=sys.stderr)
    workloads: dict[str, Any] = {}
    for workload in options.workloads:
        problem = prepare_problem(workload, settings.cache, settings.data_root, settings.seed, show_progress)
        workloads[workload.name] = measure_workload(problem, settings, show_progress)
        show_progress(f"{workload.describe()}: done.")
    print(f"\n{_heading(options)}; time of one iteration, medians of {settings.repeats} rounds\n")
    print(table(workloads))
    print(f"\n{rates_line(workloads)}")
    return {**_head(options), "workloads": workloads}


def _samplers(options: Options) -> dict[str, Any]:
    """The second mode."""
    settings = options.settings
    workloads: dict[str, Any] = {}
    for workload in options.workloads:
        problem = prepare_problem(workload, settings.cache, settings.data_root, settings.seed, show_progress)
        evaluator = problem.evaluator(settings.device)
        figures = measure_samplers(evaluator, options.plan, show_progress)
        workloads[workload.name] = {**figures, "engine": engine_name(evaluator)}
        show_progress(f"{workload.describe()}: done.")
        print(f"\n{_heading(options)}; {workload.describe()}, reference: {figures['reference']['how']}\n")
        print(sampler_table(figures))
    return {**_head(options), "samplers": workloads}


def _head(options: Options) -> dict[str, Any]:
    settings = options.settings
    return {
        "schema": SCHEMA,
        "machine": describe_machine(settings.threads),
        "device": settings.device,
        "images": "made up" if settings.data_root is None else "MNIST",
        "quick": options.quick,
        "repeats": settings.repeats,
        "seed": settings.seed,
    }


def _heading(options: Options) -> str:
    machine = describe_machine(options.settings.threads)
    images = "made-up images" if options.settings.data_root is None else "MNIST"
    return f"{machine['cpu']}, {options.settings.threads} threads of {machine['cores']} cores, {images}"


if __name__ == "__main__":
    sys.exit(main())
