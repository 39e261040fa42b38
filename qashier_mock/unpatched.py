"""Modules of the standard library as they are, whatever a test has put into them.

Libraries that mock HTTP for tests replace classes and functions within `socket` and `http.client`, for everybody in the
process. What the plugin says to its mock, and what the mock delivers to the plugin's receiver, is none of their
business: it goes through copies of those modules that nobody else knows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.abc import InspectLoader
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from http import client as http_client

__all__ = ["http_client", "refuse_green_threads", "socket"]


def _copy(name: str) -> ModuleType:
    """A module made anew from its source, under a name of ours: its enums look themselves up by that."""
    spec = find_spec(name)
    assert spec is not None  # noqa: S101 - it is the standard library's
    assert isinstance(spec.loader, InspectLoader)  # noqa: S101 - and written in Python
    code = spec.loader.get_code(name)
    assert code is not None  # noqa: S101 - likewise
    module = sys.modules[f"{__name__}.{name}"] = ModuleType(f"{__name__}.{name}")
    exec(code, vars(module))  # noqa: S102 - what an import does
    return module


if not TYPE_CHECKING:
    socket = _copy("socket")
    http_client = _copy("http.client")
    http_client.socket = socket


def refuse_green_threads(what: str) -> None:
    """Refuse to start a thread where gevent or eventlet make it a greenlet: it would wait for what only others can do.

    Raises:
        RuntimeError: One of them has patched threading; the message says what to do instead.
    """
    for library, call in _green_libraries():
        raise RuntimeError(
            f"{library} has patched threading in this process, and {what} needs a thread of its own. Run "
            "`qashier-mock serve` beside the tests and give them --qashier-mock-url, or leave threads as they are: "
            f"{call}(thread=False)."
        )


def _green_libraries() -> Iterator[tuple[str, str]]:
    """Those that have patched threading, each with the call that did."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("threading"):
        yield "gevent.monkey", "patch_all"
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        yield "eventlet.monkey_patch", "monkey_patch"
