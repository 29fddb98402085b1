"""`make faults`: the long form of the tests that let real processes fail, and a table of what was seen.

The tests are those of `make test` (tests/functional/test_kills.py, test_disk.py, test_links.py) with more rounds,
longer pauses, longer chains and every kind of damage.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = ("test_kills.py", "test_disk.py", "test_links.py")


def main() -> int:
    """Runs the tests; the exit status is pytest's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=200, help="how often a role is killed (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="which roles at which moments (default 1)")
    parser.add_argument("--only", default="", help="a pytest expression, such as kill or damaged")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        environment = {
            **os.environ,
            "FAULTS_LONG": "1",
            "FAULTS_REPORT": str(report),
            "FAULT_KILLS": str(arguments.kills),
            "FAULT_SEED": str(arguments.seed),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [f"tests/functional/{name}" for name in FILES]
        command += ["-k", arguments.only] if arguments.only else []
        began = time.monotonic()
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        print(f"\nafter {time.monotonic() - began:.0f} s, exit status {status}:")
        for line in report.read_text(encoding="utf-8").splitlines() if report.exists() else ():
            row = json.loads(line)
            print(f"  {row['test'].removeprefix('test_').replace('_', ' ')}\n      {row['seen']}")
    return status


if __name__ == "__main__":
    sys.exit(main())
