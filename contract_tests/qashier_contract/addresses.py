"""Addresses that a target gave: whether anything can be sent there, and where they lead. Nothing here ever raises."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

_PORTS: Final = {"http": 80, "https": 443}
MOST_REDIRECTS: Final = 5
"""How many redirects of a page a customer is led on by."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection leads."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """The beginning of its URLs, in one spelling: a default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port == _PORTS[self.scheme] else f':{self.port}'}"


def origin_of(url: str) -> Origin | None:
    """Where an absolute http(s) URL leads; None if nothing can be sent there."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host or re.search(r"[\x00-\x20\x7f\ud800-\udfff%<>\\^`{|}]", host):
        return None
    return Origin(parts.scheme, host, port if port is not None else _PORTS[parts.scheme])


def parts_of(url: str) -> SplitResult:
    """The parts of a URL that a target gave; all empty where it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    host = parts_of(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def joined(base: str, reference: str) -> str | None:
    """Where a link or a form of a page leads; None if it leads nowhere."""
    try:
        url = urljoin(base, reference)
    except ValueError:
        return None
    return url if origin_of(url) is not None else None


def is_same_host(url: str, page: str) -> bool:
    """Whether a URL stays where a page is: only there is a customer's form sent, and only there are links followed."""
    there, here = origin_of(url), origin_of(page)
    return there is not None and here is not None and (there.host, there.port) == (here.host, here.port)
