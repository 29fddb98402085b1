"""Addresses of miners: those that have answered, and those that were only heard of.

An address costs nothing to make up and a name for it little, so none of the two lists can be filled by one owner: of
one network (IPv4 /24, IPv6 /48, the last two labels of a host name) and of one source only so many are kept, and when a
list is full, whoever has the most in it gives one up. Addresses of this machine count as networks of their own.
"""

from __future__ import annotations

import ipaddress
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from fedcoin.rpc.address import is_address, split_address

MAX_HEARD = 1_000
MAX_MET = 1_000
HEARD_OF_NETWORK = 16
HEARD_FROM_SOURCE = 128
MET_OF_NETWORK = 8
HEARD_FAILURES = 3
"""Failed visits after which an address that never answered is forgotten."""
MET_FAILURES = 20
"""And one that once did."""
_NOWHERE = ("0.0.0.0", "::")


def callable_address(address: str) -> bool:
    """Whether it is HOST:PORT that another machine can call: not a port 0, not 0.0.0.0, which is everyone's own."""
    return is_address(address) and split_address(address)[0] not in _NOWHERE


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Whose neighbours share a fate: the network that an address HOST:PORT lies in."""
    host = split_address(address)[0]
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        labels = host.lower().rstrip(".").split(".")
        return address if host == "localhost" else ".".join(labels[-2:])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    if found.is_loopback:
        return address
    return str(ipaddress.ip_network((found, 24 if found.version == 4 else 48), strict=False))


@dataclass
class _Entry:
    network: str
    source: str
    """Who told us."""
    failures: int = 0


class AddressBook:
    """Bounded lists of addresses HOST:PORT that can be called."""

    def __init__(self, draw: random.Random) -> None:
        """`draw`: chooses; not to be foreseen by others."""
        self._draw = draw
        self._heard: dict[str, _Entry] = {}
        self._met: dict[str, _Entry] = {}

    def __len__(self) -> int:
        return len(self._heard) + len(self._met)

    def __contains__(self, address: str) -> bool:
        return address in self._heard or address in self._met

    def hear(self, address: str, source: str) -> None:
        """Somebody has named an address. `source`: the network of who has, or whatever else tells sources apart."""
        if address in self:
            return
        entry = _Entry(network_of(address), source)
        for most, mine in (
            (HEARD_OF_NETWORK, [key for key, held in self._heard.items() if held.network == entry.network]),
            (HEARD_FROM_SOURCE, [key for key, held in self._heard.items() if held.source == entry.source]),
        ):
            if len(mine) >= most:
                del self._heard[self._draw.choice(mine)]
        if len(self._heard) >= MAX_HEARD:
            source_network = Counter(held.source for held in self._heard.values()).most_common(1)[0][0]
            del self._heard[
                self._draw.choice([key for key, held in self._heard.items() if held.source == source_network])
            ]
        self._heard[address] = entry

    def meet(self, address: str) -> list[str]:
        """An address has answered. Returns those that are forgotten for it."""
        self._heard.pop(address, None)
        held = self._met.get(address)
        if held is not None:
            held.failures = 0
            return []
        network = network_of(address)
        forgotten = []
        mine = [key for key, entry in self._met.items() if entry.network == network]
        if len(mine) >= MET_OF_NETWORK:
            forgotten.append(self._worst(mine))
        elif len(self._met) >= MAX_MET:
            largest = Counter(entry.network for entry in self._met.values()).most_common(1)[0][0]
            forgotten.append(self._worst([key for key, entry in self._met.items() if entry.network == largest]))
        for key in forgotten:
            del self._met[key]
        self._met[address] = _Entry(network, network)
        return forgotten

    def fail(self, address: str) -> bool:
        """A visit has failed. True if the address is forgotten for it."""
        for entries, most in ((self._heard, HEARD_FAILURES), (self._met, MET_FAILURES)):
            entry = entries.get(address)
            if entry is not None:
                entry.failures += 1
                if entry.failures >= most:
                    del entries[address]
                    return True
        return False

    def forget(self, address: str) -> None:
        """Strikes an address out."""
        self._heard.pop(address, None)
        self._met.pop(address, None)

    def pick(self, suits: Callable[[str], bool], *, heard_only: bool = False) -> str | None:
        """One of the addresses that suit, from either list with the same chance, or None."""
        lists = [list(entries) for entries in ((self._heard,) if heard_only else (self._heard, self._met)) if entries]
        self._draw.shuffle(lists)
        for addresses in lists:
            self._draw.shuffle(addresses)
            found = next((address for address in addresses if suits(address)), None)
            if found is not None:
                return found
        return None

    def _worst(self, addresses: list[str]) -> str:
        most = max(self._met[address].failures for address in addresses)
        return self._draw.choice([address for address in addresses if self._met[address].failures == most])
