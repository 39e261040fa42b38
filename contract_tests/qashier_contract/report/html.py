"""The report as one HTML page: offline, without any other file, readable on a phone, in light and in dark."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from qashier_contract.report.facts import (
    TITLES,
    again,
    causes,
    counts,
    duration,
    groups,
    judgement,
    tables,
    unexercised,
    which,
)
from qashier_contract.report.lanes import lanes
from qashier_contract.report.reproduction import reproduce
from qashier_contract.report.story import story
from qashier_contract.report.timestamps import iso_time
from qashier_contract.verdicts import Verdict

if TYPE_CHECKING:
    from qashier_contract.values import Json
    from qashier_contract.verdicts import Report, Violation

_FOLDER: Final = Path(__file__).parent / "templates"
_SIGNS: Final = {Verdict.FAILED: "✕", Verdict.WARNED: "!", Verdict.PASSED: "✓", Verdict.NOT_EXERCISED: "?"}
_CLASSES: Final = {
    Verdict.FAILED: "failed",
    Verdict.WARNED: "warned",
    Verdict.PASSED: "passed",
    Verdict.NOT_EXERCISED: "unseen",
}
_NO_HTML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_MOST_SHOWN: Final = 3
"""Violations of one clause that are shown in full."""
_MOST_BYTES: Final = 1_500_000
"""How much the stories of what broke may add to a page."""
_STEP_BYTES: Final = 600
"""About what the markup of one step takes."""


def render(report: Report) -> str:
    """The report as an HTML page."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["spans"] = _spans
    page = environment.get_template("report.html").render(
        report=report,
        headline=judgement(report),
        classes=_CLASSES,
        signs=_SIGNS,
        titles=TITLES,
        counts=counts,
        duration=duration(report.duration_s),
        when=iso_time(report.history, report.history.terms.monotonic_ns, whole=True).replace("T", " ")
        if report.history.terms.wall_ns
        else "",
        broken=_slim(_broken(report)),
        groups=groups(report),
        unexercised={reason: which(ids) for reason, ids in unexercised(report).items()},
        tables=tables(report),
        again=again(report),
    )
    # What a target says may hold half of a surrogate pair, which no file can, and characters that no page may have.
    return _NO_HTML.sub("\N{REPLACEMENT CHARACTER}", page.encode("utf-8", "replace").decode("utf-8"))


def _broken(report: Report) -> list[dict[str, Json]]:
    """The clauses that broke, each after the one that it probably follows from."""
    return [
        {
            "report": entry,
            "because_of": "" if entry is cause.entry else cause.entry.clause.id,
            "again": again(report, entry.clause.id),
            "violations": [_violation(report, violation) for violation in entry.violations[:_MOST_SHOWN]],
            "left": max(0, len(entry.violations) - _MOST_SHOWN),
        }
        for cause in causes(report)
        for entry in (cause.entry, *cause.follow)
    ]


def _violation(report: Report, violation: Violation) -> dict[str, Json]:
    reproduction = reproduce(report, violation)
    rows = story(reproduction)
    return {
        "expected": violation.expected,
        "seen": violation.seen,
        "request_ids": violation.request_ids,
        "sent_again": reproduction.outcome,
        "rows": rows,
        "lanes": lanes(rows),
        "curl": "\n".join(reproduction.curl),
        "pytest": reproduction.pytest,
    }


def _slim(entries: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """The broken clauses, without what would make the page too large to send around.

    The first violation of each clause stays, if need be without bodies and reproductions; others go.
    """
    spent = sum(_fit(entry["violations"][0], _MOST_BYTES // len(entries)) for entry in entries)
    for entry in entries:
        first, *others = entry["violations"]
        kept = [first]
        for violation in others:
            size = _fit(violation, _MOST_BYTES - spent)
            if spent + size <= _MOST_BYTES:
                kept.append(violation)
                spent += size
        entry["left"] += len(others) + 1 - len(kept)
        entry["violations"] = kept
    return entries


def _fit(violation: dict[str, Json], most: int) -> int:
    """Make a violation fit into so many bytes, as far as it can be; how many it takes then."""
    rows = violation["rows"]
    bodies = _bytes(*(text for row in rows for text in (row.sent, row.received)))
    again = _bytes(violation["curl"], violation["pytest"])
    least = _bytes(violation["lanes"], violation["expected"], violation["seen"], *(row.line for row in rows))
    least += _STEP_BYTES * len(rows)
    violation["is_cut"] = least + again + bodies > most
    if violation["is_cut"]:
        violation["rows"] = tuple(replace(row, sent=None, received=None) for row in rows)
        bodies = 0
    if least + again > most:
        violation.update(curl="", pytest="")
        again = 0
    return least + again + bodies


def _bytes(*texts: str | None) -> int:
    """How much some texts add to a page."""
    return sum(len(escape(text).encode("utf-8", "replace")) for text in texts if text)


def _spans(text: str) -> Markup:
    """A text with its `code` in code elements."""
    parts = re.split(r"`([^`]*)`", text)
    shown = [
        escape(part) if place % 2 == 0 else Markup("<code>{}</code>").format(part) for place, part in enumerate(parts)
    ]
    return Markup("").join(shown)
