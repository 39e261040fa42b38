"""The vocabulary of defects. Each function says where something is changed; its argument says what.

A function returns a `Change`. Its argument gets one request, body, session, page or rule at a time. JSON values are
changed in place; frozen values are returned changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson

from qashier_mock.bugs.parts import Command, Inner, Json, Listing, Parts, Wrapper, without_cursor
from qashier_mock.bugs.table import Change, several
from qashier_mock.bugs.traffic import Answer, HungUp, Request, Respond
from qashier_mock.core.errors import ApiError, CursorUnknown, RequestInvalid, SessionNotFound
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId, CheckoutSession, CreateSession, Event, EventType, PaymentStatus, Status
from qashier_mock.core.paging import ListQuery, Page
from qashier_mock.pipeline.exchange import Call
from qashier_mock.pipeline.refusal import Reason, Refused
from qashier_mock.pipeline.reply import Reply
from qashier_mock.stores.base import Transaction
from qashier_mock.web.wire import error_to_json

Moved = tuple[CheckoutSession, EventType | None]

RACE_S: Final = 0.02
"""Seconds that a defect waits between looking and acting, so that concurrent requests overlap."""

CREATE: Final = "create_checkout_session"
RETRIEVE: Final = "retrieve_checkout_session"
LIST: Final = "list_checkout_sessions"
EXPIRE: Final = "expire_checkout_session"


# the document


def schema(path: str, **keywords: Any) -> Change:
    """Give a schema of the public API other keywords: None removes one, a function computes one from the old value.

    The path is below `components`, as in `schemas.Quantity` or `parameters.PageLimit.schema`.
    """

    def change(document: Json) -> None:
        found = document["components"]
        for step in path.split("."):
            found = found[step]
        for keyword, value in keywords.items():
            if value is None:
                del found[keyword]
            else:
                found[keyword] = value(found[keyword]) if callable(value) else value

    return lambda parts: parts.document.append(change)


# requests


def request(change: Callable[[Request], None]) -> Change:
    """Change the requests of the public API before they are looked at."""

    async def around(_parts: Parts, respond: Respond, asked: Request) -> Answer:
        change(asked)
        return await respond(asked)

    return layer(around)


def request_header(name: bytes, value: bytes, condition: Callable[[Request], bool]) -> Change:
    """Give a header of some requests another value."""
    return request(lambda asked: asked.set_header(name, value) if condition(asked) else None)


def create_body(change: Callable[[Json], object]) -> Change:
    """Change the JSON objects that creates bring, before they are validated; other bodies stay byte for byte."""

    def rewrite(asked: Request) -> None:
        if not asked.is_create:
            return
        try:
            value = orjson.loads(asked.body)
            before = orjson.dumps(value)
        except (orjson.JSONDecodeError, TypeError):
            return
        if isinstance(value, dict):
            change(value)
            asked.body = asked.body if orjson.dumps(value) == before else orjson.dumps(value)

    return request(rewrite)


def create_field(path: str, convert: Callable[[Any], Any] = lambda _old: None, *, default: Any = None) -> Change:
    """Change a field of the JSON objects that creates bring, before they are validated.

    The path is as in `line_items.*.quantity`; where a part of it is missing, nothing is changed. `convert` makes the
    new value from the old one: None leaves that as it is, `OUT` takes the field out. `default` fills what is missing.
    """
    *outer, name = path.split(".")

    def rewrite(body: Json) -> None:
        for holder in _found(body, outer):
            value = convert(holder[name]) if name in holder else default
            if value is OUT:
                del holder[name]
            elif value is not None:
                holder[name] = value

    return create_body(rewrite)


OUT: Final = object()


def _found(value: Any, path: Sequence[str]) -> list[Json]:
    """The JSON objects at a path."""
    if not path:
        return [value] if isinstance(value, dict) else []
    if path[0] == "*":
        inner = value if isinstance(value, list) else []
    else:
        inner = [value[path[0]]] if isinstance(value, dict) and path[0] in value else []
    return [found for each in inner for found in _found(each, path[1:])]


# answers


def layer(around: Callable[[Parts, Respond, Request], Awaitable[Answer]]) -> Change:
    """Answer requests of the public API, as a rule by asking `respond` and changing what it answers."""
    return lambda parts: parts.traffic.append(partial(around, parts))


def answer(change: Callable[[Request, Answer], None]) -> Change:
    """Change the answers of the public API before they are sent."""

    async def around(_parts: Parts, respond: Respond, asked: Request) -> Answer:
        answered = await respond(asked)
        change(asked, answered)
        return answered

    return layer(around)


def answer_if(
    condition: Callable[[Request, Answer], object],
    *,
    status: int | None = None,
    header: tuple[bytes, bytes | None] | None = None,
    body: Callable[[bytes], bytes] | None = None,
) -> Change:
    """Give some answers another status, header (None removes it) or body."""

    def change(asked: Request, answered: Answer) -> None:
        if condition(asked, answered):
            answered.status = status or answered.status
            answered.body = answered.body if body is None else body(answered.body)
            if header is not None:
                answered.set_header(*header)

    return answer(change)


def refusal(code: str, status: int) -> Change:
    """Give the refusals with an error code another status."""
    return answer_if(lambda _asked, answered: answered.error.get("code") == code, status=status)


def error_body(change: Callable[[Request, Json], Any]) -> Change:
    """Answer refusals with another body, from the request and what the envelope holds."""

    def replaced(asked: Request, answered: Answer) -> None:
        if answered.error:
            answered.body = orjson.dumps(change(asked, answered.error))

    return answer(replaced)


def refuse_if(condition: Callable[[Request], object], error: Exception) -> Change:
    """Refuse some requests before they are looked at."""

    async def around(parts: Parts, respond: Respond, asked: Request) -> Answer:
        return parts.refusal(error) if condition(asked) else await respond(asked)

    return layer(around)


def crash(condition: Callable[[Request], object]) -> Change:
    """Answer some requests with 500, like an uncaught exception."""
    return refuse_if(condition, Refused(Reason.INTERNAL_ERROR, "Internal server error"))


def hang_up(condition: Callable[[Request], bool]) -> Change:
    """Close the connection of some requests without an answer."""

    def close(asked: Request) -> None:
        if condition(asked):
            raise HungUp

    return request(close)


# operations


def method(part: Any, name: str) -> Callable[[Wrapper], Change]:
    """Call `wrapper(parts, inner, …)` in place of a public method of a part."""
    return lambda wrapper: lambda parts: parts.methods.append((part, name, partial(wrapper, parts)))


def command(name: str) -> Callable[[Callable[[Command], Awaitable[object]]], Change]:
    """Answer a command of the checkout service, as a rule by doing it."""

    def changed(answer: Callable[[Command], Awaitable[object]]) -> Change:
        async def call(parts: Parts, inner: Inner, account: AccountId, subject: object, by: object = None) -> object:
            return await answer(Command(parts, account, subject, by, inner))

        return method("service", name)(call)

    return changed


def refused(name: str, *errors: type[ApiError]) -> Callable[[Callable[[Command], Awaitable[object]]], Change]:
    """Do something where a command is refused with one of these errors; what it returns is answered instead."""

    def changed(instead: Callable[[Command], Awaitable[object]]) -> Change:
        async def answer(asked: Command) -> object:
            try:
                return await asked.do()
            except errors:
                found = await instead(asked)
                if found is None:
                    raise
                return found

        return command(name)(answer)

    return changed


Blame = tuple[str, str] | None
"""The path to blame and words; None where there is no reason to refuse."""


def refused_create(reason: Callable[[Json, str | None], Blame], code: str = "parameter_invalid") -> Change:
    """Refuse valid creates for which there is a reason, from the body and the idempotency key."""

    async def handle(_parts: Parts, inner: Inner, call: Call, **sent: Any) -> object:
        found = reason(sent["body"], sent.get("idempotency_key"))
        if found is not None:
            raise RequestInvalid(found[1], code=code, param=found[0])
        return await inner(call, **sent)

    return method("api", CREATE)(handle)


def reply(operation: str, change: Callable[[Json], object], *, part: str = "api") -> Change:
    """Change what one operation answers when it succeeds."""

    async def handle(_parts: Parts, inner: Inner, call: Call, **arguments: Any) -> Reply:
        answered: Reply = await inner(call, **arguments)
        payload = answered.payload
        payload = orjson.loads(payload if isinstance(payload, bytes) else orjson.dumps(payload))
        change(payload)
        return replace(answered, payload=payload)

    return method(part, operation)(handle)


def entries(change: Callable[[Json], object]) -> Change:
    """Change each session as a list of the API shows it."""
    return reply(LIST, lambda page: [change(each) for each in page["data"]])


def events(change: Callable[[Json], object]) -> Change:
    """Change each event as JSON, as it is delivered and as the control API lists it."""

    def render(_parts: Parts, inner: Inner, event: Event) -> bytes:
        rendered = orjson.loads(inner(event))
        change(rendered)
        return orjson.dumps(rendered)

    listed = reply("list_events", lambda page: [change(each) for each in page["data"]], part="control")
    return several(method("dispatcher", "render")(render), listed)


def shown(change: Callable[[Json], object]) -> Change:
    """Change each session as JSON, wherever the API or the control API shows it."""
    shows = [reply(operation, change) for operation in (CREATE, RETRIEVE, EXPIRE)]
    return several(*shows, reply("pay_session", change, part="control"), entries(change))


def sessions(change: Callable[[Json], object]) -> Change:
    """Change each session as JSON, events included."""
    return several(shown(change), events(lambda event: change(event["data"]["object"])))


def unknown_id(operation: str, status: int, payload: Callable[[str], Json] | None = None) -> Change:
    """Answer otherwise where an operation is asked for a session that no account has; without a payload, the error."""

    async def handle(parts: Parts, inner: Inner, call: Call, **arguments: Any) -> Reply:
        try:
            answered: Reply = await inner(call, **arguments)
        except SessionNotFound as error:
            if await parts.service.find(arguments["id"]) is not None:
                raise
            return Reply(status, error_to_json(error) if payload is None else payload(arguments["id"]))
        return answered

    return method("api", operation)(handle)


def foreign_cursor(*, is_known: bool, shows_nothing: bool = False) -> Change:
    """Take a cursor for none, or for an empty page, where another account has its session; or, where nobody has it."""

    async def instead(asked: Command) -> Page | None:
        query = asked.subject
        found = await asked.parts.service.find(query.starting_after or query.ending_before)
        if (found is not None) is not is_known:
            return None
        return Page((), has_more=False) if shows_nothing else await asked.do(subject=without_cursor(query))

    return refused("list_sessions", CursorUnknown)(instead)


# rules


def rule(name: str) -> Callable[[Wrapper], Change]:
    """Call `wrapper(inner, …)` in place of a rule (`core/rules.py`)."""

    def changed(wrapper: Wrapper) -> Change:
        def apply(parts: Parts) -> None:
            parts.rules = replace(parts.rules, **{name: partial(wrapper, getattr(parts.rules, name))})

        return apply

    return changed


advance = rule("advance")
"""`wrapper(inner, session, trigger, now)` moves a session."""


def is_free(session: CheckoutSession) -> bool:
    """Whether nothing is to be paid (AMT-6)."""
    return session.payment_status is PaymentStatus.NO_PAYMENT_REQUIRED


def opened(change: Callable[[CheckoutSession, CreateSession], CheckoutSession]) -> Change:
    """Change each session that is opened, before anything else sees it."""
    return rule("open_session")(lambda inner, params, **how: change(inner(params, **how), params))


def moved(change: Callable[[CheckoutSession, Trigger, int], CheckoutSession]) -> Change:
    """Change each session after a trigger; the event stays as it is."""

    def step(inner: Inner, session: CheckoutSession, trigger: Trigger, now: int) -> Moved:
        after, event = inner(session, trigger, now)
        return change(after, trigger, now), event

    return advance(step)


def move(status: Status, trigger: Trigger, to: Callable[[CheckoutSession], Moved]) -> Change:
    """Give the table of transitions another row."""

    def step(inner: Inner, session: CheckoutSession, found: Trigger, now: int) -> object:
        if session.status is status and found is trigger and (status is not Status.OPEN or now < session.expires_at):
            return to(session)
        return inner(session, found, now)

    return advance(step)


# the store


def transaction(name: str) -> Callable[[Wrapper], Change]:
    """Call `wrapper(parts, inner, tx, …)` in place of a method of each unit of work."""
    method = getattr(Transaction, name).__name__
    return lambda wrapper: lambda parts: parts.transactions.setdefault(method, []).append(partial(wrapper, parts))


def paging(answer: Callable[[Listing], Awaitable[Page]]) -> Change:
    """Answer lists, as a rule with the page that the correct code has for a changed query."""

    async def paged(_parts: Parts, inner: Inner, tx: Any, query: ListQuery, cursor: int | None) -> Page:
        marked = None if cursor is None else (await tx.sessions())[cursor]
        return await answer(Listing(tx.account, query, cursor, marked, inner))

    return transaction("page")(paged)


def page(change: Callable[[Page, ListQuery], Page]) -> Change:
    """Change the page that a store answers with."""

    async def changed(asked: Listing) -> Page:
        return change(await asked.page(), asked.query)

    return paging(changed)


def query(change: Callable[[ListQuery], ListQuery], *, cursor: Callable[[ListQuery], int] = lambda _asked: 0) -> Change:
    """Change what a store is asked for: the query, and by how much the position of its cursor."""

    async def changed(asked: Listing) -> Page:
        position = None if asked.cursor is None else asked.cursor + cursor(asked.query)
        return await replace(asked, query=change(asked.query), cursor=position).page()

    return paging(changed)


def kept(name: str, change: Callable[[Any], Any]) -> Change:
    """Change the one value that a method of each unit of work is given."""

    async def call(_parts: Parts, inner: Inner, _tx: Any, value: object) -> object:
        return await inner(change(value))

    return transaction(name)(call)


def event_kept(change: Callable[[Event], Event]) -> Change:
    """Change events before they are kept."""
    return kept("add_event", change)


# the hosted pages


def page_sessions(change: Callable[[CheckoutSession], CheckoutSession]) -> Change:
    """Have the hosted pages, and nothing else, see other sessions than there are."""

    async def find(inner: Inner, _service: object, session_id: str) -> object:
        found = await inner(session_id)
        return None if found is None else (found[0], change(found[1]))

    return lambda parts: parts.page_finds.append(find)


def page_layer(around: Callable[[Parts, Respond, Request], Awaitable[Answer]]) -> Change:
    """Answer requests to the hosted pages, as a rule by asking `respond` and changing what it answers."""
    return lambda parts: parts.page_traffic.append(partial(around, parts))
