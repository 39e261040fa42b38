"""Known defects, for `serve --bug NAME` and `selfcheck`: the mock, broken on purpose, each time in one way.

    from qashier_mock.bugs import BUGS, Parts, apply_bugs

A checker that accuses nobody may be right, or blind. These tell which: each breaks one clause of the contract, as
production code really does, and a checker has to report that clause. `apply_bugs` is called by `app.py`, where
`Settings.bugs` names any, and nowhere else; the correct code knows nothing of them, and does not import this package.

One module per group of clauses. A defect is a function under `@defect(clause)`, named as `--bug` names it, whose
docstring says how it shows; it changes the `Parts` of one app, so that others in the same process stay as they are.

They are made for the store in memory. There, a defect that needs two requests at the same time waits a little in the
middle of one (`RACE_S`); another store may let such requests through one by one only. And a database refuses an id that
is given out twice, where memory takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from qashier_mock.bugs import (
    amounts,
    auth,
    bodies,
    create,
    deliveries,
    endings,
    events,
    filters,
    http,
    idempotency,
    listing,
    payments,
    races,
    reading,
)
from qashier_mock.bugs.parts import Parts
from qashier_mock.bugs.table import Bug, written

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["BUGS", "Bug", "Parts", "UnknownBug", "apply_bugs", "find"]

MODULES: Final = (
    amounts,
    auth,
    bodies,
    create,
    deliveries,
    endings,
    events,
    filters,
    http,
    idempotency,
    listing,
    payments,
    races,
    reading,
)
"""Where defects are written down; importing them enters them."""

BUGS: Final[Mapping[str, Bug]] = written()
"""Every known defect by name, sorted."""


class UnknownBug(ValueError):
    """There is no defect of that name; the message names the nearest one."""

    def __init__(self, name: str) -> None:
        near = get_close_matches(name, BUGS, n=1, cutoff=0)
        super().__init__(f"there is no known defect {name[:60]!r}; did you mean {near[0]}?")


def find(name: str) -> Bug:
    """The defect of that name.

    Raises:
        UnknownBug: There is none.
    """
    if name not in BUGS:
        raise UnknownBug(name)
    return BUGS[name]


def apply_bugs(parts: Parts, names: Iterable[str]) -> Callable[[ASGIApp], ASGIApp]:
    """Put defects into the parts of an app, before its pipeline is compiled.

    Args:
        parts: Of one app; changed in place.
        names: Which defects; one named twice counts once.

    Returns:
        What is to be done to the finished app: it wraps the defects around it that change what goes over the wire.

    Raises:
        UnknownBug: One of the names is not known; nothing has been changed then.
    """
    for bug in [find(name) for name in dict.fromkeys(names)]:
        bug.apply(parts)
    parts.install()
    return parts.wrap
