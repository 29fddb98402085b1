"""Writes proto/vectors/*.json: the specification's examples, which implementations in every language run.

python tools/make_vectors.py           writes them
python tools/make_vectors.py --check   fails if they differ from what is committed
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
for folder in (str(ROOT), str(ROOT / "tools")):
    if folder not in sys.path:
        sys.path.insert(0, folder)

from vectorlib import block_values, core_values, money_values, sampler_values, shapley_values  # noqa: E402

VECTORS = ROOT / "proto" / "vectors"
FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "keys_addresses.json": core_values.keys_addresses,
    "signatures.json": core_values.signatures,
    "transactions.json": core_values.transactions,
    "encodings.json": core_values.encodings,
    "merkle.json": core_values.merkle,
    "permutations.json": shapley_values.permutations,
    "leaves_estimates.json": shapley_values.leaves_estimates,
    "samplers.json": sampler_values.samplers,
    "prices_settlement.json": money_values.prices_settlement,
    "difficulty.json": money_values.difficulty,
    "blocks.json": block_values.blocks,
}


def render(name: str) -> str:
    """The text of one file."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"


def stale() -> list[str]:
    """Names of files that are missing, differ, or should not be there."""
    wrong = [name for name in FILES if not _same(VECTORS / name, render(name))]
    return wrong + sorted(path.name for path in VECTORS.glob("*.json") if path.name not in FILES)


def main() -> None:
    """Writes or checks the files."""
    if "--check" in sys.argv[1:]:
        wrong = stale()
        if wrong:
            raise SystemExit(f"stale vectors: {', '.join(wrong)}; run tools/make_vectors.py and review the difference")
        return
    VECTORS.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (VECTORS / name).write_text(render(name), encoding="utf-8")


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()
