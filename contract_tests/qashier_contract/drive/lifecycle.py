"""Random stories over several accounts, with time, payments and retries. Hypothesis draws them.

The clauses judge each story by itself. One that shows a clause broken stays in the record, where it is minimised as
every violation is; the others are taken out of it again. Where keys can be made up, each story has fresh accounts: its
lists are exact, and nobody is disturbed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, Final

from qashier_contract import oracle
from qashier_contract.drive import Opened, RunContext, Stage, driver
from qashier_contract.drive.scenarios.scenario import walk
from qashier_contract.history import Capability, Exchange, History
from qashier_contract.ledger import entries_of
from qashier_contract.target import Account
from qashier_contract.values import is_integer

_STORIES: Final = 40
"""How many stories are told for each minute of the budget."""
_STEPS: Final = 18
_SHARE: Final = 0.6
"""Of the time that is left when the driver begins: something has to remain for what comes after it."""
_MOST_PAGES: Final = 12
_LOOKED_AT: Final = 3
"""How many sessions of each account are retrieved at the end of a story."""


@dataclass(slots=True)
class _Keyed:
    """A success with an idempotency key, how to ask for it again, and the account's time when it was answered."""

    key: str
    again: Callable[[], object]
    at: int | None


@dataclass(slots=True)
class _Book:
    """What a story did in one account: the account's time (None if nobody can tell), its sessions, its keys."""

    account: Account
    other: int
    """The number of the other account."""
    now: int | None
    sessions: list[Opened] = field(default_factory=list)
    keyed: list[_Keyed] = field(default_factory=list)

    def remembers(self, keyed: _Keyed) -> bool:
        return keyed.at is None or self.now is None or self.now < keyed.at + oracle.KEY_MEMORY


