"""Binding an address. It is bound before heavy imports, so that early clients wait and are not refused."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Final

BACKLOG: Final = 2_048
"""Connections that wait while the server gets ready."""


class AddressUnavailable(Exception):
    """The address cannot be bound; the message says why and what to change."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; clients that connect before the app is ready wait in its backlog.

    Args:
        host: An address or name of this machine.
        port: 0 picks a free one.

    Raises:
        AddressUnavailable: The port is taken, or the host is not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise AddressUnavailable(f"cannot listen on {host}: {error.strerror or error}. Check --host.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressUnavailable(
            f"cannot listen on {host}:{port}: {error.strerror or error}. "
            "Choose another --port (0 picks a free one), or stop what listens there."
        ) from None
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket, *, scheme: str = "http") -> str:
    """The address to reach a listening socket from this machine: 127.0.0.1 where it is bound to any."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - to tell, not to bind
        host = "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether an address or a name is this machine's own, and reached from nowhere else."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
