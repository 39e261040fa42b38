"""What every form of a report says: counts, groups, and how to run the check again."""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from qashier_contract.findings import StatusIs
from qashier_contract.history import Operation
from qashier_contract.observed_events import subject_of
from qashier_contract.places import Part
from qashier_contract.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from qashier_contract.history import Exchange, History
    from qashier_contract.verdicts import ClauseReport, Report, Violation

TITLES: Final[Mapping[str, str]] = {
    "AUTH": "who is asking",
    "HTTP": "every request",
    "CRE": "creating a session",
    "AMT": "money",
    "RET": "retrieving a session",
    "LIS": "listing sessions",
    "EXP": "expiring",
    "PAY": "paying",
    "CON": "at the same time",
    "EVT": "webhooks",
    "IDM": "idempotency of both POSTs",
}
"""What each group of clauses is about."""

_Key = TypeVar("_Key", str, int)
_MOST_IDS: Final = 8
_SHOW_ALL: Final = {Operation.EVENTS, Operation.ENDPOINTS, Operation.CLOCK}
"""What shows so much at once that two clauses which fail there need not have anything to do with each other."""
_WHICH: Final = {"id", "data", "type", "status", "payment_status"}
"""What tells which session or event it is, or its state, which goes wrong for many reasons."""
_STATE: Final = {"status", "payment_status", "created", "expires_at", "id", "data", "has_more", "type"}
"""What tells of the state of a session, or of a list, and not of one text in it."""
WORST_FIRST: Final = (Verdict.FAILED, Verdict.WARNED, Verdict.NOT_EXERCISED, Verdict.PASSED)


def counts(entries: Iterable[ClauseReport]) -> Mapping[Verdict, int]:
    """How many of some clauses have each verdict, the worst first; every verdict is there."""
    found = Counter(entry.verdict for entry in entries)
    return {verdict: found[verdict] for verdict in WORST_FIRST}


def counted(report: Report) -> str:
    """The counts in words: `2 failed, 1 warned, 70 passed`."""
    shown = [f"{count} {verdict}" for verdict, count in counts(report.clauses).items() if count]
    return ", ".join(shown) or "no clause"


@dataclass(frozen=True, slots=True)
class Table:
    """What was visited, as a table: how often, by what a row and a column say."""

    title: str
    corner: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[int]]]


def tables(report: Report) -> Sequence[Table]:
    """What was visited, in tables; without those that would be empty."""
    visited = _table("How often each operation met a session of each status", "on a session that was", report.visited)
    answers = _table("How often each operation was answered with each HTTP status", "answered with", report.matrix)
    return [table for table in (visited, answers) if table.rows]


def _table(title: str, corner: str, found: Mapping[str, Mapping[_Key, int]]) -> Table:
    columns = sorted({column for row in found.values() for column in row}, key=str)
    rows = [(name, [row.get(column, 0) for column in columns]) for name, row in found.items()]
    return Table(title, corner, [str(column) for column in columns], rows)


def groups(report: Report) -> Mapping[str, tuple[ClauseReport, ...]]:
    """The clauses by group, in the order of the contract."""
    found: dict[str, list[ClauseReport]] = {}
    for entry in report.clauses:
        found.setdefault(entry.clause.group, []).append(entry)
    return {name: tuple(entries) for name, entries in found.items()}


def broken(report: Report) -> tuple[ClauseReport, ...]:
    """The clauses that failed, then those that only warn."""
    bad = [entry for entry in report.clauses if entry.verdict in {Verdict.FAILED, Verdict.WARNED}]
    return tuple(sorted(bad, key=lambda entry: WORST_FIRST.index(entry.verdict)))


def unexercised(report: Report) -> Mapping[str, tuple[str, ...]]:
    """The clauses that were not exercised, by the reason."""
    found: dict[str, list[str]] = {}
    for entry in report.clauses:
        if entry.verdict is Verdict.NOT_EXERCISED:
            found.setdefault(entry.reason or "nothing touched it", []).append(entry.clause.id)
    return {reason: tuple(ids) for reason, ids in found.items()}


def which(ids: Sequence[str]) -> str:
    """Some clauses, named; many are counted."""
    return ", ".join(ids) if len(ids) <= _MOST_IDS else f"{len(ids)} clauses"


def again(report: Report, *clauses: str) -> str:
    """The command that repeats a run, or just what some clauses need of it: one line, quoted for the shell."""
    words = list(report.command or ("qashier-mock", "check", report.target, "--seed", str(report.seed)))
    if clauses:
        words = list(_without(words, "--only", "--skip"))
        for clause in clauses:
            words += ["--only", clause]
    if "--strict" not in words and _failed_only_as_strict(report):
        words.append("--strict")
    return shlex.join(words)


def _without(words: Sequence[str], *options: str) -> Iterator[str]:
    """Some words of a command line, without these options and their values."""
    left = iter(words)
    for word in left:
        if word in options:
            next(left, None)
        else:
            yield word


