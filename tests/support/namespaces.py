"""Namespaces of Linux for tests: a small disk, and separate networks. Without the right to make them, a reason."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path


def why_not() -> str:
    """Why this machine makes no user, mount and network namespaces; empty if it does."""
    for program in ("unshare", "nsenter", "ip", "mount"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    tried = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", "ip link add name a type bridge"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"namespaces are not permitted here: {tried.stderr.strip()[:100]}"


class Namespace:
    """A user namespace with others in it, kept by a process that sleeps. Close it when it is no longer needed."""

    def __init__(self, *kinds: str, inside: Namespace | None = None) -> None:
        """`kinds`: mount, net. `inside`: whose user namespace it joins, in place of one of its own."""
        flags = [f"--{kind}" for kind in kinds]
        around = inside.enter if inside else ()
        own = () if inside else ("--user", "--map-root-user")
        command = [*around, "unshare", *own, *flags, "sh", "-c", "echo in; exec sleep 3600"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "in\n", "the namespace was not made"
        entered = ("--user", "--preserve-credentials", *flags)
        self.enter = ("nsenter", "--target", str(self._process.pid), *entered)
        """In front of a command that is to run there."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, *words: str) -> None:
        """A command in the namespace; it must succeed."""
        done = subprocess.run([*self.enter, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"

    def close(self) -> None:
        """Ends the process that keeps it; what runs in it is ended by whoever started it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)


class SmallDisk:
    """A disk of a few MiB at a path that only programs started with `around` see."""

    def __init__(self, path: Path, megabytes: int) -> None:
        self._space = Namespace("mount")
        path.mkdir(parents=True, exist_ok=True)
        self._space.run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(path))
        # In another mount namespace one begins at the root of the file system.
        self.around = (*self._space.enter, "sh", "-c", 'cd "$0" && exec "$@"', str(path.parent))
        self.path = Path(f"/proc/{self._space.pid}/root") / path.relative_to("/")
        """Where this process sees it."""

    def fill(self, leave: int = 0) -> None:
        """Takes all room but `leave` bytes; a node that writes meanwhile may have been quicker with some of them."""
        free = shutil.disk_usage(self.path).free - leave
        with contextlib.suppress(OSError), (self.path / "filler").open("wb", buffering=0) as filler:
            filler.write(bytes(max(0, free)))

    def free(self) -> None:
        """Gives the room back."""
        (self.path / "filler").unlink()

    def close(self) -> None:
        """The disk is gone with all that is on it."""
        self._space.close()
