"""Listening on this machine: which sockets a host and a port stand for, and how they are written in a URL.

A `Door` is a port at which nobody listens for a while.
"""

from __future__ import annotations

import errno
import socket
import sys
from contextlib import suppress
from typing import Final

_BACKLOG: Final = 128
"""Many deliveries come at once: with a short queue, some connections would have to be tried again."""
_TRIES: Final = 20
"""How many free ports of one family are tried, until one is free in the other family too."""


def listen(host: str, port: int) -> tuple[socket.socket, ...]:
    """Listening sockets with one port. `localhost` has two: some clients try only its IPv4 address, some only IPv6.

    Args:
        host: An address or a name of this machine; brackets around an IPv6 address are fine.
        port: 0 picks a free one.

    Raises:
        OSError: The address cannot be had.
    """
    bare = _bare(host)
    hosts = ("127.0.0.1", "::1") if bare.lower() == "localhost" else (bare,)
    for tries_left in reversed(range(_TRIES)):
        first = _bound(hosts[0], port)
        try:
            number = first.getsockname()[1]
            return (first, *(_bound(each, number) for each in hosts[1:]))
        except OSError as error:
            if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:  # IPv6 is switched off here
                return (first,)
            first.close()
            if port or error.errno != errno.EADDRINUSE or not tries_left:
                raise
    raise AssertionError


class Door:
    """A free port of this machine at which nobody listens for a while: then every connection is refused.

    Attributes:
        listener: What listens there, or does not.
        port: Its number.
    """

    def __init__(self, host: str) -> None:
        self._host = _bare(host)
        self.listener = _bound(self._host, 0)
        self.port: int = self.listener.getsockname()[1]

    def shut(self) -> None:
        """Refuse every connection from now on. The port stays ours: a socket is bound to it that does not listen.

        Raises:
            OSError: Another program got the port.
        """
        close(self.listener)
        self.listener = _bound(self._host, self.port, is_listening=False)

    def open(self) -> None:
        """Listen again."""
        self.listener.listen(_BACKLOG)


def close(listener: socket.socket) -> None:
    """Close a listening socket, and wake who accepts there."""
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def url_of(host: str, port: int) -> str:
    """The URL at which this machine reaches a host that it listens on: loopback, where that is the address of any."""
    bare = _bare(host)
    bare = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bare, bare)  # noqa: S104 - to connect, not to bind
    return f"http://{f'[{bare}]' if ':' in bare else bare}:{port}"


def _bare(host: str) -> str:
    return host.removeprefix("[").removesuffix("]")


def _bound(host: str, port: int, *, is_listening: bool = True) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)  # asyncio sends at once where it is TCP
    try:
        if sys.platform != "win32":  # there, it would let two programs have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            with suppress(OSError):  # it takes IPv4 too, whatever the system's default is
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        if is_listening:
            listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
