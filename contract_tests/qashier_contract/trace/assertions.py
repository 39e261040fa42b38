"""What a finding expected, as assertions of Python: one form for each kind of expectation."""

from __future__ import annotations

import base64
import hmac
from typing import Final, cast

from qashier_contract.findings import (
    Contains,
    Counts,
    Delivered,
    Differs,
    Equals,
    Expectation,
    HasShape,
    OneOf,
    OneSucceeds,
    Ordered,
    PassesCheck,
    StatusIs,
    Within,
)
from qashier_contract.history import Delivery, Exchange
from qashier_contract.observed_events import subject_of
from qashier_contract.places import ABSENT, EACH, At, Entry, Expected, Part, Step, Sum, Where, value_of
from qashier_contract.trace.literals import called, literal
from qashier_contract.trace.names import Names
from qashier_contract.verdicts import Violation

_TYPES: Final = {
    "object": "dict",
    "array": "list",
    "string": "str",
    "integer": "int",
    "number": "(int, float)",
    "boolean": "bool",
}


class Assertion:
    """The assertions for one violation, by the names of the steps that show it."""

    def __init__(self, violation: Violation, names: Names) -> None:
        self.names = names
        self.violation = violation
        self.account = next((e.account for e in reversed(violation.exchanges) if e.account is not None), 0)

    def lines(self) -> list[str]:
        """The statements, with what was expected as the message."""
        return self._of(self.violation.expectation)

    def _of(self, wanted: Expectation) -> list[str]:
        if isinstance(wanted, StatusIs):
            return self._status(wanted)
        if isinstance(wanted, OneSucceeds):
            replies = ", ".join(self.names.reply(exchange) for exchange in wanted.exchanges)
            return [f"assert sum(reply.is_success for reply in ({replies},)) <= 1"]
        if isinstance(wanted, Delivered):
            return self._delivered(wanted)
        if isinstance(wanted, HasShape | Equals | Differs | OneOf | Within) and _is_entry(wanted.at):
            return self._of_entry(wanted)
        if isinstance(wanted, HasShape):
            return self._shape(wanted, self.place(wanted.at))
        if isinstance(wanted, Contains):
            return self._contains(wanted)
        if isinstance(wanted, PassesCheck):
            raise TypeError(f"only the program that has the check {wanted.check} can look again")
        if isinstance(wanted, Ordered):
            return self._ordered(wanted, self.place(wanted.at))
        if isinstance(wanted, Counts):
            return [
                f"seen = {self.place(wanted.at)}",
                f"assert {_bounds('len(seen)', wanted.least, wanted.most)}, seen",
            ]
        return self._compared(wanted, self.place(wanted.at))

    def _of_entry(self, wanted: HasShape | Equals | Differs | OneOf | Within) -> list[str]:
        """What holds for an entry of a list, if there is one: where the clause is kept, the list may be shorter."""
        exchange, step = cast("Exchange", wanted.at.message), wanted.at.path[1]
        data = f'{self.names.reply(exchange)}.json()["data"]'
        if isinstance(step, Entry):
            data, place = self._those("one", data, step, exchange.account), step.nth
        else:
            place = cast("int", step)
        one = self._path("one", wanted.at.path[2:], exchange.account)
        lines = self._shape(wanted, one) if isinstance(wanted, HasShape) else self._compared(wanted, one)
        return ["\n".join([f"for one in {data}[{place}:{place + 1}]:", *(f"    {line}" for line in lines)])]

    def _compared(self, wanted: Equals | Differs | OneOf | Within, place: str) -> list[str]:
        if isinstance(wanted, Equals):
            if value_of(wanted.value) is ABSENT:
                return [f"assert absent(lambda: {place})"]
            return [f"assert same({place}, {self._signature(wanted) or self.expected(wanted.value)}), {place}"]
        if isinstance(wanted, Differs):
            return [f"assert not same({place}, {self.place(wanted.other)}), {place}"]
        if isinstance(wanted, OneOf):
            allowed = ", ".join(self.expected(one) for one in wanted.allowed)
            return [f"assert any(same({place}, one) for one in ({allowed},)), {place}"]
        least = "" if wanted.least is None else f"{self.expected(wanted.least)} <= "
        most = "" if wanted.most is None else f" <= {self.expected(wanted.most)}"
        return [f"seen = {place}", f"assert type(seen) is int and {least}seen{most}, seen"]

    def _ordered(self, wanted: Ordered, place: str) -> list[str]:
        if not wanted.values:
            return [f"seen = {place}", "assert seen == sorted(seen, reverse=True), seen"]
        values = ", ".join(self.expected(value) for value in wanted.values)
        return [
            f"order = [{values}]",
            f"seen = [one for one in {place} if one in order]",
            "assert seen == [one for one in order if one in seen], seen",
        ]

    def _status(self, wanted: StatusIs) -> list[str]:
        reply = self.names.reply(wanted.exchange)
        tests = []
        for least, most in wanted.statuses.ranges:
            tests.append(
                f"{reply}.status_code == {least}" if least == most else f"{least} <= {reply}.status_code <= {most}"
            )
        return [f"assert {' or '.join(tests)}, {reply}.text"]

    def _shape(self, wanted: HasShape, place: str) -> list[str]:
        if wanted.type == "JSON":
            return [f"assert {place} is not ..."]
        lines = [f"seen = {place}"]
        test = f"isinstance(seen, {_TYPES[wanted.type]})"
        if wanted.type in {"integer", "number"}:
            test += " and not isinstance(seen, bool)"
        lines.append(f"assert {test}, seen")
        if wanted.pattern is not None:
            lines.append(f"assert re.fullmatch({self.names.pattern(wanted.pattern)!r}, seen), seen")
        return lines

    def _contains(self, wanted: Contains) -> list[str]:
        member = self.expected(wanted.member)
        places = [self.place(at) for at in (wanted.at, *getattr(wanted, "elsewhere", ()))]
        if isinstance(wanted.at.value, str) or wanted.at.part in {Part.HEADER, Part.TEXT, Part.RAW}:
            seen = f"({places[0]} or '').lower()"
            return [f"assert {called(member, 'lower')} {'not ' * wanted.absent}in {seen}, {places[0]}"]
        if len(places) > 1:
            listed = ", ".join(places)
            return [
                f"pages = [{listed}]",
                f"assert any({member} {'not ' * wanted.absent}in page for page in pages), pages",
            ]
        return [f"assert {member} {'not ' * wanted.absent}in {places[0]}, {places[0]}"]

    def _delivered(self, wanted: Delivered) -> list[str]:
        hook = self.names.hook_at(wanted.endpoint.url)
        # By its value: where the clause is kept, the delivery that named it may not come.
        session_id = self.names.constant(value_of(wanted.session_id), wanted.endpoint.account)
        if wanted.delays:
            return [f"assert {hook}.grows({session_id})"]
        arguments = session_id + (f", {wanted.least}" if wanted.least else "")
        count = "len(seen)"
        if isinstance(wanted.since, Delivery):
            arguments += f", after={self._index(wanted.since)}"
            count = "len({one.at for one in seen})"  # the same try may come twice
        if wanted.within_s is not None:
            arguments += f", within_s={wanted.within_s}"
        return [f"seen = {hook}.about({arguments})", f"assert {_bounds(count, wanted.least, wanted.most)}, seen"]

    def _signature(self, wanted: Equals) -> str | None:
        """How an expected header of a delivery is made from its body and the endpoint's secret; None if it is not."""
        delivery, value = wanted.at.message, value_of(wanted.value)
        if not isinstance(delivery, Delivery) or wanted.at.part is not Part.HEADER or not delivery.endpoint.secret:
            return None
        made = hmac.new(delivery.endpoint.secret.encode(), delivery.body, "sha256")
        body = self._one(delivery) + ".body"
        shown = f'hmac.new({called(literal(delivery.endpoint.secret), "encode")}, {body}, "sha256")'
        if value == base64.b64encode(made.digest()).decode():
            return f"base64.b64encode({shown}.digest()).decode()"
        return f"{shown}.hexdigest()" if value == made.hexdigest() else None

    # Places and values.

    def expected(self, expected: Expected) -> str:
        """What ought to be, as source."""
        if isinstance(expected, At):
            return self.place(expected)
        if isinstance(expected, Sum):
            terms = [self._term(term) for term in expected.terms] + ([str(expected.plus)] if expected.plus else [])
            return " + ".join(terms) or "0"
        return self.names.constant(expected, self.account)

    def _term(self, term: At) -> str:
        place = self.place(term)
        return f"sum({place})" if isinstance(term.value, list) else place

    def place(self, at: At) -> str:
        """What stands at a place, as source."""
        message = at.message
        if isinstance(message, Delivery):
            return self._of_delivery(at, message)
        if at.part is Part.REQUEST_BODY or not self.names.knows(message):
            return self.names.constant(None if at.value is ABSENT else at.value, message.account)
        return self._of_reply(at, message)

    def _of_reply(self, at: At, exchange: Exchange) -> str:
        reply = self.names.reply(exchange)
        plain = {
            Part.STATUS: f"{reply}.status_code",
            Part.RAW: f"unescape({reply}.text)",
            Part.TEXT: f"shown({reply}).text",
            Part.LINKS: f"shown({reply}).links",
            Part.CONTROLS: f"sorted(shown({reply}).tests)",
        }
        if at.part is Part.RAW and exchange.page_from is not None:
            # What a button leads to may be shown at once, or be a redirect away.
            return f'({reply}.headers.get("location") or {plain[at.part]})'
        if at.part in plain:
            return plain[at.part]
        if at.part is Part.HEADER:
            return f'{reply}.headers.get("{at.path[0]}")'
        if at.part is Part.FORMS:
            session_id = self.names.constant(exchange.page_of, exchange.account)
            return f'[form["action"] for form in shown({reply}).forms_to_pay({session_id})]'
        return self._path(f"{reply}.json()", at.path, exchange.account)

    def _of_delivery(self, at: At, delivery: Delivery) -> str:
        one = self._one(delivery)
        if at.part is Part.HEADER:
            return f'{one}.headers.get("{str(at.path[0]).lower()}")'
        if at.part is Part.RAW:
            return f"{one}.body"
        return self._path(f"{one}.json()", at.path, delivery.endpoint.account)

    def _one(self, delivery: Delivery) -> str:
        """A delivery, by its place among those that tell of the same session."""
        place = self._index(delivery)
        session_id = self.names.constant(subject_of(delivery.event), delivery.endpoint.account)
        return f"{self.names.hook_at(delivery.endpoint.url)}.about({session_id}, {place + 1})[{place}]"

    def _index(self, delivery: Delivery) -> int:
        """The place of a delivery among those to its endpoint that tell of the same session."""
        alike = [
            one
            for one in self.names.steps.history.deliveries
            if one.endpoint.url == delivery.endpoint.url and subject_of(one.event) == subject_of(delivery.event)
        ]
        return alike.index(delivery) if delivery in alike else 0

    def _path(self, root: str, path: tuple[Step, ...], account: int | None) -> str:
        """An expression that walks a path, through every entry of a list where it says so."""
        for place, step in enumerate(path):
            if step is EACH or isinstance(step, Where):
                return self._those(self._path("one", path[place + 1 :], account), root, step, account)
            if isinstance(step, Entry):
                root = f"{self._those('one', root, step, account)}[{step.nth}]"
            else:
                root += f"[{step!r}]".replace("'", '"')
        return root

    def _those(self, inner: str, root: str, step: Step, account: int | None) -> str:
        """What stands in each entry of a list, or in those that a step chooses, as a list."""
        test = ""
        if isinstance(step, Where | Entry):
            test = f" if {self._path('one', step.path, account)} == {self.expected(step.value)}"
        return f"[{inner} for one in {root}{test}]"


def _is_entry(at: At) -> bool:
    """Whether a place is in one entry of a list that was answered with."""
    in_answer = isinstance(at.message, Exchange) and at.part is Part.BODY
    return in_answer and len(at.path) > 1 and at.path[0] == "data" and isinstance(at.path[1], int | Entry)


def _bounds(what: str, least: int, most: int | None) -> str:
    if most is None:
        return f"{what} >= {least}"
    if least == most:
        return f"{what} == {least}"
    return f"{least} <= {what} <= {most}" if least else f"{what} <= {most}"
