"""What a clause finds: an expectation of one of twelve kinds, whether it holds, and the evidence.

Everything that a report, a pasted test or a baseline says of a violation comes from here; nothing stands in prose only.
An expectation names the place that it is about, knows what ought to stand there, and looks for itself:

| kind | what it expects |
|---|---|
| `StatusIs` | an answer with one of some statuses |
| `Equals` | a value that is the expected one, type included |
| `Differs` | a value that is not the other one |
| `HasShape` | a value of a JSON type, of a form |
| `OneOf` | one of several values |
| `Within` | an integer between two bounds |
| `Ordered` | a list in an order |
| `Counts` | a list of so many entries |
| `Contains` | a list or a text that has something in it, or has it not |
| `OneSucceeds` | that of several requests at most one succeeds |
| `Delivered` | so many deliveries of a session's event at an endpoint |
| `PassesCheck` | a value that passes the check of a program of others, which alone can look again |

An expected value may be a reference to another place: "as create returned it". So a replay can expect what *its* create
returned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from qashier_contract.history import Delivery, Endpoint, Exchange
from qashier_contract.places import ABSENT, At, Expected, references, status_of, value_of, words_of
from qashier_contract.statuses import Statuses
from qashier_contract.values import NOT_JSON, Json, as_words, is_integer, is_of_type, same

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class StatusIs:
    """An answer has one of some statuses. Without an answer it does not hold."""

    exchange: Exchange
    statuses: Statuses

    @property
    def at(self) -> At:
        return status_of(self.exchange)

    @property
    def holds(self) -> bool:
        return self.exchange.status in self.statuses

    @property
    def expected(self) -> str:
        return f"status {self.statuses.words}"


@dataclass(frozen=True, slots=True)
class Equals:
    """A value is the expected one. 1, 1.0 and true are three values."""

    at: At
    value: Expected

    @property
    def holds(self) -> bool:
        return same(self.at.value, value_of(self.value))

    @property
    def expected(self) -> str:
        return f"{self.at.name}: {words_of(self.value)}"


@dataclass(frozen=True, slots=True)
class Differs:
    """A value is not the one at another place."""

    at: At
    other: At

    @property
    def holds(self) -> bool:
        return not same(self.at.value, self.other.value)

    @property
    def expected(self) -> str:
        return f"{self.at.name}: another value than {words_of(self.other)}"


_TYPES: Final = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "JSON": "JSON",
}


@dataclass(frozen=True, slots=True)
class HasShape:
    """A value is there and of a JSON type (`JSON` for any); a string matches a pattern as a whole.

    `form` names the pattern in words: `an id such as evt_1a2B3c`.
    """

    at: At
    type: str
    pattern: str | None = None
    form: str = ""

    @property
    def holds(self) -> bool:
        value = self.at.value
        if value is ABSENT or value is NOT_JSON or not is_of_type(value, self.type):
            return False
        return self.pattern is None or re.fullmatch(self.pattern, value) is not None

    @property
    def expected(self) -> str:
        return f"{self.at.name}: {self.form or _TYPES[self.type]}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """A value is one of several."""

    at: At
    allowed: tuple[Expected, ...]

    @property
    def holds(self) -> bool:
        value = self.at.value
        return any(same(value, value_of(one)) for one in self.allowed)

    @property
    def expected(self) -> str:
        words = [words_of(one) for one in self.allowed[:_MOST_NAMED]]
        rest = f" … {len(self.allowed)} in all" if len(self.allowed) > _MOST_NAMED else ""
        return f"{self.at.name}: {' or '.join(words)}{rest}"


_MOST_NAMED: Final = 6


@dataclass(frozen=True, slots=True)
class Within:
    """An integer is between two bounds, both included; None for no bound."""

    at: At
    least: Expected | None = None
    most: Expected | None = None

    @property
    def holds(self) -> bool:
        value = self.at.value
        least, most = value_of(self.least), value_of(self.most)
        return (
            is_integer(value)
            and (least is None or (is_integer(least) and least <= value))
            and (most is None or (is_integer(most) and value <= most))
        )

    @property
    def expected(self) -> str:
        if self.least is None:
            return f"{self.at.name}: at most {words_of(self.most)}"
        if self.most is None:
            return f"{self.at.name}: at least {words_of(self.least)}"
        return f"{self.at.name}: from {words_of(self.least)} to {words_of(self.most)}"


@dataclass(frozen=True, slots=True)
class Ordered:
    """A list is in an order: those of `values` that are in it stand in their order; without `values`, none rises."""

    at: At
    values: tuple[Expected, ...] = ()

    @property
    def holds(self) -> bool:
        found = self.at.value
        if not isinstance(found, list):
            return False
        if not self.values:
            numbers = [number for number in found if is_integer(number)]
            return all(earlier >= later for earlier, later in pairwise(numbers))
        places = [_place(found, value_of(value)) for value in self.values]
        known = [place for place in places if place is not None]
        return known == sorted(known)

    @property
    def expected(self) -> str:
        if not self.values:
            return f"{self.at.name}: newest first"
        return f"{self.at.name}: {' before '.join(as_words(value_of(value)) for value in self.values[:_MOST_NAMED])}"


@dataclass(frozen=True, slots=True)
class Counts:
    """A list has at least and at most so many entries; `most` is None for no bound.

    `things` says in words what they are, where the place does not.
    """

    at: At
    least: int = 0
    most: int | None = None
    things: str = ""

    @property
    def holds(self) -> bool:
        found = self.at.value
        return isinstance(found, list) and self.least <= len(found) and (self.most is None or len(found) <= self.most)

    @property
    def expected(self) -> str:
        number = _number_words(self.least, self.most)
        return f"{number} {self.things}" if self.things else f"{self.at.name}: {number}"


@dataclass(frozen=True, slots=True)
class Contains:
    """A list has a member, or a text a piece, whatever its case; with `absent`, at least one of the lists must lack it.

    `form` names in words what is looked for: `a way to success_url`. `elsewhere` are other lists of which any may have
    it, such as the other pages of a walk.
    """

    at: At
    member: Expected
    absent: bool = False
    elsewhere: tuple[At, ...] = ()
    form: str = ""

    @property
    def holds(self) -> bool:
        return any(self._holds_at(at.value) for at in (self.at, *self.elsewhere))

    def _holds_at(self, found: Json) -> bool:
        member = value_of(self.member)
        if isinstance(found, str):
            return (isinstance(member, str) and member.lower() in found.lower()) is not self.absent
        if isinstance(found, list):
            return (_place(found, member) is not None) is not self.absent
        return self.absent and found is ABSENT

    @property
    def expected(self) -> str:
        return self.form or f"{self.at.name}: {'no ' if self.absent else ''}{words_of(self.member)}"


@dataclass(frozen=True, slots=True)
class OneSucceeds:
    """Of several requests that were sent at once at most one is answered with success."""

    exchanges: tuple[Exchange, ...]

    @property
    def at(self) -> At:
        return status_of(self.exchanges[-1])

    @property
    def holds(self) -> bool:
        return sum(exchange.succeeded for exchange in self.exchanges) <= 1

    @property
    def expected(self) -> str:
        return "one of them succeeds: " + ", ".join(exchange.operation.value for exchange in self.exchanges)


@dataclass(frozen=True, slots=True)
class Delivered:
    """An endpoint gets the event of a session so many times, and later and later if `delays` are given.

    `attempts` are the deliveries that count for it: those that came in time, if `within_s` is given. `since` is what
    the seconds are counted from, None where nothing but the number matters. `delays` are the seconds between attempts.
    """

    endpoint: Endpoint
    session_id: Expected
    attempts: tuple[Delivery, ...]
    least: int = 0
    most: int | None = None
    within_s: int | None = None
    since: Exchange | Delivery | None = None
    delays: tuple[int, ...] = ()

    @property
    def at(self) -> At | None:
        return None

    @property
    def holds(self) -> bool:
        enough = self.least <= len(self.attempts) and (self.most is None or len(self.attempts) <= self.most)
        return enough and self._is_growing

    @property
    def _is_growing(self) -> bool:
        """Whether the delays grow.

        The clock moved in steps, of which the later ones are long: an attempt is known to have come by the end of one.
        So the mean of the first delays is at most what the times say; only a series that does not grow from the
        beginning is certain.
        """
        if not self.delays:
            return True
        first, sums = self.delays[0], list(accumulate(self.delays))
        means = all(sums[count - 1] > count * first for count in range(5, len(self.delays) + 1))
        return self.delays[-1] > first and means

    @property
    def expected(self) -> str:
        there = f"deliveries of its event at /{self.endpoint.url.rpartition('/')[2]}"
        if self.delays:
            return f"{there}: growing delays"
        when = "" if self.within_s is None else f" within {self.within_s} s"
        return f"{there}{when}: {_number_words(self.least, self.most)}"


@dataclass(frozen=True, slots=True)
class PassesCheck:
    """A check of another program (Schemathesis) failed on a value; `seen` is what it said. Never holds."""

    at: At
    check: str
    seen: str
    holds: Literal[False] = False

    @property
    def expected(self) -> str:
        return f"{self.at.name}: passes {self.check}"


_OfAValue: TypeAlias = Equals | Differs | HasShape | OneOf | Within | Ordered | Counts | Contains
Expectation: TypeAlias = StatusIs | _OfAValue | OneSucceeds | Delivered | PassesCheck
_FIELDS_BUT_PLACE: Final[Mapping[Any, Sequence[str]]] = {
    kind: [each.name for each in fields(kind) if each.name != "at"] for kind in get_args(Expectation)
}
"""The fields of each kind that may refer to other places."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation of a clause: what was expected, and the evidence.

    `reason` says in a few words why it is expected ("the path is unknown"). `about` is what in the request it hangs on,
    such as the field that is wrong, in words that are the same in every run. `exchanges` are those that show it, in the
    order of sending; `deliveries` likewise. `clause` names the clause that it breaks.
    """

    expectation: Expectation
    reason: str = ""
    exchanges: tuple[Exchange, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    about: str = ""
    clause: str = ""

    @property
    def holds(self) -> bool:
        return self.expectation.holds

    @property
    def expected(self) -> str:
        """What ought to be, in words, and why."""
        return self.expectation.expected + (f" ({self.reason})" if self.reason else "")

    @property
    def seen(self) -> str:
        """What was there instead, in words."""
        return _seen(self.expectation)

    @property
    def failing_exchange(self) -> Exchange | None:
        """The exchange that the expectation is about; None for a delivery."""
        at = self.expectation.at
        return None if at is None else at.exchange

    @property
    def request_ids(self) -> tuple[str, ...]:
        return tuple(exchange.request_id for exchange in self.exchanges if exchange.request_id)

    @property
    def places(self) -> tuple[At, ...]:
        """The places that the expectation names: its own first, then those that the expected value refers to."""
        return _places(self.expectation)

    @property
    def key(self) -> str:
        """What stays the same from run to run: the kind, the operation, the place and what it hangs on."""
        at = self.expectation.at
        where = "webhook delivery" if at is None else f"{at.operation} {at.stable_name}"
        return f"{type(self.expectation).__name__} {where}" + (f", {self.about}" if self.about else "")


def expect(
    expectation: Expectation,
    reason: str = "",
    *evidence: Exchange,
    deliveries: Sequence[Delivery] = (),
    about: str = "",
) -> Finding:
    """A finding. The exchanges and deliveries that the expectation names are evidence without being named again."""
    messages = [at.message for at in _places(expectation)]
    if isinstance(expectation, OneSucceeds):
        messages += expectation.exchanges
    exchanges = {*evidence, *(message for message in messages if isinstance(message, Exchange))}
    shown = [*deliveries, *(message for message in messages if isinstance(message, Delivery))]
    if isinstance(expectation, Delivered):
        shown += [] if expectation.least > 0 else expectation.attempts
    return Finding(
        expectation,
        reason,
        tuple(sorted(exchanges, key=lambda exchange: exchange.number)),
        tuple(dict.fromkeys(shown)),
        about,
    )


def _places(expectation: Expectation) -> tuple[At, ...]:
    at = expectation.at
    return (*(() if at is None else (at,)), *_references(expectation))


def _references(expectation: Expectation) -> Iterator[At]:
    """The places that an expected value refers to."""
    for name in _FIELDS_BUT_PLACE[type(expectation)]:
        value = getattr(expectation, name)
        for one in value if isinstance(value, tuple) else (value,):
            yield from references(one)


def _seen(expectation: Expectation) -> str:
    """What is there instead of what was expected, in words."""
    if isinstance(expectation, OneSucceeds):
        return "statuses " + ", ".join(str(exchange.status) for exchange in expectation.exchanges)
    if isinstance(expectation, Delivered):
        delays = ", ".join(map(str, expectation.delays[:_MOST_NAMED]))
        return f"deliveries of its event: {f'delays of {delays} s' if delays else len(expectation.attempts)}"
    if isinstance(expectation, PassesCheck):
        return expectation.seen
    at, found = expectation.at, expectation.at.value
    if at.exchange is not None and at.exchange.reply is None and found is ABSENT:
        return f"no answer: {at.exchange.failure or 'unknown'}"
    if isinstance(expectation, StatusIs):
        return f"status {found}"
    if isinstance(expectation, Differs):
        return f"{at.name}: the same value"
    if isinstance(expectation, Counts) and isinstance(found, list):
        where = "" if expectation.things else f"{at.name}: "
        return f"{where}{len(found)}" + (f", {as_words(found)}" if found else "")
    return f"{at.name}: {ABSENT.value if found is ABSENT else as_words(found)}"


def _place(values: list[Json], value: Json) -> int | None:
    return next((place for place, one in enumerate(values) if same(one, value)), None)


def _number_words(least: int, most: int | None) -> str:
    if most is None:
        return f"at least {least}"
    if most == 0:
        return "none"
    return str(most) if least == most else f"{least} to {most}" if least else f"at most {most}"
