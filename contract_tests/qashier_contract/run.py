"""From a URL to a `Report`: safety first, then the plan within its budget, then clean-up, then the verdicts."""

from __future__ import annotations

import ipaddress
import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from qashier_contract.clauses import CLAUSES
from qashier_contract.drive import RunContext, wait_for_pending_events
from qashier_contract.drive.plan import exercised_by, plan, selected
from qashier_contract.errors import CheckError, KeyRefused, LiveKeyRefused, TargetUnreachable
from qashier_contract.history import Capability, Credentials, Exchange, History, Recorder, Terms
from qashier_contract.interrupts import OutOfTime
from qashier_contract.ledger import Ledger, entries_of
from qashier_contract.policy import Policy
from qashier_contract.target import Account, Key, OutOfSessions, Pace, Target
from qashier_contract.values import is_integer
from qashier_contract.verdicts import Report, broken_by, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from qashier_contract.drive import Driver
    from qashier_contract.target import Transport
    from qashier_contract.verdicts import FailedCheck

_POLITE_RATE: Final = 20.0
"""Requests per second to a target that is not this machine."""
_CLEAN_UP_S: Final = 30.0
"""The clean-up's own budget."""
_PAGES_SEARCHED: Final = 5
"""How many pages of open sessions are looked through at the end for what a faulty target opened unasked."""
_LEAP_S: Final = 60
"""How far a clock is moved to see which accounts go by it."""
_CURRENCIES: Final = (
    "SGD",
    "MYR",
    "PHP",
    "USD",
    "IDR",
    "THB",
    "VND",
    "HKD",
    "EUR",
    "JPY",
    "GBP",
    "AUD",
    "TWD",
    "KRW",
    "CNY",
)
"""What is tried, in this order, where a tester did not say what the account may charge."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    driver: str
    done: int
    total: int
    requests: int
    remaining_s: float


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of `--plan`."""

    driver: Driver
    clauses: tuple[str, ...]


def check(
    target_url: str,
    *,
    keys: Sequence[str] = (),
    max_time_s: float = 60.0,
    seed: int | None = None,
    rate: float | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    strict: bool = False,
    control: str = "auto",
    webhook_listen: str | None = None,
    webhook_public_url: str | None = None,
    currencies: Sequence[str] = (),
    policy: Policy | None = None,
    max_sessions: int | None = None,
    allow_live: bool = False,
    timeout_s: float = 30.0,
    progress: Callable[[Progress], None] | None = None,
    transport: Transport | None = None,
    drivers: Callable[[Driver], bool] | None = None,
    own: bool = False,
) -> Report:
    """Check an implementation against the contract.

    Args:
        target_url: Its base URL; `/checkout/sessions` hangs below it.
        keys: The secret keys of one account, or of two. On loopback one is made up where none is given.
        max_time_s: The most it takes, clean-up aside.
        seed: What is drawn, is drawn from this; drawn itself by default, and reported.
        rate: Requests per second; by default as fast as they come on loopback, 20 elsewhere.
        only: Patterns of clause ids, such as `LIS-*`, to exercise and judge; all by default.
        skip: Patterns of clause ids to leave out.
        strict: Let assumed clauses fail instead of warn.
        control: Where `/_mock/v1` hangs; `auto` asks the target's host, `none` does without.
        webhook_listen: `HOST:PORT` where our webhook receiver listens.
        webhook_public_url: How the target reaches that receiver.
        currencies: What the account may charge, the first for most requests.
        policy: Answers to what the documentation leaves open.
        max_sessions: How many sessions may be opened.
        allow_live: Whether a live key may be used.
        timeout_s: After how many seconds an answer counts as lost.
        progress: Told before each driver.
        transport: Carries the requests instead of HTTP: a target inside this process.
        drivers: Which drivers of the plan run; all by default.
        own: Whether the target is our own mock, started by the caller: it is judged by the strict document as well,
            and assumed clauses fail.

    Returns:
        The report. After Ctrl-C it holds what was seen so far and says `interrupted`; the sessions are expired even so.

    Raises:
        CheckError: Nothing could be tested, with a message that says why.
    """
    run = Run(
        target_url,
        keys=keys,
        max_time_s=max_time_s,
        seed=seed,
        rate=rate,
        strict=strict,
        control=control,
        webhook_listen=webhook_listen,
        webhook_public_url=webhook_public_url,
        currencies=currencies,
        policy=policy,
        max_sessions=max_sessions,
        allow_live=allow_live,
        timeout_s=timeout_s,
        progress=progress,
        transport=transport,
        drivers=drivers,
        own=own,
    )
    return run.whole(only, skip)


