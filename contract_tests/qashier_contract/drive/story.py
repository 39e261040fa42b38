"""A story: steps taken on a target and on the oracle side by side, until they are done or the two disagree.

A step is plain data; it names a session by its place among those of the story, newest first, never by its id. So a
story can be drawn, shortened and told again. Knows nothing of what draws it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from qashier_contract import oracle
from qashier_contract.drive import Opened, RunContext
from qashier_contract.history import Capability, History
from qashier_contract.ledger import entries_of, parse_query
from qashier_contract.values import is_integer, same

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from qashier_contract.history import Exchange
    from qashier_contract.target import Account
    from qashier_contract.values import Json

OUTCOMES: Final = {
    "succeeded": oracle.Act.PAYMENT_SUCCEEDED,
    "failed": oracle.Act.PAYMENT_FAILED,
    "canceled": oracle.Act.PAYMENT_CANCELED,
}
_MOST_PAGES: Final = 12
_LOOKED_AT: Final = 3
"""How many sessions of each account are retrieved at the end of a story."""
_NEAR_S: Final = 60


class Disagreed(Exception):
    """The target did what the oracle did not expect."""


@dataclass(slots=True)
class Keyed:
    """A successful request with an idempotency key, and the account's time when it was answered."""

    key: str
    answer: Exchange
    at: int | None
    body: Json = None
    session_id: str | None = None

    def is_remembered(self, now: int | None) -> bool:
        return self.at is None or now is None or now < self.at + oracle.KEY_MEMORY


@dataclass(slots=True)
class Book:
    """What the oracle knows about one account: its time (None if nobody can tell), and the sessions of the story."""

    account: Account
    now: int | None
    sessions: list[oracle.Known] = field(default_factory=list)
    keyed: list[Keyed] = field(default_factory=list)

    def as_of_now(self) -> list[oracle.Known]:
        return self.sessions if self.now is None else [session.at(self.now) for session in self.sessions]

    def pick(self, pick: int) -> oracle.Known:
        """A session, counted from the newest. Goes round."""
        return self.as_of_now()[-1 - pick % len(self.sessions)]

    def becomes(self, session_id: str, state: oracle.State) -> None:
        self.sessions = [
            replace(session, state=state) if session.id == session_id else session for session in self.as_of_now()
        ]


class Step(Protocol):
    """One thing that a shop, its customer or the clock does."""

    def take(self, story: Story) -> None:
        """Take the step on the target and on the oracle; one that needs a session where there is none opens it first.

        Raises:
            Disagreed: The target did not do what the oracle expected.
        """


class Story:
    """Takes steps, and collects what was seen of them.

    Args:
        world: Where it happens.
        accounts: The account of a number, made when it is first needed.
        alone: Whether nobody else uses these accounts, so that their lists hold the sessions of this story only.
    """

    def __init__(self, context: RunContext, accounts: Callable[[int], Account], *, alone: bool) -> None:
        self.context = context
        self.alone = alone
        self.steps: list[Step] = []
        self.disagreed = False
        self._accounts = accounts
        self._books: dict[int, Book] = {}
        self._begins = len(context.recorder.exchanges)

    def book(self, number: int) -> Book:
        """The book of an account; its clock is stopped where that is possible."""
        if number not in self._books:
            account, now = self._accounts(number), None
            if self.context.can(Capability.CLOCK):
                account.set_clock(frozen=True)
                now = self.context.now(account)
            self._books[number] = Book(account, now)
        return self._books[number]

    def stocked(self, number: int, *, keyed: bool = False) -> Book:
        """The book of an account that has a session, or one that a key was used for."""
        book = self.book(number)
        if not (book.keyed if keyed else book.sessions):
            Create(account=number, keyed=keyed).take(self)
        return book

    def take(self, step: Step) -> bool:
        """Take a step, unless the story is over; whether target and oracle still agree."""
        if not self.disagreed:
            self.steps.append(step)
            try:
                step.take(self)
            except Disagreed:
                self.disagreed = True
        return not self.disagreed

    def agree(self, condition: object) -> None:
        """Go on only if this holds."""
        if not condition:
            raise Disagreed

    def finish(self) -> None:
        """Look at what has become of everything, and let what is still open run out."""
        for book in self._books.values():
            account = book.account
            if book.sessions:
                account.list(limit=100)
                for session in book.sessions[-_LOOKED_AT:]:
                    account.retrieve(session.id)
                if book.now is not None:
                    account.advance(oracle.LONGEST_LIFE)
                    for entry in entries_of(account.list(status="open", limit=100)):
                        account.expire(str(entry.get("id")))
                else:
                    for session in book.as_of_now():
                        if session.state.status == "open":
                            account.expire(session.id)
            if self.context.can(Capability.EVENTS):
                account.events()
            if self.alone and book.now is not None:
                account.set_clock(frozen=False)

    @property
    def exchanges(self) -> list[Exchange]:
        """What this story has sent so far, in the order of sending."""
        return self.context.recorder.exchanges[self._begins :]

    def broken(self, wanted: Collection[str]) -> tuple[str, ...]:
        """The clauses among the wanted ones that this story alone shows to be broken, in the order of the contract."""
        history = History(exchanges=tuple(self.exchanges), terms=self.context.recorder.terms)
        return self.context.broken_by(history, wanted)

    def forget(self) -> None:
        """Take what this story sent out of the record: a shorter one shows the same."""
        del self.context.recorder.exchanges[self._begins :]


