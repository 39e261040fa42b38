"""The report as one HTML page: offline, without any other file, readable on a phone, in light and in dark."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from qashier_contract.report import facts
from qashier_contract.report.lanes import lanes
from qashier_contract.report.reproduction import reproduce
from qashier_contract.report.story import story
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
_MOST_BYTES: Final = 1_500_000
"""How large a page may be, as long as less can be shown."""


class _Detail(NamedTuple):
    """How much a page shows of a clause that broke: how many violations, and what of each."""

    violations: int = 3
    has_bodies: bool = True
    has_reproductions: bool = True


_DETAILS: Final = (
    _Detail(),
    _Detail(has_bodies=False),
    _Detail(1, has_bodies=False),
    _Detail(1, has_bodies=False, has_reproductions=False),
)
"""The first that makes the page small enough is taken."""


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
    template = environment.get_template("report.html")
    for detail in _DETAILS:
        page = template.render(_shown(report), broken=_broken(report, detail))
        # What a target says may hold half of a surrogate pair, which no file can, and characters that no page may have.
        plain = page.encode("utf-8", "replace")
        if len(plain) <= _MOST_BYTES:
            break
    return _NO_HTML.sub("\N{REPLACEMENT CHARACTER}", plain.decode("utf-8"))


def _shown(report: Report) -> dict[str, Json]:
    """What a page shows beside what broke."""
    return {
        "report": report,
        "headline": facts.judgement(report),
        "classes": _CLASSES,
        "signs": _SIGNS,
        "titles": facts.TITLES,
        "counts": facts.counts,
        "duration": facts.duration(report.duration_s),
        "when": facts.iso_time(report.history, report.history.terms.monotonic_ns, whole=True).replace("T", " ")
        if report.history.terms.wall_ns
        else "",
        "groups": facts.groups(report),
        "unexercised": {reason: facts.which(ids) for reason, ids in facts.unexercised(report).items()},
        "tables": facts.tables(report),
        "again": facts.again(report),
    }


def _broken(report: Report, detail: _Detail) -> list[dict[str, Json]]:
    """The clauses that broke, each after the one that it probably follows from."""
    return [
        {
            "report": entry,
            "because_of": "" if entry is cause.entry else cause.entry.clause.id,
            "again": facts.again(report, entry.clause.id),
            "violations": [_violation(report, each, detail) for each in entry.violations[: detail.violations]],
            "left": max(0, len(entry.violations) - detail.violations),
        }
        for cause in facts.causes(report)
        for entry in (cause.entry, *cause.follow)
    ]


def _violation(report: Report, violation: Violation, detail: _Detail) -> dict[str, Json]:
    reproduction = reproduce(report, violation)
    rows = story(reproduction)
    if not detail.has_bodies:
        rows = tuple(replace(row, sent=None, received=None) for row in rows)
    return {
        "expected": violation.expected,
        "seen": violation.seen,
        "request_ids": violation.request_ids,
        "sent_again": reproduction.outcome,
        "rows": rows,
        "lanes": lanes(rows),
        "is_cut": not detail.has_bodies,
        "curl": "\n".join(reproduction.curl) if detail.has_reproductions else "",
        "pytest": reproduction.pytest,
    }


def _spans(text: str) -> Markup:
    """A text with its `code` in code elements."""
    parts = re.split(r"`([^`]*)`", text)
    shown = [
        escape(part) if place % 2 == 0 else Markup("<code>{}</code>").format(part) for place, part in enumerate(parts)
    ]
    return Markup("").join(shown)
