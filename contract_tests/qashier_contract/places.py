"""Where something stands in what was observed: `At` names a place and reads the value there.

A place is a part of an exchange or of a delivery, and a path into it: `in_body(exchange, "line_items", "data", 0)`. A
path may go through each entry of a list (`EACH`), through those that have a property (`Where`), or to one of these
(`Entry`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from html import unescape
from typing import Final, TypeAlias

from qashier_contract.history import Delivery, Exchange
from qashier_contract.page import Page, page_of
from qashier_contract.values import Json, as_words, is_integer, same


class _Absent(Enum):
    """The type of `ABSENT`."""

    ABSENT = "nothing"

    def __repr__(self) -> str:
        return self.value


ABSENT: Final = _Absent.ABSENT
"""Stands for a value that is not there; `None` is what JSON calls null."""


class _Each(Enum):
    """The type of `EACH`."""

    EACH = "[]"


EACH: Final = _Each.EACH
"""A step of a path: through each entry of a list. The value at such a path is a list."""


@dataclass(frozen=True, slots=True)
class Where:
    """A step of a path: through those entries of a list that hold `value` at `path`. The value there is a list."""

    path: tuple[str | int, ...]
    value: Json


@dataclass(frozen=True, slots=True)
class Entry:
    """A step of a path: to the entry at `place` of a list.

    Told apart by the `value` that it holds at `path`, of several by which of them it is: places change from run to run.
    """

    place: int
    path: tuple[str, ...]
    value: Json
    nth: int = 0


Step: TypeAlias = str | int | _Each | Where | Entry


class Part(StrEnum):
    """Which part of an exchange or of a delivery."""

    STATUS = "status"
    HEADER = "header"
    METHOD = "method"
    BODY = "body"
    """The JSON value of the body."""
    RAW = "raw body"
    """The body as text, whatever it is; of HTML with its character references resolved."""
    TEXT = "page text"
    """What a hosted page shows, white space collapsed."""
    LINKS = "links"
    """The absolute addresses of a hosted page's links."""
    FORMS = "forms to pay"
    """The absolute actions of the forms of a hosted page that act on its session."""
    CONTROLS = "controls"
    """The `data-testid`s of a hosted page."""
    REQUEST_BODY = "request body"


_OF_PAGE: Final[Mapping[Part, Callable[[Page, str], Json]]] = {
    Part.TEXT: lambda page, _: page.text,
    Part.LINKS: lambda page, _: page.links,
    Part.CONTROLS: lambda page, _: sorted(page.tests),
    Part.FORMS: lambda page, session_id: [form["action"] for form in page.forms_to_pay(session_id)],
}
"""How a part of a session's hosted page is read."""


@dataclass(frozen=True, slots=True)
class At:
    """A place in an exchange or a delivery. For a header, `path` is its name."""

    message: Exchange | Delivery
    part: Part
    path: tuple[Step, ...] = ()

    @property
    def value(self) -> Json:
        """What stands there, as JSON; `ABSENT` if nothing does, `NOT_JSON` for a body that is none."""
        message, name = self.message, str(self.path[0]) if self.path else ""
        if isinstance(message, Delivery):
            if self.part is Part.HEADER:
                return _or_absent(message.header(name))
            return message.method if self.part is Part.METHOD else _walk(message.json, self.path)
        if self.part is Part.REQUEST_BODY:
            return _walk(message.request.json, self.path)
        if self.part is Part.METHOD:
            return message.request.method
        if message.reply is None:
            return ABSENT
        if self.part in _OF_PAGE:
            page = page_of(message)
            return ABSENT if page is None else _OF_PAGE[self.part](page, message.page_of or "")
        if self.part is Part.STATUS:
            return message.reply.status
        if self.part is Part.HEADER:
            return _or_absent(message.reply.header(name))
        if self.part is Part.RAW:
            text = message.reply.body.decode("utf-8", "replace")
            return unescape(text) if "html" in message.reply.media_type else text
        return _walk(message.json, self.path)

    @property
    def operation(self) -> str:
        """What the request asked for, or `webhook`."""
        return "webhook" if isinstance(self.message, Delivery) else self.message.operation.value

    @property
    def exchange(self) -> Exchange | None:
        return self.message if isinstance(self.message, Exchange) else None

    @property
    def name(self) -> str:
        """The place in words, such as `line_items.data[0].amount_total`, `status`, `header Allow`."""
        path = path_words(self.path)
        if self.part in {Part.BODY, Part.REQUEST_BODY} and path:
            return path
        return f"{self.part.value} {path}".strip()

    @property
    def stable_name(self) -> str:
        """`name` without what differs from run to run: places in lists and ids."""
        path = path_words([step if isinstance(step, str) else EACH for step in self.path])
        return f"{self.part.value} {path}".strip()

    @property
    def origin(self) -> str:
        """Where a value came from, in words: `as create returned it`."""
        if isinstance(self.message, Delivery):
            return "as the webhook has it"
        verb = "sent" if self.part is Part.REQUEST_BODY else "returned"
        return f"as {self.message.operation.value} {verb} it"


