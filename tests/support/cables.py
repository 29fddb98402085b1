"""Networks of their own for miners, joined by a cable each to one of two switches, and a cable between the switches."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests.support.namespaces import Namespace

PORT = 7_000


class Cables:
    """Two switches, `left` and `right`, and the networks plugged into them."""

    def __init__(self) -> None:
        self._hub = Namespace("net")
        self._spaces: list[Namespace] = []
        self._relays: list[subprocess.Popen[bytes]] = []
        for switch in ("left", "right"):
            self._ip("link", "add", "name", switch, "type", "bridge")
            self._ip("link", "set", switch, "up")
        self._ip("link", "add", "name", "join-l", "type", "veth", "peer", "name", "join-r")
        for end, switch in (("join-l", "left"), ("join-r", "right")):
            self._ip("link", "set", end, "master", switch)
            self._ip("link", "set", end, "up")

    def plug(self, switch: str) -> tuple[str, str, tuple[str, ...]]:
        """A network of its own. Returns its address for the others, one for this process, and how to run there."""
        number = len(self._spaces) + 1
        space = Namespace("net", inside=self._hub)
        self._spaces.append(space)
        outer, inner, host = f"out{number}", f"in{number}", f"10.77.0.{number}"
        self._ip("link", "add", "name", outer, "type", "veth", "peer", "name", inner)
        self._ip("link", "set", inner, "netns", str(space.pid))
        self._ip("link", "set", outer, "master", switch)
        self._ip("link", "set", outer, "up")
        space.run("ip", "addr", "add", f"{host}/24", "dev", inner)
        space.run("ip", "link", "set", inner, "up")
        space.run("ip", "link", "set", "lo", "up")
        listening = socket.create_server(("127.0.0.1", 0))
        relay = [*space.enter, sys.executable, str(Path(__file__).with_name("relay.py"))]
        self._relays.append(
            subprocess.Popen([*relay, str(listening.fileno()), host, str(PORT)], pass_fds=[listening.fileno()])
        )
        reached = f"127.0.0.1:{listening.getsockname()[1]}"
        listening.close()
        return f"{host}:{PORT}", reached, space.enter

    def cut(self) -> None:
        """The cable between the switches is pulled."""
        self._ip("link", "set", "join-l", "down")

    def mend(self) -> None:
        """It is plugged in again."""
        self._ip("link", "set", "join-l", "up")

    def close(self) -> None:
        """Everything is gone; what runs in the networks is ended by whoever started it."""
        for relay in self._relays:
            relay.kill()
            relay.wait(10)
        for space in self._spaces:
            space.close()
        self._hub.close()

    def _ip(self, *words: str) -> None:
        self._hub.run("ip", *words)
