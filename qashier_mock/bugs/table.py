"""How a known defect is written down: `@defect(clause)` over a function that changes the parts of one app."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from qashier_mock.bugs.parts import Parts

Patch: TypeAlias = Callable[[Parts], None]


@dataclass(frozen=True, slots=True)
class Bug:
    """A known defect.

    Attributes:
        name: What `--bug` calls it.
        clause: The one clause that it breaks.
        summary: How it shows from outside.
        apply: Puts it into the parts of one app.
    """

    name: str
    clause: str
    summary: str
    apply: Patch


_written: Final[dict[str, Bug]] = {}


def defect(clause: str) -> Callable[[Patch], Patch]:
    """Enter a function as a known defect, under its own name with dashes. Its docstring is the summary.

    Args:
        clause: The id of the clause that it breaks.

    Raises:
        ValueError: The name is taken, or the docstring says nothing.
    """

    def enter(patch: Patch) -> Patch:
        name = patch.__name__.replace("_", "-")
        summary = re.sub(r"\s+", " ", patch.__doc__ or "").strip()
        if name in _written or not summary:
            raise ValueError(f"the defect {name} is written down twice, or says nothing")
        _written[name] = Bug(name, clause, summary, patch)
        return patch

    return enter


def written() -> Mapping[str, Bug]:
    """The defects that were entered so far, sorted by name."""
    return dict(sorted(_written.items()))
