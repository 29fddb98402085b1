"""The command line of tools/bench_evaluator.py."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchlib.machine import cores
from benchlib.measure import Settings
from benchlib.sampler_error import Plan
from benchlib.workloads import DEFAULT, WORKLOADS, Workload, find_workload

_QUICK_IMAGES, _QUICK_SAMPLES, _QUICK_PASSES = 1_000, 100, 2
_MOST_THREADS = 1_024

_DESCRIPTION = """\
Measures iterations per second of Algorithm 1 as written, pyDVL, shapiq and this evaluator, in one run, in turn. With
--samplers it measures how the error of each sampler falls with the number of iterations instead. The first run trains
the clients, which takes minutes; --cache keeps them.
"""


@dataclass(frozen=True)
class Options:
    """What to do."""

    settings: Settings
    workloads: tuple[Workload, ...]
    samplers: bool
    plan: Plan
    quick: bool
    json: Path | None
    plots: Path | None


def read_options(arguments: list[str] | None = None) -> Options:
    """From the command line. Ends the program with status 2 and a line that says what is wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    default = ("W100",) if given.samplers else DEFAULT
    workloads = tuple(given.workload or (WORKLOADS[name] for name in default))
    if len({workload.name for workload in workloads}) < len(workloads):
        parser.error("a workload is named twice")
    if given.quick:
        workloads = tuple(map(_quick, workloads))
    for path in (given.data_root,):
        if path is not None and not path.is_dir():
            parser.error(f"--data-root: {path} is not a folder")
    for flag, path in (("--json", given.json), ("--cache", given.cache), ("--plots", given.plots)):
        if path is not None and not _writable(path, folder=flag != "--json"):
            parser.error(f"{flag}: {path} cannot be written")
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("--device: there is no CUDA device: use cpu, or auto")
    repeats = given.repeats or (2 if given.quick else 7)
    settings = Settings(given.threads, repeats, given.seed, given.device, given.cache, given.data_root)
    scale = 16 if given.quick else 1
    plan = Plan(
        miners=given.miners,
        iterations=given.iterations or 512 // scale,
        reference=given.reference or 10_240 // scale,
        longest=given.longest or 4_608 // scale,
    )
    return Options(settings, workloads, given.samplers, plan, given.quick, given.json, given.plots)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench_evaluator.py", description=_DESCRIPTION)
    add = parser.add_argument
    names = ", ".join(WORKLOADS)
    add("--workload", action="append", type=_workload, metavar="NAME", help=f"one of {names}; can be repeated")
    add("--data-root", type=Path, metavar="DIR", help="a folder with MNIST's four IDX files; else images are made up")
    add("--threads", type=_count(_MOST_THREADS), default=cores(), metavar="N", help="CPU threads (default: all cores)")
    add("--repeats", type=_count(1_000), metavar="N", help="rounds of which the median counts (default 7)")
    add("--seed", type=_seed, default=0, metavar="N", help="of made-up images, training and ranks (default 0)")
    add("--device", type=_device, default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:<index> (default auto)")
    add("--quick", action="store_true", help="fewer images, passes and rounds: to see that it works")
    add("--json", type=Path, metavar="FILE", help="write the figures there")
    add("--plots", type=Path, metavar="DIR", help="write plots (SVG) there; needs matplotlib")
    add("--cache", type=Path, default=Path("runs/bench"), metavar="DIR", help="trained clients (default runs/bench)")
    add("--samplers", action="store_true", help="the error of samplers against the number of iterations")
    add("--miners", type=_count(1_000), default=4, metavar="N", help="with --samplers: independent runs (default 4)")
    add("--iterations", type=_count(10**7), metavar="N", help="with --samplers: of each run (default 512)")
    add("--reference", type=_count(10**7), metavar="N", help="with --samplers: of the reference (default 10240)")
    add("--longest", type=_count(10**7), metavar="N", help="with --samplers: of the long run, at most (default 4608)")
    return parser


def _quick(workload: Workload) -> Workload:
    return replace(
        workload,
        images=min(workload.images, _QUICK_IMAGES),
        samples=min(workload.samples, _QUICK_SAMPLES),
        passes=min(workload.passes, _QUICK_PASSES),
    )


def _workload(name: str) -> Workload:
    found = find_workload(name)
    if found is None:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(WORKLOADS)}")
    return found


class _count:  # noqa: N801  (argparse shows its name)
    """A number of things, from 1."""

    def __init__(self, most: int) -> None:
        self._most = most

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = 0
        if not 1 <= value <= self._most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {self._most}")
        return value


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def _device(text: str) -> str:
    kind, colon, index = text.partition(":")
    if text not in ("auto", "cpu", "cuda") and not (kind == "cuda" and colon and index.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu, cuda or cuda:<index>")
    return text


def _writable(path: Path, folder: bool) -> bool:
    """Whether a file or folder of that name can be made, without making it."""
    if path.exists() and path.is_dir() != folder:
        return False
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return place.is_dir() if folder or place != path.absolute() else place.is_file()