def told(story: Story, steps: Iterable[Step]) -> Story:
    """Take all steps of a story, up to the first disagreement, and finish it."""
    for step in steps:
        if not story.take(step):
            break
    story.finish()
    return story


# ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Create:
    """Open `count` sessions for lines of unit amount and quantity, with a life of some seconds or the default one."""

    account: int = 0
    count: int = 1
    lines: tuple[tuple[int, int], ...] = ((1250, 2),)
    life_s: int | None = None
    keyed: bool = False

    def take(self, story: Story) -> None:
        book, context = story.book(self.account), story.context
        for _ in range(self.count):
            lines = [context.line(unit_amount, quantity) for unit_amount, quantity in self.lines]
            timed = {} if self.life_s is None or book.now is None else {"expires_at": book.now + self.life_s}
            body, key = context.body(*lines, **timed), context.key() if self.keyed else None
            exchange = book.account.create(body, key=key)
            total = sum(unit_amount * quantity for unit_amount, quantity in self.lines)
            _opened(story, book, exchange, total, timed.get("expires_at"))
            if key is not None:
                book.keyed.append(Keyed(key, exchange, book.now, body=body))


def _opened(story: Story, book: Book, exchange: Exchange, total: int, expires_at: int | None) -> None:
    """Enter a session that a create should have opened."""
    session, state = exchange.object, oracle.opened(total)
    session_id, created = Opened(book.account, exchange).id, session.get("created")
    story.agree(session_id is not None and is_integer(created))
    assert session_id is not None
    assert is_integer(created)
    due = created + oracle.LONGEST_LIFE if expires_at is None else expires_at
    book.sessions.append(oracle.Known(session_id, len(book.sessions), created, due, state))
    story.agree(book.now in {None, created} and session.get("expires_at") == due)
    story.agree(_shown(session) == state and session.get("amount_total") == total)


def _shown(session: Json) -> tuple[Json, Json]:
    return session.get("status"), session.get("payment_status")


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Look at a session."""

    account: int = 0
    pick: int = 0

    def take(self, story: Story) -> None:
        book = story.stocked(self.account)
        session = book.pick(self.pick)
        exchange = book.account.retrieve(session.id)
        story.agree(exchange.succeeded and _shown(exchange.object) == session.state)


@dataclass(frozen=True, slots=True)
class Expire:
    """Expire a session."""

    account: int = 0
    pick: int = 0
    keyed: bool = False

    def take(self, story: Story) -> None:
        book = story.stocked(self.account)
        session = book.pick(self.pick)
        key = story.context.key() if self.keyed else None
        _expired(story, book, session, book.account.expire(session.id, key=key), key)


def _expired(story: Story, book: Book, session: oracle.Known, exchange: Exchange, key: str | None) -> None:
    """Compare an expire that was carried out, and was no replay."""
    after = oracle.step(session.state, oracle.Act.EXPIRE_REQUESTED)
    story.agree(exchange.refused if after is None else exchange.succeeded and _shown(exchange.object) == after)
    if after is not None:
        book.becomes(session.id, after)
        if key is not None:
            book.keyed.append(Keyed(key, exchange, book.now, session_id=session.id))


@dataclass(frozen=True, slots=True)
class Pay:
    """Let the customer pay, fail or give up."""

    account: int = 0
    pick: int = 0
    outcome: str = "succeeded"

    def take(self, story: Story) -> None:
        book = story.stocked(self.account)
        session = book.pick(self.pick)
        exchange = book.account.pay(session.id, self.outcome)
        after = oracle.step(session.state, OUTCOMES[self.outcome])
        story.agree(exchange.refused if after is None else exchange.succeeded)
        if after is not None:
            book.becomes(session.id, after)


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass: some seconds, or until so many seconds after a session is due."""

    account: int = 0
    seconds: int = 1
    until: int | None = None

    def take(self, story: Story) -> None:
        book = story.book(self.account) if self.until is None else story.stocked(self.account)
        if book.now is None:
            return
        seconds = self.seconds
        if self.until is not None:
            seconds += book.pick(self.until).expires_at - book.now
        if seconds > 0:
            exchange = book.account.advance(seconds)
            book.now += seconds
            story.agree(exchange.object.get("now") == book.now)


@dataclass(frozen=True, slots=True)
class List:
    """Ask for a page. `cursor` and `bound` go by sessions: after or before one, created at or around one."""

    account: int = 0
    limit: int | None = None
    status: str | None = None
    cursor: str | None = None
    pick: int = 0
    bound: str | None = None
    beside: int = 0
    offset_s: int = 0

    def take(self, story: Story) -> None:
        book = story.stocked(self.account) if self.cursor or self.bound else story.book(self.account)
        parameters: dict[str, str | int] = {}
        if self.limit is not None:
            parameters["limit"] = self.limit
        if self.status is not None:
            parameters["status"] = self.status
        if self.cursor is not None:
            parameters[self.cursor] = book.pick(self.pick).id
        if self.bound is not None:
            parameters[f"created_{self.bound}"] = book.pick(self.beside).created + self.offset_s
        _listed(story, book, book.account.list(**parameters))