class Story:
    """Takes steps: each is a method, which takes the book of an account and what was drawn.

    A step that needs a session where there is none opens it first.

    Args:
        context: Where it happens.
        alone: Whether it has fresh accounts, so that their lists hold the sessions of this story only.
    """

    def __init__(self, context: RunContext, *, alone: bool) -> None:
        self.context, self.alone = context, alone
        self._books: dict[int, _Book] = {}
        self._begins = len(context.recorder.exchanges)

    def take(self, step: str, account: int = 0, **drawn: Any) -> None:
        """Take the step of a name in the account of a number."""
        getattr(self, step)(self._book(account), **drawn)

    def _book(self, number: int) -> _Book:
        """The book of an account; its clock is stopped where that is possible."""
        if number not in self._books:
            context, now = self.context, None
            given = context.account if number == 0 or context.other is None else context.other
            account = context.made_up_account() if self.alone else given
            if context.can(Capability.CLOCK):
                shown = account.set_clock(frozen=True).object.get("now")
                now = shown if is_integer(shown) else None
            self._books[number] = _Book(account, 1 - number, now)
        return self._books[number]

    def _session(self, book: _Book, pick: int) -> Opened:
        """A session, counted from the newest. Goes round."""
        return book.sessions[-1 - pick % len(book.sessions)] if book.sessions else self.create(book)

    def _keyed(self, book: _Book, pick: int) -> _Keyed | None:
        if not book.keyed:
            self.create(book, keyed=True)
        return book.keyed[-1 - pick % len(book.keyed)] if book.keyed else None

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def create(
        self,
        book: _Book,
        *,
        count: int = 1,
        lines: Sequence[tuple[int, int]] = ((1250, 2),),
        life_s: int | None = None,
        keyed: bool = False,
    ) -> Opened:
        """Open some sessions for lines of unit amount and quantity, with a life of some seconds or the default one."""
        for _ in range(count):
            timed = {} if life_s is None or book.now is None else {"expires_at": book.now + life_s}
            body = self.context.body(*(self.context.line(*line) for line in lines), **timed)
            key = self.context.key() if keyed else None
            again = partial(book.account.create, body, key=key)
            session = Opened(book.account, again())
            if session:
                book.sessions.append(session)
            if session and key is not None:
                book.keyed.append(_Keyed(key, again, book.now))
        return session

    def retrieve(self, book: _Book, *, pick: int = 0) -> None:
        self._session(book, pick).retrieve()

    def expire(self, book: _Book, *, pick: int = 0, keyed: bool = False) -> None:
        session, key = self._session(book, pick), self.context.key() if keyed else None
        again = partial(session.expire, key=key)
        exchange = again()
        if key is not None and exchange is not None and exchange.succeeded:
            book.keyed.append(_Keyed(key, again, book.now))
        session.retrieve()

    def pay(self, book: _Book, *, pick: int = 0, outcome: str = "succeeded") -> None:
        """Let the customer pay, fail or give up."""
        session = self._session(book, pick)
        session.pay(outcome)
        session.retrieve()

    def open_and_pay(self, book: _Book, *, lines: Sequence[tuple[int, int]] = ((1250, 2),)) -> None:
        session = self.create(book, lines=lines)
        session.pay()
        session.retrieve()

    def wait(self, book: _Book, *, seconds: int = 1, until: int | None = None) -> None:
        """Let time pass: some seconds, or until so many seconds after a session is due."""
        if until is not None:
            due = self._session(book, until).exchange.object.get("expires_at")
            seconds += due - book.now if is_integer(due) and book.now is not None else 0
        if book.now is not None and seconds > 0:
            book.account.advance(seconds)
            book.now += seconds

    def list(
        self,
        book: _Book,
        *,
        limit: int | None = None,
        status: str | None = None,
        cursor: str | None = None,
        pick: int = 0,
        bound: str | None = None,
        beside: int = 0,
        offset_s: int = 0,
    ) -> None:
        """Ask for a page. `cursor` and `bound` go by sessions: after or before one, created at or around one."""
        query: dict[str, str | int | None] = {"limit": limit, "status": status}
        if cursor is not None:
            query[cursor] = self._session(book, pick).id
        if bound is not None:
            created = self._session(book, beside).exchange.object.get("created")
            query[f"created_{bound}"] = created + offset_s if is_integer(created) else None
        book.account.list(**{name: value for name, value in query.items() if value is not None})

    def walk(self, book: _Book, *, limit: int = 2, status: str | None = None, back_from: int | None = None) -> None:
        """Follow the pages from the newest on, or back from a session."""
        query: dict[str, str | int] = {"limit": limit, **({"status": status} if status is not None else {})}
        cursor = None if back_from is None else self._session(book, back_from).id
        walk(book.account, query, backwards_from=cursor, most=_MOST_PAGES)

    def retry(self, book: _Book, *, pick: int = 0) -> None:
        """Send an earlier request once more, with its idempotency key."""
        first = self._keyed(book, pick)
        if first is not None:
            first.again()
            if not book.remembers(first):
                # Remembered anew. The judges reckon a key's memory from its first use of all, so it is not used again.
                book.keyed.remove(first)

    def reuse(self, book: _Book, *, pick: int = 0, session: int | None = None) -> None:
        """Use the key of an earlier request for another one: another body, or the expiry of a session."""
        first = self._keyed(book, pick)
        if first is not None and book.remembers(first):
            if session is None:
                book.account.create(self.context.body(self.context.line(77, 1)), key=first.key)
            else:
                self._session(book, session).expire(key=first.key)

    def reach(self, book: _Book, *, pick: int = 0, how: str = "retrieve") -> None:
        """Reach for a session with the other account's key: look at it, expire it, use it as a cursor."""
        session, stranger = self._session(book, pick), self._book(book.other).account
        if how == "cursor" and session.id is not None:
            stranger.list(starting_after=session.id)
        elif how == "expire":
            session.expire(by=stranger)
        else:
            session.retrieve(by=stranger)

    # ── its end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def finish(self) -> None:
        """Look at what has become of everything, and let what is still open run out."""
        for book in self._books.values():
            account = book.account
            account.list(limit=100)
            for session in book.sessions[-_LOOKED_AT:]:
                session.retrieve()
            if book.now is not None:
                account.advance(oracle.LONGEST_LIFE)
                for entry in entries_of(account.list(status="open", limit=100)):
                    account.expire(str(entry.get("id")))
            else:
                for session in book.sessions:
                    session.expire()
            if self.context.can(Capability.EVENTS):
                account.events()
            if self.alone and book.now is not None:
                account.set_clock(frozen=False)

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """What this story has sent so far, in the order of sending."""
        return self.context.recorder.exchanges[self._begins :]

    def broken(self, wanted: Collection[str]) -> tuple[str, ...]:
        """The clauses among the wanted ones that this story alone shows to be broken, in the order of the contract."""
        return self.context.broken_by(History(exchanges=tuple(self.exchanges), terms=self.context.terms), wanted)

    def forget(self) -> None:
        """Take what this story sent out of the record."""
        del self.context.recorder.exchanges[self._begins :]


