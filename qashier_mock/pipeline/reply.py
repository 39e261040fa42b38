"""What a handler answers, and how much of it is sent."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Final


class Transmit(enum.Enum):
    """How much of a reply reaches the client."""

    WHOLE = "whole"
    DROPPED = "dropped"
    """The connection is closed without an answer."""
    TRUNCATED = "truncated"
    """The right Content-Length, half of the body, then the connection is closed."""


WHOLE: Final = Transmit.WHOLE
DROPPED: Final = Transmit.DROPPED
"""Each request asks for both, and Python 3.11 takes as long for a member of an enum as for three calls."""


@dataclasses.dataclass(slots=True)
class Reply:
    """What a handler answers.

    Attributes:
        status: The HTTP status.
        payload: What orjson can write, or bytes that are JSON already, or None for no body (204).
        headers: Added to those that the pipeline sets itself (Content-Type, Content-Length, Request-Id).
        transmit: How much of it reaches the client.
    """

    status: int
    payload: Any = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    transmit: Transmit = Transmit.WHOLE