def _listed(story: Story, book: Book, exchange: Exchange) -> None:
    """Compare a page with the oracle's: as it is where the account is ours alone, else our own sessions in it."""
    query = parse_query(exchange)
    assert isinstance(query, oracle.Query)
    due, more = oracle.page(book.as_of_now(), query)
    shown, wanted = [entry.get("id") for entry in entries_of(exchange)], [session.id for session in due]
    story.agree(exchange.succeeded)
    if story.alone:
        story.agree(shown == wanted and exchange.object.get("has_more") is more)
    else:
        ours = {session.id for session in book.sessions}
        mine = [session_id for session_id in shown if session_id in ours]
        first = wanted[len(wanted) - len(mine) :] if query.ending_before is not None else wanted[: len(mine)]
        story.agree(mine == first)


@dataclass(frozen=True, slots=True)
class Walk:
    """Follow the pages from the newest on, or back from a session, until one says that there is no more."""

    account: int = 0
    limit: int = 2
    status: str | None = None
    back_from: int | None = None

    def take(self, story: Story) -> None:
        book = story.stocked(self.account)
        name, end = ("starting_after", -1) if self.back_from is None else ("ending_before", 0)
        parameters: dict[str, str | int] = {"limit": self.limit}
        if self.status is not None:
            parameters["status"] = self.status
        if self.back_from is not None:
            parameters[name] = book.pick(self.back_from).id
        for _ in range(_MOST_PAGES):
            exchange = book.account.list(**parameters)
            _listed(story, book, exchange)
            entries = entries_of(exchange)
            if exchange.object.get("has_more") is not True or not entries:
                return
            cursor = str(entries[end].get("id"))
            if not any(session.id == cursor for session in book.sessions):
                return  # somebody else's
            parameters[name] = cursor


@dataclass(frozen=True, slots=True)
class Retry:
    """Send an earlier request once more, with its idempotency key."""

    account: int = 0
    pick: int = 0

    def take(self, story: Story) -> None:
        book = story.stocked(self.account, keyed=True)
        first = book.keyed[-1 - self.pick % len(book.keyed)]
        known = next((s for s in book.as_of_now() if s.id == first.session_id), None)
        if known is None and not first.is_remembered(book.now) and "expires_at" in first.body:
            return  # by now it would be refused for its deadline
        if known is None:
            exchange = book.account.create(first.body, key=first.key)
        else:
            exchange = book.account.expire(known.id, key=first.key)
        if first.is_remembered(book.now):
            story.agree(exchange.status == first.answer.status and same(exchange.json, first.answer.json))
        elif known is not None:
            story.agree(exchange.refused)
        else:
            total = sum(line["price_data"]["unit_amount"] * line["quantity"] for line in first.body["line_items"])
            _opened(story, book, exchange, total, None)
            # Remembered anew. The judges reckon a key's memory from its first use of all, so it is not used again.
            book.keyed.remove(first)


@dataclass(frozen=True, slots=True)
class Reuse:
    """Use the key of an earlier request for another one: another body, or the expiry of a session."""

    account: int = 0
    pick: int = 0
    session: int | None = None

    def take(self, story: Story) -> None:
        book = story.stocked(self.account, keyed=True)
        first = book.keyed[-1 - self.pick % len(book.keyed)]
        if not first.is_remembered(book.now):
            return
        session = None if self.session is None or not book.sessions else book.pick(self.session)
        if session is None:
            exchange = book.account.create(story.context.body(story.context.line(77, 1)), key=first.key)
        elif session.id == first.session_id:
            return
        else:
            exchange = book.account.expire(session.id, key=first.key)
        story.agree(exchange.refused or same(exchange.json, first.answer.json))


@dataclass(frozen=True, slots=True)
class Reach:
    """Reach for a session with the other account's key: look at it, expire it, use it as a cursor."""

    account: int = 0
    pick: int = 0
    how: str = "retrieve"

    def take(self, story: Story) -> None:
        book = story.stocked(self.account)
        session = book.pick(self.pick)
        if self.how == "expire" and book.now is not None and book.now >= session.expires_at - _NEAR_S:
            return  # a refusal this late could be put down to the deadline
        stranger = story.book(1 - self.account).account
        if self.how == "cursor":
            exchange = stranger.list(starting_after=session.id)
        else:
            exchange = stranger.retrieve(session.id) if self.how == "retrieve" else stranger.expire(session.id)
        story.agree(exchange.refused if self.how == "cursor" else exchange.status == 404)


def length(steps: Sequence[Step]) -> tuple[float, int]:
    """How long a story is, to tell the shorter of two: sessions opened count more than steps."""
    opened = sum(step.count for step in steps if isinstance(step, Create))
    return (math.ceil(opened / 2) + len(steps), len(repr(steps)))