@dataclass(frozen=True, slots=True)
class Sum:
    """A value that is worked out from others: the sum of all integers at some places, and `plus`."""

    terms: tuple[At, ...]
    plus: int = 0

    @property
    def value(self) -> Json:
        """The sum; `ABSENT` if what stands there is no integer."""
        total = self.plus
        for term in self.terms:
            value = term.value
            numbers = value if isinstance(value, list) else [value]
            if not all(is_integer(number) for number in numbers):
                return ABSENT
            total += sum(numbers)
        return total

    @property
    def origin(self) -> str:
        """How it is worked out, in words: `created + 1800`."""
        words = " + ".join([term.name for term in self.terms] + ([str(self.plus)] if self.plus else []))
        return words if len(self.terms) > 1 or self.plus else f"the sum of {words}"


Expected: TypeAlias = Json | At | Sum
"""What ought to be: a value, a reference to where it stands, or a sum of references."""


def value_of(expected: Expected) -> Json:
    """The value that is meant."""
    return expected.value if isinstance(expected, (At, Sum)) else expected


def words_of(expected: Expected) -> str:
    """What is meant, in words: the value as JSON, and where it comes from."""
    value = value_of(expected)
    words = ABSENT.value if value is ABSENT else as_words(value)
    if isinstance(expected, At):
        return f"{words}, {expected.origin}"
    return f"{words} ({expected.origin})" if isinstance(expected, Sum) else words


def references(expected: Expected) -> tuple[At, ...]:
    """The places that an expected value refers to."""
    if isinstance(expected, Sum):
        return expected.terms
    return (expected,) if isinstance(expected, At) else ()


def path_words(path: Sequence[Step]) -> str:
    """A path in words: `line_items.data[0].amount_total`, `data[].id`."""
    words = ""
    for step in path:
        if isinstance(step, str):
            words += f".{step}"
        elif isinstance(step, int):
            words += f"[{step}]"
        elif isinstance(step, Entry):
            which = f", number {step.nth + 1}" if step.nth else ""
            words += f"[{path_words(step.path)} {as_words(step.value)}{which}]"
        elif isinstance(step, Where):
            words += f"[{path_words(step.path)} {as_words(value_of(step.value))}]"
        else:
            words += "[]"
    return words.removeprefix(".")


def _or_absent(text: str | None) -> Json:
    return ABSENT if text is None else text


def _walk(value: Json, path: tuple[Step, ...]) -> Json:
    """The value at a path into a value. Judging spends most of its time here: long lists are searched often."""
    for place, step in enumerate(path):
        if isinstance(step, str):
            if not isinstance(value, dict) or step not in value:
                return ABSENT
            value = value[step]
        elif isinstance(step, (_Each, Where)):
            if not isinstance(value, list):
                return ABSENT
            entries, rest = value, path[place + 1 :]
            if isinstance(step, Where):
                wanted = value_of(step.value)
                entries = [entry for entry in value if same(_walk(entry, step.path), wanted)]
            return [None if (found := _walk(entry, rest)) is ABSENT else found for entry in entries]
        else:
            number = step.place if isinstance(step, Entry) else step
            if not isinstance(value, list) or number >= len(value):
                return ABSENT
            value = value[number]
    return value


def status_of(exchange: Exchange) -> At:
    """The status of an answer."""
    return At(exchange, Part.STATUS)


def header_of(message: Exchange | Delivery, name: str) -> At:
    """A header of an answer, or of a delivery."""
    return At(message, Part.HEADER, (name,))


def in_body(message: Exchange | Delivery, *path: Step) -> At:
    """A place in the JSON of an answer, or of a delivery."""
    return At(message, Part.BODY, path)


def asked_in(exchange: Exchange, *path: Step) -> At:
    """A place in the JSON of a request."""
    return At(exchange, Part.REQUEST_BODY, path)