_Drawn = Mapping[str, Sequence[object]]
"""What is drawn for each argument of a step, by equal chances."""
_PICKS: Final = (*range(8), 0, 1, 2, 9, 10, 99, 100)
_STATUSES: Final = (None, None, None, None, "open", "complete", "expired")
_UNIT_AMOUNTS: Final = (1250, 0, 1, 99, 333, oracle.UNIT_AMOUNT_MOST)
_QUANTITIES: Final = (1, 2, 3, 7, oracle.QUANTITY_MOST)
_LINES: Final = tuple(product(_UNIT_AMOUNTS, _QUANTITIES))
_BASKETS: Final = (*[((0, 4),)] * 30, *product(_LINES), *product(_LINES[::7], _LINES[::4], _LINES[::9]))
"""A third is free, a third has one line, a third has several."""
_LIVES: Final = (None, None, oracle.SHORTEST_LIFE, oracle.SHORTEST_LIFE + 1, 3_600, oracle.LONGEST_LIFE)
_CREATE: Final = {"lines": _BASKETS, "life_s": _LIVES, "keyed": (False, True)}
_LIST: Final = {
    "limit": (None, 1, 2, 3, 5, 10, 99, 100, 100, 100),
    "status": _STATUSES,
    "cursor": (None, None, "starting_after", "ending_before"),
    "pick": _PICKS,
    "bound": (*(None,) * 8, "gt", "gte", "lt", "lte"),
    "beside": _PICKS,
    "offset_s": (0, 0, -1, 1),
}
_WAITS: Final = (1, 1, 2, 2, 59, 1_799, 1_800, 3_600, 43_200, 86_399, 86_400)
_MAYBE: Final = (*(None,) * 8, *_PICKS)


def _steps(context: RunContext, *, alone: bool) -> Sequence[tuple[str, _Drawn]]:
    """The steps that the target allows, and what is drawn for each."""
    counts = (1, 1, 1, 2, 2, 5, 10, 100) if alone else (1, 2, 3)
    steps: list[tuple[str, _Drawn]] = [
        ("create", {"count": counts, **_CREATE}),
        ("retrieve", {"pick": _PICKS}),
        ("expire", {"pick": _PICKS, "keyed": (False, True)}),
        ("list", _LIST),
        ("walk", {"limit": (1, 2, 3, 10, 100), "status": _STATUSES, "back_from": _MAYBE}),
        ("retry", {"pick": _PICKS}),
        ("reuse", {"pick": _PICKS, "session": _MAYBE}),
    ]
    if context.can(Capability.PAY):
        steps.append(("pay", {"pick": _PICKS, "outcome": ("succeeded", "succeeded", "failed", "canceled")}))
        steps.append(("open_and_pay", {"lines": _BASKETS}))
    if alone:
        steps.append(("wait", {"seconds": _WAITS}))
        steps.append(("wait", {"seconds": (-1, 0, 1), "until": _PICKS}))
    if alone or context.other is not None:
        steps = [(step, {"account": (0, 0, 0, 1), **drawn}) for step, drawn in steps]
        steps.append(("reach", {"account": (0, 0, 0, 1), "pick": _PICKS, "how": ("retrieve", "expire", "cursor")}))
    return steps


