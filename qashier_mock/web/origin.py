"""Protect the control API from foreign web pages in the developer's browser.

A page of any site can make a browser send requests to this machine. Browsers say where a request comes from, in
`Origin` and `Sec-Fetch-Site`; other programs send neither. A site whose name resolves to 127.0.0.1 (DNS rebinding) is
recognised by that name in `Host`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from qashier_mock.address import is_loopback
from qashier_mock.core.errors import RequestInvalid

_ANY: Final = frozenset({"0.0.0.0", "[::]"})  # noqa: S104 - what programs connect to, who mean this machine


def check_origin(
    headers: Mapping[bytes, bytes], *, is_local: bool, public_host: str | None, allowed: Collection[str] = ()
) -> None:
    """Refuse a control call that a foreign page may have sent, from its headers, by name in lower case.

    Only names of this machine and `public_host`, the host of `--public-url`, lead to a server that is bound to loopback
    (`is_local`). Pages of the origins `allowed` (`--cors`) may call it.

    Raises:
        RequestInvalid: It names another host, or comes from another site.
    """
    host = host_of(headers.get(b"host", b"").decode("latin-1"))
    if is_local and host and not _is_own(host, public_host):
        raise RequestInvalid(
            f"This server is bound to loopback and answers control calls at localhost, not at {host[:60]!r}. Use the "
            "address that it printed, or start it with --public-url.",
            param="Host",
        )
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") in allowed:
        return
    if origin is not None:
        scheme, _, rest = origin.decode("latin-1").partition("://")
        sender = host_of(rest)
        is_page = scheme in {"http", "https", "null"}
        if is_page and sender != host and not _is_own(sender, public_host):
            message = f"Pages of {(sender or 'an unknown site')[:60]!r} may not call the control API."
            raise RequestInvalid(message, param="Origin")
    if headers.get(b"sec-fetch-site", b"").strip().lower() == b"cross-site":
        message = "Pages of another site may not call the control API; call it from a program."
        raise RequestInvalid(message, param="Sec-Fetch-Site")


def host_of(authority: str) -> str:
    """Return the host of `host:port`, in lower case and without a final dot; empty where there is none."""
    try:
        host = urlsplit("//" + authority.strip()).hostname or ""
    except ValueError:
        return "?"
    return f"[{host}]" if ":" in host else host.rstrip(".")


def _is_own(host: str, public_host: str | None) -> bool:
    return host == public_host or host in _ANY or host.endswith(".localhost") or is_loopback(host.strip("[]"))
