"""Where the handlers of operations are looked up."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from qashier_mock.pipeline.framework import Resolver
from qashier_mock.pipeline.schemas import Unsupported


class Handlers:
    """Finds the handlers of operations, and knows which of them are used."""

    def __init__(self, handlers: object | Sequence[object]) -> None:
        self._owners = list(handlers) if isinstance(handlers, Sequence) else [handlers]
        self._used: set[str] = set()
        self.resolver = Resolver(function_resolver=self._resolve)

    def _resolve(self, operation_id: str) -> Any:
        for owner in self._owners:
            function = owner.get(operation_id) if isinstance(owner, Mapping) else getattr(owner, operation_id, None)
            if function is not None:
                self._used.add(operation_id)
                return function
        raise Unsupported(f"no handler is named {operation_id!r}")

    def check_all_used(self) -> None:
        """Refuse a handler that no operation calls: a typing error, or an operation missing in the document."""
        offered = {name for owner in self._owners for name in _offered(owner)}
        idle = sorted(offered - self._used)
        if idle:
            raise Unsupported(
                f"no operation is named {', '.join(map(repr, idle))}, but there is a handler of that name"
            )


def _offered(owner: object) -> list[str]:
    """Return the names of an owner's public coroutine functions."""
    if isinstance(owner, Mapping):
        return [str(name) for name in owner]
    members = inspect.getmembers(owner, inspect.iscoroutinefunction)
    return [name for name, _ in members if not name.startswith("_")]
