"""Modules of the standard library as they are, whatever a test has put into them.

Libraries that mock HTTP for tests replace classes and functions within `socket` and `http.client`, for everybody in the
process. What the plugin says to its mock, and what the mock delivers to the plugin's receiver, is none of their
business: it goes through copies of those modules that nobody else knows.
"""

from __future__ import annotations

import sys
from importlib.abc import InspectLoader
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from http import client as http_client

__all__ = ["http_client", "refuse_gevent", "socket"]


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


def refuse_gevent(what: str) -> None:
    """Refuse to start a thread where gevent makes it a greenlet: it would wait for what only the others can do.

    Raises:
        RuntimeError: gevent has patched threading; the message says what to do instead.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        raise RuntimeError(
            f"gevent.monkey has patched threading in this process, and {what} needs a thread of its own. Run "
            "`qashier-mock serve` beside the tests and give them --qashier-mock-url, or leave threads as they are: "
            "patch_all(thread=False)."
        )
