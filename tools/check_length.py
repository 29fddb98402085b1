"""Fails for each of our own Python files that is longer than a reader takes in at once."""

import sys
from pathlib import Path

LIMIT = 400
FOLDERS = ("fedcoin", "tests", "tools", "examples")
GENERATED = Path("fedcoin/v1")


def main() -> int:
    """Prints files above the limit; the exit status is 1 if there are any."""
    root = Path(__file__).resolve().parent.parent
    found = 0
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root)
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > LIMIT and not name.is_relative_to(GENERATED):
                print(f"{name}: {lines} lines, at most {LIMIT}: divide it by subject")
                found += 1
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