def planned(target_url: str, *, only: Sequence[str] = (), skip: Sequence[str] = (), **options: object) -> list[Planned]:
    """What `check` with the same arguments would do. The target is asked what it allows, and no session is opened."""
    wanted = selected(CLAUSES, only, skip)
    run = Run(target_url, **options)  # type: ignore[arg-type]  # the same keywords as check, checked there
    try:
        run.connect(open_nothing=True)
        return [
            Planned(d, tuple(c for c in wanted if c in exercised_by(d))) for d in plan(wanted, run.terms.capabilities)
        ]
    finally:
        run.target.close()


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Run:
    """One run against one target. The arguments are those of `check`."""

    def __init__(
        self,
        target_url: str,
        *,
        keys: Sequence[str] = (),
        max_time_s: float = 60.0,
        seed: int | None = None,
        rate: float | None = None,
        strict: bool = False,
        control: str = "auto",
        webhook_listen: str | None = None,
        webhook_public_url: str | None = None,
        currencies: Sequence[str] = (),
        policy: Policy | None = None,
        max_sessions: int | None = None,
        allow_live: bool = False,
        timeout_s: float = 30.0,
        progress: Callable[[Progress], None] | None = None,
        transport: Transport | None = None,
        drivers: Callable[[Driver], bool] | None = None,
        own: bool = False,
    ) -> None:
        parts = urlsplit(target_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CheckError(f"{target_url} is no http(s) URL")
        if any(key.startswith("sk_live_") for key in keys) and not allow_live:
            raise LiveKeyRefused("a live key moves real money: use a test key, or say --allow-live")
        local = is_loopback(target_url)
        if not keys and not local:
            raise CheckError("no key: set QASHIER_API_KEY, or name a file with --api-key-file")
        self.target_url = target_url.rstrip("/")
        self.is_local = local
        self.max_time_s = max_time_s
        self.seed = secrets.randbelow(2**32) if seed is None else seed
        self.strict = strict or own
        self.own = own
        self.drivers = drivers
        self.control = control
        self.webhook_listen, self.webhook_public_url = webhook_listen, webhook_public_url
        self.currencies = tuple(currencies)
        self.progress = progress
        self.notes: list[str] = []
        self.failed_checks: list[FailedCheck] = []
        self.nonce = str(10**9 + secrets.randbelow(9 * 10**9))
        self.second_key_is_made_up = len(keys) < 2
        secrets_given = [*keys] or [self._key_that_ends_with("a")]
        self.terms = Terms(
            currencies=frozenset(currencies),
            policy=policy or Policy(),
            wall_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
        )
        self.recorder = Recorder(self.terms)
        self.started_ns = time.monotonic_ns()
        pace = Pace(
            rate=rate or (None if local else _POLITE_RATE),
            deadline_ns=self.started_ns + int(max_time_s * 1e9),
            most_sessions=max_sessions,
        )
        self.target = Target(
            self.target_url,
            [Key(secret) for secret in secrets_given[:2]],
            recorder=self.recorder,
            pace=pace,
            timeout_s=timeout_s,
            transport=transport,
        )
        self.account = Account(self.target, 0)
        self.other: Account | None = Account(self.target, 1) if len(keys) > 1 else None

    # ── the whole ───────────────────────────────────────────────────────────────────────────────────────────────────

    def whole(self, only: Sequence[str], skip: Sequence[str]) -> Report:
        """Connect, drive, clean up, judge."""
        wanted = selected(CLAUSES, only, skip)
        if not wanted:
            raise CheckError("no clause is left to check: look at --only and --skip")
        reasons = {identifier: "skipped" for identifier in CLAUSES if identifier not in wanted}
        interrupted = False
        try:
            try:
                self.connect()
                left_out = self.drive(wanted)
                reasons.update(left_out)
            except OutOfTime:
                reasons.update(dict.fromkeys(wanted, "out of time"))
            except KeyboardInterrupt:
                interrupted = True
                reasons.update(dict.fromkeys(wanted, "interrupted"))
        finally:
            # Whatever happened, a crash of our own included: nothing is left behind.
            self.clean_up()
            self.target.close()
        history = self.recorder.history()
        judged = judge(
            history,
            [CLAUSES[i] for i in wanted],
            strict=self.strict,
            reasons=reasons,
            failed_checks=self.failed_checks,
        )
        skipped = judge(
            replace(history, exchanges=(), deliveries=()),
            [CLAUSES[i] for i in CLAUSES if i not in wanted],
            reasons=reasons,
        )
        by_id = {entry.clause.id: entry for entry in (*judged, *skipped)}
        return Report(
            target=self.target_url,
            seed=self.seed,
            clauses=tuple(by_id[identifier] for identifier in CLAUSES),
            requests=self.target.pace.sent,
            duration_s=(time.monotonic_ns() - self.started_ns) / 1e9,
            interrupted=interrupted,
            notes=tuple(self.notes),
            history=history,
        )

    # ── connecting ──────────────────────────────────────────────────────────────────────────────────────────────────

    def connect(self, *, open_nothing: bool = False) -> None:
        """Find out whether the target answers, takes the key, and what it allows.

        Raises:
            TargetUnreachable: It does not answer.
            KeyRefused: It takes the key in no way.
        """
        self.target.scenario = "connect"
        self._greet(0)
        capabilities: set[Capability] = set()
        self._find_control(capabilities)
        self._find_other(capabilities)
        self._find_webhooks(capabilities)
        # A page is looked for once there is a session; until then it is taken for granted.
        capabilities.add(Capability.PAGE)
        self._agree(capabilities)
        if not open_nothing:
            self._find_one_clock()
            self._stop_clocks()
            self._find_currency()

    def _agree(self, capabilities: set[Capability]) -> None:
        self.terms = replace(self.terms, capabilities=frozenset(capabilities))
        self.recorder.terms = self.terms

    def _greet(self, number: int) -> None:
        account = Account(self.target, number)
        answer = account.list(limit=1)
        if answer.reply is None:
            raise TargetUnreachable(f"{self.target_url} does not answer: {answer.failure}")
        if answer.status in {401, 403}:
            bearer = self.target.send(
                "GET", answer.request.path, account=number, query="limit=1", credentials=Credentials.BEARER
            )
            if bearer.status in {401, 403}:
                raise KeyRefused(f"{self.target_url} takes the key neither by Basic nor as a bearer token")
            self.target.keys[number] = replace(self.target.keys[number], scheme=Credentials.BEARER)
            self.notes.append("The target refuses Basic: the key is sent as a bearer token.")

    def _find_control(self, capabilities: set[Capability]) -> None:
        if self.control == "none":
            return
        parts = urlsplit(self.target_url)
        self.target.control_url = (
            f"{parts.scheme}://{parts.netloc}" if self.control == "auto" else self.control.rstrip("/")
        )
        clock = self.account.clock()
        if not clock.succeeded or not is_integer(clock.object.get("now")):
            self.target.control_url = None
            if self.control != "auto":
                raise TargetUnreachable(f"{self.control} has no control API: GET /_mock/v1/clock gave {clock.status}")
            return
        capabilities |= {Capability.CLOCK, Capability.PAY}
        events = self.account.events()
        if events.succeeded and isinstance(events.object.get("data"), list):
            capabilities.add(Capability.EVENTS)

    def _key_that_ends_with(self, letter: str) -> str:
        """A key that was made up; of two, who looks at their case alone, or at their beginning, makes one account."""
        return f"sk_test_Check{self.nonce}{'0' * 16}{letter}"

    def _find_other(self, capabilities: set[Capability]) -> None:
        if self.other is None and self.target.control_url is not None:
            self.target.keys.append(Key(self._key_that_ends_with("A"), self.target.keys[0].scheme))
            self.other = Account(self.target, 1)
        if self.other is None:
            return
        if self.second_key_is_made_up:
            answer = self.other.list(limit=1)
            if not answer.succeeded:
                # Nobody said that this key is one: its refusal says nothing about the target.
                self.recorder.exchanges.remove(answer)
                self.other = None
                return
        else:
            self._greet(1)
        capabilities.add(Capability.SECOND_ACCOUNT)

    def _find_webhooks(self, capabilities: set[Capability]) -> None:
        reachable = self.is_local or self.webhook_public_url is not None
        if self.target.control_url is None or not reachable:
            return
        answer = self.target.send("GET", "/_mock/v1/webhook-endpoints", account=0)
        # It may let endpoints be added, and not list them.
        if answer.succeeded or answer.status == 405:
            capabilities.add(Capability.WEBHOOKS)
            capabilities.add(Capability.EVENTS)

    def _find_one_clock(self) -> None:
        """Move one account's clock, and see whether the other's goes along."""
        if self.other is None or Capability.CLOCK not in self.terms.capabilities:
            return
        before, _, after = self.other.clock(), self.account.advance(_LEAP_S), self.other.clock()
        was, became = before.object.get("now"), after.object.get("now")
        if is_integer(was) and is_integer(became):
            passed_s = (after.received_ns - before.sent_ns) / 1e9
            self.terms = replace(self.terms, one_clock=became - was > passed_s + _LEAP_S / 2)
            self.recorder.terms = self.terms

    def _stop_clocks(self) -> None:
        """Let no second pass by itself, whatever is checked: it would decide on which side of a bound a request is."""
        if Capability.CLOCK not in self.terms.capabilities:
            return
        for account in (self.account, self.other):
            if account is not None:
                account.set_clock(frozen=True)
                account.clock()

    def _find_currency(self) -> None:
        """Open a first session, in the first currency that the account may charge."""
        self.target.scenario = "first session"
        choice = self.currencies or self.terms.policy.currencies or _CURRENCIES
        context = self.context()
        for code in choice:
            context.currency = code
            if context.open().succeeded:
                self._currency = code
                break
        else:
            self._currency = choice[0]
            self.notes.append(f"No session could be opened in {', '.join(choice)}.")
        others = [code for code in (*choice, *_CURRENCIES) if code != self._currency]
        self._second_currency = others[0]

    _currency = _CURRENCIES[0]
    _second_currency = _CURRENCIES[1]

    # ── driving ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def context(self) -> RunContext:
        """What the drivers work with."""
        host, _, port = (self.webhook_listen or "127.0.0.1:0").rpartition(":")
        return RunContext(
            target=self.target,
            recorder=self.recorder,
            account=self.account,
            other=self.other,
            nonce=self.nonce,
            currency=self._currency,
            second_currency=self._second_currency,
            capabilities=self.terms.capabilities,
            receiver_host=host if Capability.WEBHOOKS in self.terms.capabilities else None,
            receiver_port=int(port or 0),
            receiver_url=self.webhook_public_url,
            strict=self.strict,
            seed=self.seed,
            budget_s=self.max_time_s,
            keys_are_free=self.second_key_is_made_up and self.other is not None and not self.terms.one_clock,
            own=self.own,
            failed_checks=self.failed_checks,
            notes=self.notes,
            wanted=frozenset(CLAUSES),
            broken_by=_broken_by,
        )

    def drive(self, wanted: Sequence[str]) -> dict[str, str]:
        """Run the plan; why clauses of drivers that did not run may be unexercised."""
        context = self.context()
        context._count = 1_000  # noqa: SLF001 - past the marks that connecting used
        context.wanted = frozenset(wanted)
        steps = [d for d in plan(wanted, self.terms.capabilities) if self.drivers is None or self.drivers(d)]
        reasons: dict[str, str] = {}
        with context.until_the_end:
            for done, driver in enumerate(steps):
                if self.progress is not None:
                    self.progress(
                        Progress(driver.name, done, len(steps), self.target.pace.sent, self.target.pace.remaining_s)
                    )
                self.target.scenario = driver.name
                try:
                    driver.run(context)
                except OutOfTime:
                    for late in steps[done:]:
                        reasons.update(dict.fromkeys(exercised_by(late), "out of time"))
                    break
                except OutOfSessions:
                    reasons.update(
                        dict.fromkeys(exercised_by(driver), "as many sessions were opened as --max-sessions allows")
                    )
        self._allow(_CLEAN_UP_S)
        self.target.scenario = "last events"
        wait_for_pending_events(self.target, self.recorder)
        return reasons

    def _allow(self, seconds: float) -> None:
        """Let requests be sent for some time, though the budget may be spent."""
        self.target.pace.deadline_ns = time.monotonic_ns() + int(seconds * 1e9)

    # ── leaving nothing behind ──────────────────────────────────────────────────────────────────────────────────────

    def clean_up(self) -> None:
        """Expire every session that is not known to have ended, remove our endpoints, let the clocks go on."""
        self.target.scenario = "clean-up"
        self._allow(_CLEAN_UP_S)
        left = 0
        try:
            left += sum(not self._ended(*found) for found in self._left_open())
            left += sum(not self._ended(*found) for found in self._unasked())
            self._restore_control()
        except OutOfTime:
            self.notes.append("The clean-up ran out of time: some sessions may still be open.")
        if left:
            self.notes.append(f"{left} sessions could not be expired at the end, and may still be open.")

    def _ended(self, number: int, session_id: str) -> bool:
        """Expire a session; whether it is ended now. Some are, though their history did not show it for certain."""
        account = Account(self.target, number)
        if account.expire(session_id).succeeded:
            return True
        return account.retrieve(session_id).object.get("status") in {"complete", "expired"}

    def _unasked(self) -> list[tuple[int, str]]:
        """Open sessions that carry the mark of this run, though no answer named them: a faulty target made them."""
        found = []
        for account in (self.account, self.other):
            page = account.list(status="open", limit=100) if account is not None else None
            for _ in range(_PAGES_SEARCHED):
                if account is None or page is None or not (entries := entries_of(page)):
                    break
                found += [
                    (account.number, str(e.get("id"))) for e in entries if self.nonce in str(e.get("success_url"))
                ]
                if page.object.get("has_more") is not True:
                    break
                page = account.list(status="open", limit=100, starting_after=str(entries[-1].get("id")))
        return found

    def _left_open(self) -> list[tuple[int, str]]:
        """The sessions that answers named, and that may still be open."""
        history = self.recorder.history()
        ledger = Ledger(history)
        found: dict[str, int] = {}
        for observed in ledger.sessions.values():
            state = None
            if history.exchanges:
                state = ledger.state_before(observed, _after(history.exchanges[-1], observed.account))
            if state is None or state.status == "open":
                found[observed.id] = observed.account
        return [(account, session_id) for session_id, account in found.items()]

    def _restore_control(self) -> None:
        if self.target.control_url is None or Capability.CLOCK not in self.terms.capabilities:
            return
        for account in (self.account, self.other):
            if account is None:
                continue
            if any(e.account == account.number and e.object.get("frozen") is True for e in self.recorder.exchanges):
                account.set_clock(frozen=False)


def _broken_by(history: History, wanted: Collection[str]) -> tuple[str, ...]:
    """What drivers are handed, which know no clause: which of the wanted clauses a history breaks."""
    return broken_by(history, [clause for identifier, clause in CLAUSES.items() if identifier in wanted])


def _after(exchange: Exchange, account: int) -> Exchange:
    """A request in an account's name, just after everything that was seen."""
    return replace(
        exchange,
        number=exchange.number + 1,
        account=account,
        request=replace(exchange.request, headers=()),
        sent_ns=time.monotonic_ns(),
        received_ns=time.monotonic_ns(),
        page_of=None,
    )
