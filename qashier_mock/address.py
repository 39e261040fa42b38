"""Binding an address. It is bound before heavy imports, so that early clients wait and are not refused."""

from __future__ import annotations

import errno
import select
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, Self
from urllib.parse import urlsplit

BACKLOG: Final = 2_048
"""Connections that wait while the server gets ready."""
_TRIES: Final = 20
"""How many free ports of one family are tried, until one is free in the other family too."""
_LOCALHOST: Final = ("127.0.0.1", "::1")
"""What `localhost` is, also where the system's list of names has one of the two."""
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What the system says of an address that this machine does not have."""


class AddressUnavailable(Exception):
    """The address cannot be bound; the message says why and what to change."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Listening sockets of one port: one for each address of a host; a context manager, which closes them."""

    sockets: tuple[socket.socket, ...]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more."""
        for each in self.sockets:
            each.close()


def bind(host: str, port: int) -> Listener:
    """Listen; clients that connect before the app is ready wait in the backlog.

    A name such as `localhost` is bound at each of its addresses: some clients try only one, which may be IPv4 or IPv6.
    Port 0 picks a free one.

    Raises:
        AddressUnavailable: The port is taken, or the host is not this machine's.
    """
    try:
        names = _LOCALHOST if host.lower() == "localhost" else (host,)
        found = [each for name in names for each in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]
    except OSError as error:
        raise AddressUnavailable(f"cannot listen on {host}: {error.strerror or error}. Check --host.") from None
    addresses = sorted(dict.fromkeys((each[0], each[4]) for each in found), key=lambda each: each[0] != socket.AF_INET)
    for tries_left in reversed(range(_TRIES)):
        try:
            return Listener(_listen_at(addresses, port))
        except OSError as error:
            if port == 0 and error.errno == errno.EADDRINUSE and tries_left:
                continue
            raise AddressUnavailable(
                f"cannot listen on {host}:{port}: {error.strerror or error}. "
                "Choose another --port (0 picks a free one), or stop what listens there."
            ) from None
    raise AssertionError


def _listen_at(addresses: Iterable[tuple[socket.AddressFamily, Any]], port: int) -> tuple[socket.socket, ...]:
    """Sockets at those addresses that this machine has, all with the same port.

    Raises:
        OSError: The machine has none of them, or one cannot be had.
    """
    bound: list[socket.socket] = []
    missing: OSError | None = None
    for family, address in addresses:
        try:
            one = _listen(family, (address[0], port, *address[2:]))
        except OSError as error:
            if error.errno in _NOT_HERE:  # localhost has an IPv6 address also where IPv6 is switched off
                missing = error
                continue
            Listener(tuple(bound)).close()
            raise
        bound.append(one)
        port = one.getsockname()[1]
    if missing is not None and not bound:
        raise missing
    return tuple(bound)


def _listen(family: socket.AddressFamily, address: Any) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sends at once where it is TCP
    try:
        if sys.platform == "win32":
            # There, SO_REUSEADDR would let two servers have one port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address[0] == "::":
            with suppress(OSError):  # the address of any takes IPv4 too, whatever the system's default is
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def url_of(listener: Listener, *, scheme: str = "http") -> str:
    """The address to reach a listener from this machine: a loopback address where it is bound to any."""
    first = listener.sockets[0]
    host, port = first.getsockname()[:2]
    takes_both = first.family == socket.AF_INET6 and not first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return f"{scheme}://{bracketed('127.0.0.1' if takes_both and host == '::' else reachable(host))}:{port}"


def reachable(host: str) -> str:
    """The host to connect to from this machine, where `host` is bound: loopback for the address of any."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to connect, not to bind


def bracketed(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address has brackets around it."""
    return f"[{host}]" if ":" in host else host


def host_in(url: str) -> str:
    """The host of a URL, in lower case; empty where it has none."""
    return (urlsplit(url).hostname or "").lower()


def is_loopback(host: str) -> bool:
    """Whether an address or a name is this machine's own, and reached from nowhere else."""
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    # A socket that takes both families tells an IPv4 client's address in this form.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def has_news(fileno: int) -> bool:
    """Whether an idle connection can be read: it was closed from the other side."""
    if not hasattr(select, "poll"):  # Windows, whose select() knows no limit of 1,024 open files
        return bool(select.select([fileno], [], [], 0)[0])
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    return bool(poll.poll(0))
