"""Random stories over several accounts, told to the target and to the oracle side by side.

Hypothesis draws them. Where target and oracle disagree, and a clause says that the target is wrong, the story is
shortened; the shortest one is told once more at the end, as a scenario of its own, and the attempts at shortening are
taken out of the record. Then others are looked for.

Where keys can be made up, each story has fresh accounts: its lists are exact, and nobody is disturbed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from qashier_contract import oracle
from qashier_contract.drive import RunContext, Stage, driver
from qashier_contract.drive.story import (
    OUTCOMES,
    Create,
    Expire,
    List,
    Pay,
    Reach,
    Retrieve,
    Retry,
    Reuse,
    Step,
    Story,
    Wait,
    Walk,
    length,
    told,
)
from qashier_contract.history import Capability
from qashier_contract.interrupts import OutOfTime
from qashier_contract.pace import OutOfSessions
from qashier_contract.target import Account

if TYPE_CHECKING:
    from collections.abc import Collection

_STORIES: Final = 40
"""How many stories are told for each minute of the budget, as long as nothing is found."""
_STEPS: Final = 18
_SHARE: Final = 0.6
"""Of the time that is left when the driver begins: something has to remain for what comes after it."""
_SHORTENING_S: Final = 3.0
_SHORTENINGS: Final = 120
"""How long, and over how many stories, a finding is shortened at most."""
_MOST_FINDINGS: Final = 6
_SCENARIO: Final = "lifecycle"

_UNIT_AMOUNTS: Final = (1250, 0, 1, 99, 333, 99_999_999)
_QUANTITIES: Final = (1, 2, 3, 7, 10_000)
_LIVES: Final = (None, None, oracle.SHORTEST_LIFE, oracle.SHORTEST_LIFE + 1, 3_600, oracle.LONGEST_LIFE)
_WAITS: Final = (1, 1, 2, 2, 59, 1_799, 1_800, 3_600, 43_200, 86_399, 86_400)
_STATUSES: Final = (None, None, None, None, "open", "complete", "expired")


class _Over(BaseException):
    """Ends an exploration: the budget is spent, or a finding is short enough. Hypothesis must not take it for one."""


@dataclass(slots=True)
class _Search:
    """One exploration: what is looked for, and the shortest story found."""

    context: RunContext
    accounts: _Accounts
    number: int
    wanted: frozenset[str]
    ends_ns: int
    aim: str | None = None
    best: tuple[Step, ...] = ()
    shortenings: int = 0

    def begin(self) -> Story:
        """A new story, if there is time for one."""
        if time.monotonic_ns() > self.ends_ns or self.shortenings > _SHORTENINGS:
            raise _Over
        return Story(self.context, self.accounts.fresh(), alone=self.accounts.can_be_made_up)

    def judge(self, story: Story) -> str | None:
        """Finish a story; the clause that it shows to be broken, if it is the one that is looked for."""
        story.finish()
        broken = story.broken(self.wanted if self.aim is None else {self.aim})
        if self.aim is None:
            broken = tuple(identifier for identifier in broken if identifier not in self.accounts.known)
        if self.aim is not None:
            self.shortenings += 1
        self.accounts.forget(story)
        if not broken:
            return None
        if self.aim is None:
            self.aim = broken[0]
            self.ends_ns = min(self.ends_ns, time.monotonic_ns() + int(_SHORTENING_S * 1e9))
        if not self.best or length(story.steps) < length(self.best):
            self.best = tuple(story.steps)
        return self.aim


class _Accounts:
    """Where stories take place: in fresh accounts where keys can be made up, else in those that were given."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.can_be_made_up = context.keys_are_free and context.can(Capability.CLOCK)
        self._begins = len(context.recorder.exchanges)

    @cached_property
    def known(self) -> frozenset[str]:
        """The clauses that were seen broken before the first story: nothing is gained by finding them again."""
        history = replace(
            self.context.recorder.history(), exchanges=tuple(self.context.recorder.exchanges[: self._begins])
        )
        return frozenset(self.context.broken_by(history, self.context.wanted))

    @property
    def count(self) -> int:
        return 2 if self.can_be_made_up or self.context.other is not None else 1

    def fresh(self) -> Any:
        """What gives a story its accounts, by number."""
        made: dict[int, Account] = {}

        def account(number: int) -> Account:
            if not self.can_be_made_up:
                return self.context.account if number == 0 or self.context.other is None else self.context.other
            if number not in made:
                made[number] = self.context.made_up_account()
            return made[number]

        return account

    def forget(self, story: Story) -> None:
        """Take a story that was judged out of the record, where nothing else hangs on it.

        Judging a history costs more than its length tells, and what is worth telling is told again.
        """
        if self.can_be_made_up:
            story.forget()


@driver(
    "Tell random stories over several accounts, with time, payments and retries; shorten what goes wrong.",
    stage=Stage.ENDLESS,
)
def lifecycle(context: RunContext) -> None:
    pace = context.target.pace
    begun_ns = time.monotonic_ns()
    spare_s = pace.remaining_s * _SHARE
    ends_ns = begun_ns + int(min(spare_s, 86_400.0) * 1e9)
    wanted = context.wanted
    accounts = _Accounts(context)
    stories = max(1, round(_STORIES * context.budget_s / 60))
    for number in range(_MOST_FINDINGS):
        if not wanted:
            return
        search = _Search(context, accounts, number, wanted, ends_ns)
        context.target.scenario = _SCENARIO
        try:
            _explore(search, stories)
        except _Over:
            pass
        except (OutOfTime, OutOfSessions):
            return
        context.look()
        if search.aim is None:
            return  # the plan is done, or the time for it
        wanted -= {search.aim} | _retell(search, wanted)


