"""Addresses that a target gave: whether anything can be sent there, and where they lead. Nothing here ever raises."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection leads."""

    scheme: str
    host: str
    port: int


def origin_of(url: str) -> Origin | None:
    """Where an absolute http(s) URL leads; None if nothing can be sent there."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host or re.search(r"[\x00-\x20\x7f\ud800-\udfff%<>\\^`{|}]", host):
        return None
    return Origin(parts.scheme, host, port if port is not None else {"http": 80, "https": 443}[parts.scheme])


def parts_of(url: str) -> SplitResult:
    """The parts of a URL that a target gave; all empty where it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
