"""Generates the gRPC stubs in fedcoin/v1 from proto/fedcoin/v1; with --check, fails if the committed ones are stale.

python tools/gen_protos.py            write the stubs
python tools/gen_protos.py --check    compare them with a fresh generation, change nothing
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("fedcoin", "v1")
INIT = '"""Protobuf messages and gRPC stubs of package fedcoin.v1, written by tools/gen_protos.py. Do not edit."""\n'


def generate(target: Path) -> None:
    """Writes all stubs under `target`/fedcoin/v1. Raises SystemExit if protoc refuses a file."""
    from grpc_tools import protoc  # type: ignore[import-untyped]

    sources = sorted(path.relative_to(ROOT / "proto").as_posix() for path in (ROOT / "proto" / PACKAGE).glob("*.proto"))
    arguments = [
        "protoc",
        f"--proto_path={ROOT / 'proto'}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--python_out={target}",
        f"--pyi_out={target}",
        f"--grpc_python_out={target}",
        *sources,
    ]
    (target / PACKAGE).mkdir(parents=True, exist_ok=True)
    if protoc.main(arguments):
        raise SystemExit("protoc refused the protocol files; see above")
    # A grpc stub of a file without a service holds nothing.
    for stub in (target / PACKAGE).glob("*_pb2_grpc.py"):
        if not stub.name.endswith("_service_pb2_grpc.py"):
            stub.unlink()
    (target / PACKAGE / "__init__.py").write_text(INIT)


def stubs(folder: Path) -> dict[str, bytes]:
    """File name → content of each stub in `folder`."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in {".py", ".pyi"}}


def stale(committed: dict[str, bytes], fresh: dict[str, bytes]) -> list[str]:
    """What differs, one line a file."""
    lines = [f"missing: {name}" for name in sorted(fresh.keys() - committed.keys())]
    lines += [f"left over: {name}" for name in sorted(committed.keys() - fresh.keys())]
    return lines + [
        f"differs: {name}" for name in sorted(fresh.keys() & committed.keys()) if fresh[name] != committed[name]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description="Generate the gRPC stubs in fedcoin/v1 from proto/fedcoin/v1.")
    parser.add_argument("--check", action="store_true", help="fail if the committed stubs are stale; change nothing")
    options = parser.parse_args(arguments)
    folder = ROOT / PACKAGE
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh = stubs(Path(scratch) / PACKAGE)
    differences = stale(stubs(folder) if folder.is_dir() else {}, fresh)
    if options.check:
        if differences:
            print("fedcoin/v1 is stale; run `python tools/gen_protos.py`:", *differences, sep="\n  ", file=sys.stderr)
        return 1 if differences else 0
    folder.mkdir(exist_ok=True)
    for name in stubs(folder).keys() - fresh.keys():
        (folder / name).unlink()
    for name, content in fresh.items():
        (folder / name).write_bytes(content)
    print(f"fedcoin/v1: {len(fresh)} files, {len(differences)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
