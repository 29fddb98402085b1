"""Network addresses: HOST:PORT."""

from __future__ import annotations

import ipaddress
import re

from fedcoin.core.errors import InvalidPeerAddress

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
MAX_ADDRESS = 262
"""Characters: a host name of 255, a colon and a port, in brackets."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port. An IPv6 host stands in brackets, which the result does not have. Raises InvalidPeerAddress."""
    if len(address) > MAX_ADDRESS:
        raise InvalidPeerAddress(f"an address of {len(address)} characters is too long")
    host, separator, port = address.rpartition(":")
    if not separator or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise InvalidPeerAddress(f"{address!r} is not HOST:PORT with a port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1])), int(port)
        except ValueError:
            raise InvalidPeerAddress(f"{host} is no IPv6 address in brackets") from None
    if not _NAME.fullmatch(host):
        raise InvalidPeerAddress(f"{host!r} is no host name or IP address (an IPv6 address stands in brackets)")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """HOST:PORT, with brackets around an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_address(address: str) -> bool:
    """`address` is HOST:PORT with a port that can be called (not 0)."""
    try:
        return split_address(address)[1] > 0
    except InvalidPeerAddress:
        return False


def is_local(address: str) -> bool:
    """Whether an address HOST:PORT lies on this machine or its link, so that it means another node to everybody."""
    host = split_address(address)[0] if address else ""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host.lower().rstrip(".").rpartition(".")[2] == "localhost"
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return found.is_loopback or found.is_link_local or found.is_multicast