def _retell(search: _Search, wanted: Collection[str]) -> set[str]:
    """Tell the shortest story once more, as a scenario of its own; the clauses that it shows to be broken."""
    context = search.context
    context.target.scenario = f"{_SCENARIO}: the shortest story for {search.aim}"
    accounts = search.accounts
    try:
        story = told(Story(context, accounts.fresh(), alone=accounts.can_be_made_up), search.best)
    except (OutOfTime, OutOfSessions):
        return set()
    return set(story.broken(wanted))


def _explore(search: _Search, stories: int) -> None:
    """Draw stories and shorten the first that shows a clause broken."""
    import hypothesis  # noqa: PLC0415 - heavy, and needed only once something is driven
    from hypothesis.errors import HypothesisException  # noqa: PLC0415
    from hypothesis.stateful import run_state_machine_as_test  # noqa: PLC0415

    settings = hypothesis.settings(
        max_examples=stories,
        stateful_step_count=_STEPS,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    machine = hypothesis.seed(search.context.seed * 64 + search.number)(_machine(search))
    try:
        run_state_machine_as_test(machine, settings=settings)
    except (_Broken, HypothesisException):
        # A target that answers differently the second time makes an example flaky; the best story is kept anyway.
        return


class _Broken(Exception):
    """A story shows a clause to be broken."""


def _machine(search: _Search) -> Any:
    """The state machine over a search."""
    from hypothesis import strategies as st  # noqa: PLC0415
    from hypothesis.stateful import RuleBasedStateMachine, rule  # noqa: PLC0415

    context = search.context
    accounts = st.integers(0, search.accounts.count - 1)
    if search.accounts.count > 1:
        accounts = st.sampled_from((0, 0, 0, 1))
    timed = context.can(Capability.CLOCK)
    picks = st.integers(0, 7) | st.sampled_from((9, 10, 99, 100))
    counts = st.sampled_from((1, 1, 1, 2, 2, 5, 10, 100) if timed and search.accounts.can_be_made_up else (1, 2, 3))
    free: tuple[tuple[int, int], ...] = ((0, 4),)
    lines = st.just(free) | st.lists(
        st.tuples(st.sampled_from(_UNIT_AMOUNTS), st.sampled_from(_QUANTITIES)), min_size=1, max_size=3
    ).map(tuple)
    statuses = st.sampled_from(_STATUSES)
    cursors = st.sampled_from((None, None, "starting_after", "ending_before"))

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.story = search.begin()
            self.is_judged = False

        def go(self, step: Step) -> None:
            if self.is_judged:
                return
            try:
                agreed = self.story.take(step)
            except (OutOfTime, OutOfSessions) as spent:
                self.is_judged = True
                raise _Over from spent
            if not agreed:
                self.judge()

        def judge(self) -> None:
            self.is_judged = True
            try:
                broken = search.judge(self.story)
            except (OutOfTime, OutOfSessions) as spent:
                raise _Over from spent
            if broken is not None:
                raise _Broken(broken)

        def teardown(self) -> None:
            if not self.is_judged:
                self.judge()

        @rule(account=accounts, count=counts, lines=lines, life_s=st.sampled_from(_LIVES), keyed=st.booleans())
        def create(self, **drawn: Any) -> None:
            self.go(Create(**drawn))

        @rule(account=accounts, pick=picks)
        def retrieve(self, **drawn: Any) -> None:
            self.go(Retrieve(**drawn))

        @rule(account=accounts, pick=picks, keyed=st.booleans())
        def expire(self, account: int, pick: int, **drawn: Any) -> None:
            self.go(Expire(account, pick, **drawn))
            self.go(Retrieve(account, pick))

        @rule(
            account=accounts,
            pick=picks,
            limit=st.sampled_from((None, 1, 2, 3, 5, 10, 99, 100, 100, 100)),
            status=statuses,
            cursor=cursors,
            bound=st.sampled_from((*(None,) * 8, "gt", "gte", "lt", "lte")),
            beside=picks,
            offset_s=st.sampled_from((0, 0, -1, 1)),
        )
        def list(self, **drawn: Any) -> None:
            self.go(List(**drawn))

        @rule(account=accounts, limit=st.sampled_from((1, 2, 3, 10, 100)), status=statuses, back_from=st.none() | picks)
        def walk(self, **drawn: Any) -> None:
            self.go(Walk(**drawn))

        @rule(account=accounts, pick=picks)
        def retry(self, **drawn: Any) -> None:
            self.go(Retry(**drawn))

        @rule(account=accounts, pick=picks, session=st.none() | picks)
        def reuse(self, **drawn: Any) -> None:
            self.go(Reuse(**drawn))

        if context.can(Capability.PAY):

            @rule(account=accounts, pick=picks, outcome=st.sampled_from((*OUTCOMES, "succeeded")))
            def pay(self, account: int, pick: int, **drawn: Any) -> None:
                self.go(Pay(account, pick, **drawn))
                self.go(Retrieve(account, pick))

            @rule(account=accounts, lines=lines)
            def open_and_pay(self, account: int, **drawn: Any) -> None:
                self.go(Create(account, **drawn))
                self.go(Pay(account))
                self.go(Retrieve(account))

        if timed and search.accounts.can_be_made_up:
            waits = st.builds(Wait, accounts, st.sampled_from(_WAITS)) | st.builds(
                Wait, accounts, st.sampled_from((-1, 0, 1)), until=picks
            )

            @rule(step=waits)
            def wait(self, step: Wait) -> None:
                self.go(step)

        if search.accounts.count > 1:

            @rule(account=accounts, pick=picks, how=st.sampled_from(("retrieve", "expire", "cursor")))
            def reach(self, **drawn: Any) -> None:
                self.go(Reach(**drawn))

    return Machine