class _Over(BaseException):
    """Ends the stories. Hypothesis must not take it for a finding."""


@dataclass(slots=True)
class _Telling:
    """What is still to be found, and until when."""

    context: RunContext
    alone: bool
    ends_ns: int
    before: History
    """What was seen before the first story: nothing is gained by finding it again."""
    wanted: set[str]
    is_new: bool = True
    error: Exception | None = None
    """What a step raised: the time is over, a bound is reached, or a mistake of ours."""

    def begin(self) -> Story:
        if not self.wanted or time.monotonic_ns() > self.ends_ns:
            raise _Over
        return Story(self.context, alone=self.alone)

    def end(self, story: Story) -> None:
        """Finish a story and have it judged. One that shows nothing new is forgotten."""
        story.finish()
        broken = set(story.broken(self.wanted))
        if broken and self.is_new:
            self.is_new = False
            self.wanted -= set(self.context.broken_by(self.before, self.wanted))
        if broken & self.wanted:
            self.wanted -= broken
            self.context.look()
        elif self.alone:
            # Judging a history costs more than its length tells.
            story.forget()


def _machine(telling: _Telling, steps: Sequence[tuple[str, _Drawn]]) -> Any:
    """A state machine that takes the steps of one story after the other."""
    from hypothesis import strategies as st  # noqa: PLC0415 - heavy, and needed only once something is driven
    from hypothesis.stateful import RuleBasedStateMachine, rule  # noqa: PLC0415

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.story: Story | None = telling.begin()

        def go(self, what: Callable[[Story], None]) -> None:
            story, self.story = self.story, None
            if story is None:  # it ended by an error
                return
            try:
                what(story)
            except Exception as error:
                telling.error = error
                raise _Over from error
            self.story = story

        def teardown(self) -> None:
            self.go(telling.end)

    def taking(step: str, choices: _Drawn) -> Any:
        def take(machine: Machine, **drawn: Any) -> None:
            machine.go(lambda story: story.take(step, **drawn))

        drawn_from: dict[str, Any] = {name: st.sampled_from(values) for name, values in choices.items()}
        as_rule: Any = rule(**drawn_from)
        return as_rule(take)

    for number, (step, choices) in enumerate(steps):
        setattr(Machine, f"{step}_{number}", taking(step, choices))
    return Machine


@driver("Tell random stories over several accounts, with time, payments and retries.", stage=Stage.ENDLESS)
def lifecycle(context: RunContext) -> None:
    import hypothesis  # noqa: PLC0415 - as above
    from hypothesis.errors import HypothesisException  # noqa: PLC0415
    from hypothesis.stateful import run_state_machine_as_test  # noqa: PLC0415

    spare_s = min(context.target.pace.remaining_s * _SHARE, 86_400.0)
    ends_ns = time.monotonic_ns() + int(spare_s * 1e9)
    alone = context.keys_are_free and context.can(Capability.CLOCK)
    telling = _Telling(context, alone, ends_ns, context.recorder.history(), set(context.wanted))
    settings = hypothesis.settings(
        max_examples=max(1, round(_STORIES * context.budget_s / 60)),
        stateful_step_count=_STEPS,
        phases=(hypothesis.Phase.generate,),  # what is found is minimised as every violation is
        database=None,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    machine = hypothesis.seed(context.seed)(_machine(telling, _steps(context, alone=alone)))
    try:
        run_state_machine_as_test(machine, settings=settings)
    except (_Over, HypothesisException):
        # Where stories end, Hypothesis finds one shorter than a former one that began alike, and calls that flaky.
        if telling.error is not None:
            raise telling.error from None
