"""The probes by clause, and what several of them use."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Coroutine
from typing import Any

from defect_caller import Json, Mock

CHANGED = {"status", "payment_status"}

Probe = Callable[[Mock], Coroutine[Any, Any, None]]
PROBES: dict[str, Probe] = {}


def probe(clause: str) -> Callable[[Probe], Probe]:
    def enter(function: Probe) -> Probe:
        assert clause not in PROBES
        PROBES[clause] = function
        return function

    return enter


def lasting(session: Json) -> Json:
    return {name: value for name, value in session.items() if name not in CHANGED}


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def text_of(html: str) -> str:
    return re.sub("<[^>]*>", " ", html.partition("<body")[2]).lower()
