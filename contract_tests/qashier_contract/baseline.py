"""Known violations: a file of what is accepted for now, each entry with the day from which it fails again.

    [[known]]
    clause = 'LIS-7'
    finding = "Equals list body has_more"
    expires = 2027-03-31
    reason = "PAY-1234: fixed with the next release"

An entry excuses the violations of its clause with the same finding: what was expected, of which operation, at which
place, without ids, times and numbers. Without `finding` it excuses every violation of the clause. A clause whose
violations are all excused warns instead of failing. Entries that match nothing any more are reported as stale.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from qashier_contract.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from qashier_contract.verdicts import ClauseReport, Report, Violation

GRACE: Final = timedelta(days=90)
"""How long a new entry holds, unless its file is edited."""
_KNOWN_KEYS: Final = frozenset({"clause", "expires", "finding", "reason"})


class BaselineError(Exception):
    """A baseline cannot be read; the message says what is wrong where."""


@dataclass(frozen=True, slots=True)
class Known:
    """One accepted violation.

    `finding` is the key of the violations; empty for all of the clause. `expires` is the last day on which they are
    accepted.
    """

    clause: str
    expires: date
    finding: str = ""
    reason: str = ""

    def covers(self, violation: Violation) -> bool:
        """Whether this is the violation that was accepted."""
        return self.clause == violation.clause and self.finding in {"", violation.key}

    def __str__(self) -> str:
        what = f" ({self.finding})" if self.finding else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.clause}{what}, until {self.expires}{why}"


def read(path: Path) -> tuple[Known, ...]:
    """The entries of a file.

    Raises:
        BaselineError: It cannot be read, or an entry is odd.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path}: {error}") from error
    if odd := sorted(set(table) - {"known"}):
        raise BaselineError(f"{path}: {odd[0]} is not understood; entries are tables [[known]]")
    entries = table.get("known", [])
    if not isinstance(entries, list):
        raise BaselineError(f"{path}: entries are tables [[known]]")
    return tuple(_entry(path, number, entry) for number, entry in enumerate(entries, 1))


def _entry(path: Path, number: int, entry: object) -> Known:
    where = f"{path}, entry {number}"
    if not isinstance(entry, dict):
        raise BaselineError(f"{where} is not a table")
    if odd := sorted(set(entry) - _KNOWN_KEYS):
        raise BaselineError(f"{where}: {odd[0]} is not understood; there are {', '.join(sorted(_KNOWN_KEYS))}")
    clause, expires = entry.get("clause"), entry.get("expires")
    if not isinstance(clause, str) or not clause:
        raise BaselineError(f"{where} names no clause")
    if isinstance(expires, datetime) or not isinstance(expires, date):
        raise BaselineError(f"{where} ({clause}) needs expires, a date such as 2027-03-31")
    return Known(clause, expires, str(entry.get("finding", "")), str(entry.get("reason", "")))


def day_of(report: Report) -> date:
    """The day of a run, in UTC."""
    return datetime.fromtimestamp((report.history.terms.wall_ns or 0) / 1e9, UTC).date()


def apply(report: Report, baseline: Sequence[Known]) -> Report:
    """The report with what is known excused: it warns, and says until when. Stale and overdue entries become notes."""
    today = day_of(report)
    live = [entry for entry in baseline if entry.expires >= today]
    clauses = tuple(_excused(entry, live) for entry in report.clauses)
    notes = [
        f"Known no longer: {entry}. It fails again."
        for entry in baseline
        if entry.expires < today and _matches(entry, report.clauses)
    ]
    notes += [f"Stale in the baseline: {entry}. It did not show any more." for entry in stale(report, baseline)]
    return replace(report, clauses=clauses, notes=(*report.notes, *notes))


def _matches(entry: Known, clauses: Iterable[ClauseReport]) -> bool:
    return any(entry.covers(violation) for report in clauses for violation in report.violations)


def _excused(entry: ClauseReport, live: Sequence[Known]) -> ClauseReport:
    if entry.verdict is not Verdict.FAILED:
        return entry
    used: dict[Known, None] = {}
    for violation in entry.violations:
        found = next((known for known in live if known.covers(violation)), None)
        if found is None:
            return entry
        used[found] = None
    reasons = [f"until {known.expires}" + (f" ({known.reason})" if known.reason else "") for known in used]
    return replace(entry, verdict=Verdict.WARNED, reason=f"known {', '.join(dict.fromkeys(reasons))}")


def stale(report: Report, baseline: Sequence[Known]) -> tuple[Known, ...]:
    """The entries whose clause was exercised, and that match nothing that was seen."""
    exercised = {entry.clause.id for entry in report.clauses if entry.exercised}
    known = {entry.clause.id for entry in report.clauses}
    return tuple(
        entry
        for entry in baseline
        if (entry.clause in exercised or entry.clause not in known) and not _matches(entry, report.clauses)
    )


def updated(report: Report, baseline: Sequence[Known]) -> tuple[Known, ...]:
    """The baseline with what failed now added, for `GRACE` from today, and what is stale left out.

    Entries that are overdue and still match are renewed; their reasons are kept.
    """
    today = day_of(report)
    gone = stale(report, baseline)
    kept = [entry for entry in baseline if entry not in gone]
    kept = [replace(entry, expires=today + GRACE) if entry.expires < today else entry for entry in kept]
    for entry in report.clauses:
        for violation in entry.violations if entry.verdict is Verdict.FAILED else ():
            if not any(known.covers(violation) for known in kept):
                kept.append(Known(violation.clause, today + GRACE, violation.key))
    return tuple(kept)


def write(path: Path, baseline: Sequence[Known]) -> None:
    """Write a baseline.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_text(render(baseline), encoding="utf-8")


def render(baseline: Sequence[Known]) -> str:
    """A baseline as TOML."""
    head = (
        "# Known violations of the contract: each is accepted until the day it names, then the check fails again.\n"
        "# qashier-mock check URL --baseline THIS-FILE --update-baseline writes this file anew; reasons are kept.\n"
    )
    return head + "".join(f"\n{_table(entry)}" for entry in baseline)


def _table(entry: Known) -> str:
    lines = ["[[known]]", f"clause = {_quoted(entry.clause)}"]
    if entry.finding:
        lines.append(f"finding = {_quoted(entry.finding)}")
    lines.append(f"expires = {entry.expires.isoformat()}")
    if entry.reason:
        lines.append(f"reason = {_quoted(entry.reason)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\u{ord(match[0]):04X}", escaped) + '"'