def _failed_only_as_strict(report: Report) -> bool:
    """Whether an assumed clause failed instead of warning: only a strict run lets it."""
    return any(e.verdict is Verdict.FAILED and e.clause.source.value == "assumed" for e in report.clauses)


def extent(report: Report) -> str:
    """How much was seen, of which target, and from which seed it was drawn."""
    seed = "" if report.seed is None else f", seed {report.seed}"
    return f"{report.target}{seed}, {report.requests} requests in {duration(report.duration_s)}"


def duration(seconds: float) -> str:
    """A duration as people read it: `0.8 s`, `1 min 5 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def iso_time(history: History, monotonic_ns: int, *, whole: bool = False) -> str:
    """A monotonic moment as ISO 8601 in UTC, to the microsecond, or to whole seconds without a zone.

    Without a record of the machine's clock it counts from the epoch, so that differences stay true.
    """
    terms = history.terms
    elapsed_ns = monotonic_ns - terms.monotonic_ns
    moment = datetime.fromtimestamp(((terms.wall_ns or 0) + elapsed_ns) / 1e9, UTC)
    if whole:
        return moment.replace(tzinfo=None).isoformat(timespec="seconds")
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def judgement(report: Report) -> str:
    """The verdict of a run in a sentence."""
    if report.interrupted:
        return "Interrupted before it was done."
    if report.verdict is not Verdict.WARNED:
        return {
            Verdict.FAILED: "This target breaks the contract.",
            Verdict.PASSED: "This target keeps the contract, as far as it was checked.",
            Verdict.NOT_EXERCISED: "Nothing was tested.",
        }[report.verdict]
    warned = [entry for entry in report.clauses if entry.verdict is Verdict.WARNED]
    known = sum((entry.reason or "").startswith("known ") for entry in warned)
    new = len(warned) - known
    parts = ["Passed"]
    if known:
        parts.append(f"with {_number(known, 'known violation')} that the baseline accepts for now")
    if new:
        parts.append(f"with {_number(new, 'warning')}")
    hint = " --strict turns warnings into failures." if new else ""
    return f"{parts[0]} {' and '.join(parts[1:])}.{hint}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


@dataclass(frozen=True, slots=True)
class Cause:
    """A broken clause, and those that probably are broken because of it."""

    entry: ClauseReport
    follow: tuple[ClauseReport, ...] = ()


def causes(report: Report) -> tuple[Cause, ...]:
    """The broken clauses, grouped by what is probably one cause; failures before warnings.

    A clause follows from another one if at least half of its violations touch what is wrong by the other's: the same
    place in an answer, the same field of a session, or the same mistake elsewhere; and where a status or the state of a
    session is wrong, all else in that answer and session. A wrong text explains nothing but itself, nor does what a
    target does wrong nearly everywhere. Of those that belong together the one that failed first stands above the
    others.
    """
    entries = broken(report)
    places = {entry.clause.id: place for place, entry in enumerate(report.clauses)}
    order = {e.clause.id: (min(map(_number_of_failure, e.violations), default=0), places[e.clause.id]) for e in entries}
    follow, above = _followers(entries, report.history), dict[str, str]()
    for entry in entries:
        name = entry.clause.id
        for other, how in sorted(follow[name].items(), key=lambda each: order[each[0]]):
            back = follow[other].get(name, 0)
            is_later = how > back or (how == back and order[other] < order[name])
            if is_later and _root(other, above) != name:
                above[name] = other
                break
    groups: dict[str, list[ClauseReport]] = {}
    for entry in sorted(entries, key=lambda each: each.clause.id in above):  # what follows comes later
        groups.setdefault(_root(entry.clause.id, above), []).append(entry)
    found = []
    for members in groups.values():
        first = min(members, key=lambda each: (WORST_FIRST.index(each.verdict), order[each.clause.id][0]))
        found.append(Cause(first, tuple(entry for entry in entries if entry in members and entry is not first)))
    return tuple(sorted(found, key=lambda cause: entries.index(cause.entry)))


def _root(identifier: str, above: Mapping[str, str]) -> str:
    while identifier in above:
        identifier = above[identifier]
    return identifier


def _followers(entries: Sequence[ClauseReport], history: History) -> Mapping[str, Mapping[str, int]]:
    """From which others each of some clauses follows: 2 for those whose failing place it is about, else 1."""
    met: dict[Operation, list[str | None]] = {}
    for exchange in history.exchanges:
        met.setdefault(exchange.operation, []).append(_session(exchange))
    about = {
        entry.clause.id: [(_number_of_failure(v), set(_places(v)), set(_marks(v))) for v in entry.collected]
        for entry in entries
    }
    found: dict[str, dict[str, int]] = {name: {} for name in about}
    for other in entries:
        places = {place for violation in other.collected for place in _places(violation)[:1]}
        wrong = _wrong(other, met)
        # Who is broken very often was not looked at to the end: what came later is not known of him.
        last = math.inf if other.is_all else max(map(_number_of_failure, other.collected))
        for name in found.keys() - {other.clause.id}:
            until = [each for each in about[name] if each[0] <= last]
            if until and _most(not places.isdisjoint(each) for _, each, _ in until):
                found[name][other.clause.id] = 2
            elif until and _most(not wrong.isdisjoint(each) for _, _, each in until):
                found[name][other.clause.id] = 1
    return found


def _most(answers: Iterable[bool]) -> bool:
    """Whether at least half of some answers are yes."""
    given = list(answers)
    return 2 * sum(given) >= len(given)


def _wrong(entry: ClauseReport, met: Mapping[Operation, Sequence[str | None]]) -> set[Hashable]:
    """The marks of what is wrong where a clause is broken, without those that nearly everything has.

    `met` holds the session of each exchange, by operation.
    """
    wrong: set[Hashable] = set()
    for violation in entry.collected:
        wrong |= {*_places(violation)[:1], _mistake(violation), *_fields(violation)}
    spreading = [violation for violation in entry.collected if _spreads(violation)]
    failing = {e.number: e.operation for violation in spreading if (e := violation.failing_exchange)}
    sessions = {name for violation in spreading for name in _sessions(violation)}
    operations = [operation for operation in set(failing.values()) if operation in met]
    if entry.is_all and 2 * len(failing) < sum(len(met[each]) for each in operations):
        wrong |= {number for number, operation in failing.items() if operation not in _SHOW_ALL}
    touched = {name for each in operations for name in met[each]} - {None} or set(met.get(Operation.CREATE, ()))
    if entry.is_all and 2 * len(sessions) < len(touched):
        wrong |= sessions
    return wrong


def _spreads(violation: Violation) -> bool:
    """Whether it is about an answer or a session as a whole, or its state: what is wrong with a text is wrong there."""
    at = violation.expectation.at
    if at is None or at.part in {Part.STATUS, Part.FORMS}:
        return True
    if at.part is Part.TEXT:
        return not violation.about
    named = [step for step in at.path if isinstance(step, str)]
    return at.part is Part.BODY and (not named or named[-1] in _STATE)


def _marks(violation: Violation) -> Iterator[Hashable]:
    """What a violation touches: places in answers, the mistake itself, and exchanges and sessions it may be due to."""
    yield from _places(violation)
    yield from _fields(violation)
    yield _mistake(violation)
    if not _spreads(violation):
        yield _number_of_failure(violation)
        return
    at = violation.expectation.at
    for exchange in violation.exchanges:
        # What is wrong in an answer is no reason for its status.
        if at is None or at.part is not Part.STATUS or exchange is not violation.failing_exchange:
            yield exchange.number
    yield from _sessions(violation)


def _fields(violation: Violation) -> Iterator[tuple[str, str]]:
    """The field that is wrong, of each session that a violation is about: it may be so wherever it is shown."""
    at = violation.expectation.at
    field = at.path[-1] if at is not None and at.part is Part.BODY and at.path else None
    if isinstance(field, str) and field not in _WHICH:
        yield from ((name, field) for name in _sessions(violation))


def _sessions(violation: Violation) -> Iterator[str]:
    """The sessions that a violation is about. Where a status alone is wrong, that a path names one is by the way."""
    is_status = isinstance(violation.expectation, StatusIs)
    for exchange in () if is_status and len(violation.exchanges) == 1 else violation.exchanges:
        if (name := _session(exchange)) is not None:
            yield name
    for event in (delivery.json for delivery in violation.deliveries):
        if isinstance(event, dict) and isinstance(told := subject_of(event), str):
            yield told


def _mistake(violation: Violation) -> Hashable:
    """What was expected and seen, but for ids and numbers: the same mistake may show in many sessions."""
    at = violation.expectation.at
    if isinstance(violation.expectation, StatusIs) and at is not None:
        # One certain status is a mistake of its own; that something is taken or refused has many reasons.
        where = "" if violation.expectation.statuses.words[:3].isdecimal() else at.operation
        return violation.expectation.expected, violation.seen, violation.about, where
    words = violation.expected, "a list" if at and isinstance(at.value, list) else violation.seen
    return violation.key, *(re.sub(r'"[a-z]+_\w{8,}"|\d+', "#", each) for each in words)


def _session(exchange: Exchange) -> str | None:
    """The session that an exchange is about."""
    created = exchange.object.get("id") if exchange.operation is Operation.CREATE else None
    return exchange.page_of or exchange.request.session_id or (created if isinstance(created, str) else None)


def _places(violation: Violation) -> list[tuple[int, str]]:
    """The places in answers that a violation is about, the failing one first."""
    return [(at.exchange.number, at.stable_name) for at in violation.places if at.exchange is not None]


def _number_of_failure(violation: Violation) -> int:
    """The number of the exchange at which a violation shows."""
    shown = violation.failing_exchange or next(reversed(violation.exchanges), None)
    return 0 if shown is None else shown.number
