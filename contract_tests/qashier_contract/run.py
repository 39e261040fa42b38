"""From a URL to a `Report`: safety first, then the plan within its budget, then clean-up, then the verdicts."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Final, Unpack

from qashier_contract.addresses import is_loopback, origin_of
from qashier_contract.clauses import CLAUSES
from qashier_contract.clean_up import CLEAN_UP_S, clean_up
from qashier_contract.connect import CURRENCIES, Connection
from qashier_contract.drive import Driver, RunContext, wait_for_pending_events
from qashier_contract.drive.plan import exercised_by, plan, selected
from qashier_contract.errors import CheckError, LiveKeyRefused
from qashier_contract.findings import Finding
from qashier_contract.history import Capability, Exchange, History, Recorder, Terms
from qashier_contract.interim import Enough, Interim
from qashier_contract.interrupts import Interrupted, OutOfTime, Stop, stopping_on_signals
from qashier_contract.listening import listen
from qashier_contract.pace import OutOfRoom, OutOfSessions, Pace, weight_of
from qashier_contract.policy import Policy
from qashier_contract.settings import Options, Planned, Settings
from qashier_contract.target import Account, Key, Target
from qashier_contract.trace.replay import Budget, send_again
from qashier_contract.trace.site import Site, fresh_nonce
from qashier_contract.verdicts import ClauseReport, Progress, Report, SentAgain, Verdict, broken_by, judge

_SURPRISED: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, UnicodeError)
"""What code of ours raises that an odd value took by surprise."""
_POLITE_RATE: Final = 20.0
"""Requests per second to a target that is not this machine."""
_REPLAY_SHARE: Final = 0.15
"""The part of the budget that is left for sending violations again."""
_REPLAY_OF_ONE_NS: Final = 4 * 10**9
"""How long the violation may be sent again after which a run stopped at once."""
_JUDGING_NS: Final = 300_000
"""About how long judging takes for each unit of what `Pace` weighs, until it was measured."""
_JUDGING_SHARE: Final = 0.1
_JUDGING_SHARE_MOST_S: Final = 0.5
"""Judging always gets this part of the budget, but no more than so many seconds of it, however long sending took."""
_WRITING: Final = 3
"""How many times as long as judging it takes to write down the violations, in every form of a report."""
_MOST_NAMED: Final = 4
"""How many steps are named that were left out."""
_LAST_LOOK_NS: Final = 700_000_000
"""How long judging may take once somebody pressed Ctrl-C."""


_ENDED: Final[Mapping[type[OutOfTime], str]] = {
    Enough: "stopped at the first failure",
    OutOfRoom: "as much was recorded as fits into memory",
}
"""Why a run ended before its plan was done, where it was not its time."""


def check(target_url: str, **options: Unpack[Options]) -> Report:
    """Check an implementation against the contract.

    Args:
        target_url: Its base URL; `/checkout/sessions` hangs below it.
        options: How; each is described in `Options`.

    Returns:
        The report. After Ctrl-C it holds what was seen so far and says `interrupted`; the sessions are expired even so.

    Raises:
        CheckError: Nothing could be tested, with a message that says why.
    """
    run = Run(target_url, Settings(**options))
    with stopping_on_signals(run.stop) if run.settings.stop is None else nullcontext():
        return run.whole()


def planned(target_url: str, settings: Settings) -> list[Planned]:
    """What `check` with the same settings would do. The target is asked what it allows, and no session is opened.

    Raises:
        CheckError: Nothing could be tested, with a message that says why.
    """
    run = Run(target_url, settings)
    try:
        run.connection.find_out()
        steps = plan(run.wanted, run.recorder.terms.capabilities)
        return [Planned(d, tuple(c for c in run.wanted if c in exercised_by(d))) for d in steps]
    finally:
        run.target.close()


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port or 0)


def _refuse_where_nobody_can_listen(address: str) -> None:
    """Say so before the run: webhooks come last.

    Raises:
        CheckError: It is no address of this machine, or is taken.
    """
    try:
        for each in listen(*_host_and_port(address)):
            each.close()
    except OSError as error:
        why = error.strerror or error
        raise CheckError(f"cannot receive webhooks on {address}: {why}. Check --webhook-listen.") from None


class Run:
    """One run against one target."""

    def __init__(self, target_url: str, settings: Settings) -> None:
        if origin_of(target_url) is None:
            raise CheckError(f"{target_url} is not an http(s) URL")
        keys = settings.keys
        if any(key.startswith("sk_live_") for key in keys) and not settings.allow_live:
            raise LiveKeyRefused("a live key moves real money: use a test key, or say --allow-live")
        local = is_loopback(target_url)
        if not keys and not local:
            raise CheckError("no key: set QASHIER_API_KEY, or name a file with --api-key-file")
        if settings.webhook_listen is not None:
            _refuse_where_nobody_can_listen(settings.webhook_listen)
        self.settings = settings
        self.wanted = selected(CLAUSES, settings.only, settings.skip)
        self.strict = settings.strict or settings.own
        self.seed = secrets.randbelow(2**32) if settings.seed is None else settings.seed
        self.nonce = fresh_nonce()
        self.failed_checks: list[Finding] = []
        self.started_ns = time.monotonic_ns()
        policy = settings.policy or Policy()
        self.recorder = Recorder(
            Terms(
                currencies=frozenset(settings.currencies),
                policy=policy,
                wall_ns=time.time_ns(),
                monotonic_ns=self.started_ns,
                own=settings.own,
            )
        )
        self.stop = settings.stop or Stop()
        pace = Pace(
            rate=settings.rate or (None if local else _POLITE_RATE),
            deadline_ns=self.started_ns + int(settings.max_time_s * 1e9),
            most_sessions=settings.max_sessions,
            stop=self.stop,
        )
        pace.judging_ns = _JUDGING_NS
        self.target = Target(
            target_url.rstrip("/"),
            [Key(secret) for secret in [*keys[:2]] or [self._made_up_key("a")]],
            recorder=self.recorder,
            pace=pace,
            timeout_s=settings.timeout_s,
            transport=settings.transport,
        )
        self.account = Account(self.target, 0)
        self.connection = Connection(
            target=self.target,
            recorder=self.recorder,
            account=self.account,
            other=Account(self.target, 1) if len(keys) > 1 else None,
            control=settings.control,
            can_reach_us=local or settings.webhook_public_url is not None,
            made_up_key=self._made_up_key,
        )
        self.notes = self.connection.notes
        self.interim = Interim(self.recorder, pace, settings, self.wanted, self.started_ns)
        self._aside_ns = self._judged_ns = 0
        """What closing and cleaning up took, beside the budget, and what judging took."""
        self.crashes: list[str] = []
        """Drivers that could not go on, by a mistake of ours."""

    def _made_up_key(self, letter: str) -> str:
        """A key that was made up; of two, who looks at their case alone, or at their beginning, makes one account.

        Those of several runs differ near their end, which is what the inspector shows of a key.
        """
        return f"sk_test_Check{self.nonce}{'0' * 12}{self.nonce[-4:]}{letter}"

    # ── the whole ───────────────────────────────────────────────────────────────────────────────────────────────────

    def whole(self) -> Report:
        """Connect, drive, clean up, judge, send again what broke.

        Raises:
            CheckError: Nothing could be tested, with a message that says why.
        """
        try:
            return self._whole()
        finally:
            self.target.close()

    def _whole(self) -> Report:
        reasons = {identifier: "skipped" for identifier in CLAUSES if identifier not in self.wanted}
        interrupted = False
        try:
            try:
                self.connect()
                reasons.update(self.drive())
            except (Interrupted, KeyboardInterrupt):
                interrupted = True
            except OutOfTime:
                reasons.update(dict.fromkeys(self.wanted, "out of time"))
        finally:
            # Whatever happened, a crash of our own included: nothing is left behind.
            interrupted = interrupted or self.stop.is_set
            self.leave()
        interrupted = interrupted or self.stop.is_set
        if interrupted:
            reasons.update(dict.fromkeys(self.wanted, "interrupted"))
        if (refused := self.connection.explain_webhooks()) is not None:
            reasons.update(dict.fromkeys((i for i in self.wanted if Capability.WEBHOOKS in CLAUSES[i].needs), refused))
        history = self.interim.enough or self.recorder.history()
        by_id = self._judged(history, reasons, is_hasty=interrupted)
        sent_again = {} if interrupted or not self.settings.replay else self.send_again(by_id.values(), history)
        return Report(
            target=self.target.base_url,
            seed=self.seed,
            clauses=tuple(by_id[identifier] for identifier in CLAUSES),
            requests=self.target.pace.sent,
            duration_s=(time.monotonic_ns() - self.started_ns) / 1e9,
            interrupted=interrupted or self.stop.is_set,
            notes=tuple(self.notes),
            history=history,
            first_violation_s=self.interim.first_violation_s,
            sent_again=sent_again,
            crashes=tuple(self.crashes),
        )

    def leave(self) -> None:
        """Leave nothing behind."""
        self.stop.clear()
        accounts = [account for account in (self.account, self.connection.other) if account is not None]
        with self._aside():
            self.notes += clean_up(self.target, self.recorder, accounts, self.nonce)

    def site(self) -> Site:
        """Where to send traces to: in the name of fresh accounts, where the target has such."""
        context = self.context()
        return Site(
            target=self.target,
            nonce=self.nonce,
            keys_are_free=context.keys_are_free,
            receiver_host=context.receiver_host,
            receiver_port=context.receiver_port,
            receiver_url=context.receiver_url,
        )

    def send_again(self, judged: Iterable[ClauseReport], history: History) -> Mapping[str, SentAgain]:
        """Send the first violation of each clause again, within the budget."""
        pace, site = self.target.pace, self.site()
        pace.deadline_ns, pace.judging_ns = self._ends_ns - _WRITING * self._judged_ns, 0
        if (first := self.interim.first_failure) is not None and self.interim.enough is not None:
            judged = [first]
            pace.deadline_ns = min(pace.deadline_ns, time.monotonic_ns() + _REPLAY_OF_ONE_NS)
        try:
            is_silent = all(exchange.reply is None for exchange in history.exchanges[-2:])  # and each costs a clean-up
            budget = Budget(is_over=lambda: is_silent or pace.remaining_s <= 0)
            return dict(send_again(judged, history, site, budget=budget))
        except _SURPRISED as error:
            self._crashed("sending again", error)
            return {}

    def _crashed(self, what: str, error: Exception) -> str:
        """Note a mistake of ours that an odd answer brought to light: nothing that a target answers ends a run.

        What was started in our own process, a mock of ours or a target of a test, shows it at once.
        """
        if self.settings.own or self.settings.transport is not None:
            raise error
        words = " ".join(f"{what} could not go on: {type(error).__name__}: {error}".split())[:200]
        self.crashes.append(words)
        return f"an internal error: {words}"

    def connect(self) -> None:
        """Find out what the target is, and open a first session.

        Raises:
            CheckError: It is not the API, or takes no key, with a message that says why.
        """
        self.connection.find_out()
        self.connection.settle(*self._first_session())

    def _judged(self, history: History, reasons: Mapping[str, str], *, is_hasty: bool) -> dict[str, ClauseReport]:
        """What becomes of each clause. Where it must be quick and is not, what is known already has to do."""
        skipped = replace(history, exchanges=(), deliveries=())
        found = {entry.clause.id: entry for entry in judge(skipped, CLAUSES.values(), reasons=reasons)}
        began_ns, cost_ns = time.monotonic_ns(), self.target.pace.judging_ns
        least_s = min(_JUDGING_SHARE * self.settings.max_time_s, _JUDGING_SHARE_MOST_S)
        until_ns = max(self._ends_ns, began_ns + int(least_s * 1e9))
        if is_hasty:
            until_ns = began_ns + _LAST_LOOK_NS
            if sum(map(weight_of, history.exchanges)) * cost_ns > _LAST_LOOK_NS:
                self.interim.last_look(_LAST_LOOK_NS)
                return {**found, **self.interim.known}
        if self.interim.enough is not None:
            return {**found, **self._judged_in_part(found), **self.interim.known}
        judged = judge(
            history,
            [CLAUSES[identifier] for identifier in self.wanted],
            strict=self.strict,
            reasons=reasons,
            failed_checks=self.failed_checks,
            until_ns=until_ns,
        )
        self._judged_ns = time.monotonic_ns() - began_ns
        self.interim.settle(judged)
        found |= {entry.clause.id: entry for entry in judged}
        late = {name for name in self.interim.known if not found[name].exercised}
        in_part = {} if is_hasty else self._judged_in_part(found)
        if in_part:
            self.notes.append(
                f"There was no time to judge everything: {len(in_part)} clauses passed by the first "
                f"{self.interim.seen} requests alone, among them {next(iter(in_part))}."
            )
        return {**found, **in_part, **{name: self.interim.known[name] for name in late}}

    def _judged_in_part(self, found: Mapping[str, ClauseReport]) -> dict[str, ClauseReport]:
        """The clauses that were not judged by everything, though nothing broke them as far as was looked."""
        looked_at = self.interim.exercised
        cut = [name for name, entry in found.items() if not entry.exercised and looked_at[name]]
        return {
            name: replace(found[name], verdict=Verdict.PASSED, exercised=looked_at[name], reason=None) for name in cut
        }

    def _first_session(self) -> tuple[Sequence[str], Callable[[str], Exchange]]:
        """What currencies to try, and how to open a session in one."""
        terms = self.recorder.terms
        context = self.context()

        def open_in(code: str) -> Exchange:
            context.currency = code
            return context.open().exchange

        return tuple(self.settings.currencies) or terms.policy.currencies or CURRENCIES, open_in

    # ── driving ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def context(self) -> RunContext:
        """What the drivers work with."""
        connection, terms = self.connection, self.recorder.terms
        host, port = _host_and_port(self.settings.webhook_listen or "127.0.0.1:0")
        free = connection.other_is_made_up and not terms.one_clock
        return RunContext(
            target=self.target,
            recorder=self.recorder,
            account=self.account,
            other=connection.other,
            nonce=self.nonce,
            currency=connection.currency,
            second_currency=connection.second_currency,
            receiver_host=host if Capability.WEBHOOKS in terms.capabilities else None,
            receiver_port=port,
            receiver_url=self.settings.webhook_public_url,
            seed=self.seed,
            budget_s=self.settings.max_time_s,
            keys_are_free=free,
            failed_checks=self.failed_checks,
            notes=self.notes,
            wanted=frozenset(self.wanted),
            broken_by=_broken_by,
            look=self.interim.look,
        )

    def drive(self) -> dict[str, str]:
        """Run the plan; why clauses of drivers that did not run may be unexercised.

        Raises:
            Interrupted: The stop came.
        """
        context = self.context()
        context._count = 1_000  # noqa: SLF001 - past the marks that connecting used
        chosen = self.settings.drivers
        steps = [d for d in plan(self.wanted, context.terms.capabilities) if chosen is None or chosen(d)]
        reasons: dict[str, str] = {}
        self.target.look = self.interim.glance
        if self.settings.replay:
            share_s = self.settings.max_time_s * (1 - _REPLAY_SHARE)
            self.target.pace.deadline_ns = self.started_ns + int(share_s * 1e9)
        try:
            for done, driver in enumerate(steps):
                self._show(steps, done)
                self.target.scenario = driver.name
                try:
                    driver.run(context)
                    self.interim.look()
                except OutOfTime as spent:
                    if isinstance(spent, Interrupted):
                        raise
                    why = _ENDED.get(type(spent), "out of time")
                    for late in steps[done:]:
                        reasons.update(dict.fromkeys(exercised_by(late), why))
                    self._note_left_out([step.name for step in steps[done:] if step.requests], len(steps), why)
                    break
                except OutOfSessions:
                    reasons.update(
                        dict.fromkeys(exercised_by(driver), "as many sessions were opened as --max-sessions allows")
                    )
                except _SURPRISED as error:
                    why = self._crashed(driver.name, error)
                    reasons.update(dict.fromkeys(exercised_by(driver), why))
        finally:
            self.target.look = lambda: None
            with self._aside():  # what closes there, tells the target so
                context.until_the_end.close()
        if self.interim.enough is None:
            self._read_last_events()
        return {identifier: why for identifier, why in reasons.items() if identifier in self.wanted}

    def _read_last_events(self) -> None:
        """Read the lists of events once more that lack something.

        Raises:
            Interrupted: The stop came.
        """
        self.target.scenario = "last events"
        self.target.pace.deadline_ns = self._ends_ns
        try:
            wait_for_pending_events(self.target, self.recorder)
        except OutOfTime as spent:
            if isinstance(spent, Interrupted):
                raise

    def _note_left_out(self, names: Sequence[str], planned: int, why: str) -> None:
        """Say that a clause may have passed without the step that it would break on. What is drawn has no end."""
        if names:
            shown = ", ".join(names[:_MOST_NAMED]) + (" …" if len(names) > _MOST_NAMED else "")
            left = f"{len(names)} of the plan's {planned} steps were not sent in full ({why}): {shown}"
            self.notes.insert(0, f"{left}. What passed, passed without them.")

    def _show(self, steps: Sequence[Driver], done: int) -> None:
        if self.settings.progress is None:
            return
        pace = self.target.pace
        # By the requests that are planned; what has no plan goes on until the budget is spent.
        planned = [step.requests for step in steps]
        sent, left = max(1, sum(planned[:done])), sum(planned[done:])
        spent_s = (time.monotonic_ns() - self.started_ns) / 1e9
        left_s = pace.remaining_s if 0 in planned[done:] or not done else min(pace.remaining_s, spent_s * left / sent)
        self.settings.progress(Progress(steps[done].name, done, len(steps), pace.sent, max(0.0, left_s)))

    @property
    def _ends_ns(self) -> int:
        """When the budget is spent, on the monotonic clock."""
        return self.started_ns + int(self.settings.max_time_s * 1e9) + self._aside_ns

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Let requests be sent for some time, though the budget may be spent. It does not count."""
        pace, began_ns = self.target.pace, time.monotonic_ns()
        before = pace.deadline_ns, pace.judging_ns
        pace.deadline_ns, pace.judging_ns = began_ns + int(CLEAN_UP_S * 1e9), 0
        try:
            yield
        finally:
            self._aside_ns += time.monotonic_ns() - began_ns
            pace.deadline_ns, pace.judging_ns = before


def _broken_by(history: History, wanted: Collection[str]) -> tuple[str, ...]:
    """What drivers are handed, which know no clause: which of the wanted clauses a history breaks."""
    return broken_by(history, [clause for identifier, clause in CLAUSES.items() if identifier in wanted])
