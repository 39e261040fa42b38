"""Known defects, for `serve --bug NAME` and `selfcheck`: the mock, broken on purpose, each time in one way.

    from qashier_mock.bugs import BUGS, parts_with

A checker that reports nothing may be right or blind. Defects show which: each breaks one clause of the contract, as
real code does, and the checker has to report that clause. Only `app.py` calls `parts_with`, where `Settings.bugs` names
a defect. The correct code does not import this package.

A module has one or two groups of clauses: `create` CRE and AMT, `reading` RET and LIS, `endings` EXP and PAY, `events`
EVT, `http` AUTH and HTTP, `idempotency` IDM and CON. A defect that only rewrites a schema, a request, a reply or the
result of a rule is a row: its clause, its name, one sentence that says how it shows, and where it changes what
(`changes.py` has the words). A defect that needs more is a function under `@defect`; its docstring is that sentence.
Both change the `Parts` of one app. Other apps in the same process stay as they are.

They are made for the store in memory. There, a defect that needs two requests at the same time waits a little in the
middle of one (`changes.RACE_S`). Another store may let such requests through one by one only. A database also refuses
an id that is given out twice, where memory takes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Final

from qashier_mock.bugs.parts import Parts
from qashier_mock.bugs.table import ENTERED, Bug

__all__ = ["BUGS", "Bug", "Parts", "UnknownBug", "find", "parts_with"]

for _group in ("create", "endings", "events", "http", "idempotency", "reading"):
    import_module(f"{__name__}.{_group}")  # enters its defects

BUGS: Final[Mapping[str, Bug]] = dict(sorted(ENTERED.items()))
"""Every known defect by name, sorted."""


class UnknownBug(ValueError):
    """There is no defect of that name; the message names the nearest one."""

    def __init__(self, name: str) -> None:
        near = get_close_matches(name, BUGS, n=1, cutoff=0)
        super().__init__(f"unknown defect {name[:60]!r}; did you mean {near[0]}?")


def find(name: str) -> Bug:
    """The defect of that name; raises `UnknownBug` where there is none."""
    if name not in BUGS:
        raise UnknownBug(name)
    return BUGS[name]


def parts_with(names: Iterable[str]) -> Parts:
    """The parts of an app with these defects, for the app to compose; one named twice counts once."""
    parts = Parts()
    for bug in [find(name) for name in dict.fromkeys(names)]:
        bug.apply(parts)
    return parts
