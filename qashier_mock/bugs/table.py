"""How a known defect is written down: as a row, or as a function under `@defect`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from qashier_mock.bugs.parts import Parts

Change: TypeAlias = Callable[[Parts], None]
"""Puts a defect into the parts of one app, before they are made."""

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Bug:
    """A known defect: what `--bug` calls it, the clause that it breaks, how it shows from outside, and its change."""

    name: str
    clause: str
    summary: str
    apply: Change


ENTERED: Final[dict[str, Bug]] = {}
"""Those that were entered so far."""


def several(*changes: Change) -> Change:
    """Apply several changes."""

    def apply(parts: Parts) -> None:
        for change in changes:
            change(parts)

    return apply


def row(clause: str, name: str, summary: str, *changes: Change) -> None:
    """Enter a known defect: see `Bug`. What it changes is said in the words of `bugs/changes.py`."""
    if name in ENTERED or not summary:
        raise ValueError(f"two defects are called {name}, or it has no summary")
    ENTERED[name] = Bug(name, clause, summary, several(*changes))


def defect(clause: str, where: Callable[[Any], Change] | None = None) -> Callable[[F], F]:
    """Enter a function as a known defect, under its own name with dashes. Its docstring is the summary.

    It is called `where` a word of `bugs/changes.py` says; without, for each app, and returns what to change there.
    """

    def enter(function: F) -> F:
        summary = re.sub(r"\s+", " ", function.__doc__ or "").strip()
        row(
            clause, function.__name__.replace("_", "-"), summary, anew(function)() if where is None else where(function)
        )
        return function

    return enter


def anew(make: Callable[P, Change]) -> Callable[P, Change]:
    """Call `make` for each app anew: what it remembers between requests is that of one app."""

    def change(*args: P.args, **kwargs: P.kwargs) -> Change:
        return lambda parts: make(*args, **kwargs)(parts)  # noqa: PLW0108 - not before there is an app

    return change
