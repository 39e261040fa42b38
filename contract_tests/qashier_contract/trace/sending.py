"""Sends the steps of a trace once, in the name of accounts that are new where the target allows it.

Ids, keys and times of the recorded run are carried over to what this run gets. A clock begins where it began, by the
time of day where the day has passed; where a clock cannot be set, all times move along with the target's.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property, partial
from typing import Final, Self

from qashier_contract.addresses import is_same_host, joined
from qashier_contract.clean_up import clean_up
from qashier_contract.history import TOO_LATE, Credentials, Exchange, History, Operation, Recorder
from qashier_contract.page import Page, page_of
from qashier_contract.receiver import HOLD_S, Receiver
from qashier_contract.target import MOST_AT_ONCE, Account
from qashier_contract.trace.site import Site, fresh_nonce
from qashier_contract.trace.steps import Step, Steps
from qashier_contract.trace.symbols import (
    FORMS,
    ApiKey,
    EndpointId,
    Moment,
    Nonce,
    ReceiverUrl,
    Secret,
    SessionId,
    Symbol,
    Text,
    in_url,
    spelled,
)
from qashier_contract.values import is_integer

_DAY_S: Final = 86_400
_PATIENCE_S: Final = 2.0
"""How long a delivery is waited for that came in the recorded run."""
_LITTLE_PATIENCE_S: Final = 0.2
"""How long, after one was waited for in vain."""
_SETTLING_S: Final = 2.6
"""After so long a list of events must have what it gets."""
_AT_ONCE_S: Final = 5.0
"""How long a delivery may take that is sent at once."""
_PAUSE_S: Final = 1.0
"""A longer pause after a move of the clock was meant."""
_LONGEST_PAUSE_S: Final = 3.5
_CLEAN_UP_NS: Final = 5 * 10**9
"""What cleaning up may take, though the budget is spent."""
_ENDING: Final = frozenset({Operation.EXPIRE, Operation.PAY})
_LONGEST_KEY: Final = 255


class _Unknown(Exception):
    """A step names what the target did not give this time, so that it cannot be sent."""


class Sending:
    """One sending of some steps to a site; a context manager, which leaves nothing behind."""

    def __init__(self, steps: Steps, site: Site) -> None:
        self.steps = steps
        self.site = site
        self.recorder = Recorder()
        fresh = fresh_nonce()
        self.target = site.target_for(steps, fresh, self.recorder)
        length = len(steps.nonce or fresh)
        self._nonce = (fresh * (1 + length // len(fresh)))[:length]
        self._ids: dict[str, str] = {}
        self._pages: dict[str, str] = {}
        """The address of each session's page, by the id that it had."""
        self._shown: dict[int, Exchange] = {}
        """What was sent, by the number of the exchange in the recorded run."""
        self._deltas: dict[int, int] = {}
        """How far each account's clock is from the one of the recorded run, seconds."""
        self._moments: dict[Moment, int | float] = {}
        """What the times became, where no clock can be set."""
        self._endpoints: dict[str, tuple[Account, str, str]] = {}
        """The endpoints that are registered: account, name at the receiver and id, by the id that they had."""
        self._names: dict[str, str] = {}
        self._stems: dict[str, str] = {}
        self._urls: dict[str, str] = {}
        """What stands behind an endpoint, by the address that did in the recorded run."""
        self._receiver: Receiver | None = None
        self._hangs_since_ns = 0
        self._patience_s = _PATIENCE_S
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self._stack.callback(self.target.close)
            self._clean_up()

    def send(self) -> History:
        """Send every step, and wait for the deliveries that came in the recorded run; what was observed.

        Raises:
            OutOfTime: The budget is spent.
            OutOfSessions: No more sessions are allowed.
        """
        terms = replace(self.steps.history.terms, wall_ns=time.time_ns(), monotonic_ns=time.monotonic_ns())
        self.recorder.terms = terms
        self._begin()
        for place, group in enumerate(self.steps.groups):
            self._set_doors(group)
            self._send_group(group)
            following = self.steps.groups[place + 1 : place + 2]
            self._await_deliveries(group, following[0][0].exchange.number if following else None)
            if self._names and following and group[0].moved_s is not None:
                self._wait_as_long(group[0].exchange, following[0][0].exchange)
        return self.recorder.history()

    @property
    def may_settle(self) -> bool:
        """Whether a moment later more may be seen: a webhook, an event in a list."""
        told = bool(self._names) or any(s.exchange.operation is Operation.EVENTS for s in self.steps.all)
        return told and any(s.moved_s or s.press or s.exchange.operation in _ENDING for s in self.steps.all)

    def settle(self) -> History:
        """Wait until what was caused must have been told, ask for the events once more; what was observed by then.

        Raises:
            OutOfTime: The budget is spent.
        """
        accounts = sorted({s.account or 0 for s in self.steps.all if s.exchange.operation is Operation.EVENTS})
        if accounts:
            self.target.pace.sleep(_SETTLING_S)
        for number in accounts:
            Account(self.target, number).events()
        if self._receiver is not None:
            ends = sum(step.exchange.operation in _ENDING for step in self.steps.all)
            for account, name, endpoint_id in self._endpoints.values():
                self._receiver.wait(name, ends, _AT_ONCE_S)
                # Who removes an endpoint has waited for what ought to come there.
                account.remove_endpoint(endpoint_id)
                self._receiver.removed(name)
            self._endpoints.clear()
        return self.recorder.history()

    def _clean_up(self) -> None:
        """Expire and remove what is left. That has a budget of its own, and is not part of what was observed."""
        pace = self.target.pace
        deadline_ns = pace.deadline_ns
        if deadline_ns is not None:
            pace.deadline_ns = max(deadline_ns, time.monotonic_ns() + _CLEAN_UP_NS)
        accounts = [Account(self.target, number) for number in self.steps.accounts]
        clean_up(self.target, self.recorder, accounts, self._nonce)
        pace.deadline_ns = deadline_ns

    # Clocks.

    def _begin(self) -> None:
        """Stop each account's clock where it began in the recorded run."""
        done: set[int | None] = set()
        terms = self.steps.history.terms
        for number in self.steps.accounts:
            start = self.steps.starts.get(number)
            if not self.steps.can_move_clock:
                continue
            account = Account(self.target, number)
            # One that ran in the recorded run goes on.
            stands = None if self.steps.ledger.clock_runs(number) else True
            shown = (account.set_clock(frozen=True) if stands else account.clock()).object.get("now")
            clock = self.steps.history.clock_name(number)
            if self.site.keys_are_free and clock not in done and is_integer(shown) and start is not None:
                # Clocks go forward only. What depends on the time of day shows at the same time of another day.
                goal = start if shown <= start else start + -(-(shown - start) // _DAY_S) * _DAY_S
                shown = account.set_clock(now=goal, frozen=stands).object.get("now")
            done.add(clock)
            shown = account.clock().object.get("now") if not is_integer(shown) or terms.one_clock else shown
            if is_integer(shown) and start is not None:
                self._deltas[number] = shown - start

    def _follow_clock(self, step: Step) -> None:
        """Let the times in a request be as far from the target's clock, which cannot be set, as they were.

        That is done anew for each request: requests that were left out took time, and slow ones take another time.
        """
        if self.steps.can_move_clock or step.account is None:
            return
        recorded, created = step.exchange, step.exchange.object.get("created")
        if not (self._opened(recorded) and is_integer(created)):
            created = math.floor(self._recorded_s(recorded.sent_ns) + self._ahead_s)
        self._deltas[step.account] = math.floor(time.time_ns() / 1e9 + self._ahead_s) - created

    def _opened(self, exchange: Exchange) -> bool:
        """Whether an exchange of the recorded run opened a session, rather than showing one that was there."""
        observed = self.steps.ledger.sessions.get(str(exchange.object.get("id")))
        return observed is not None and observed.born is exchange and observed.created is not None

    def _recorded_s(self, moment_ns: int) -> float:
        """What the machine's clock showed at a moment of the recorded run; now, where the trace does not tell."""
        terms = self.steps.history.terms
        wall_ns = time.time_ns() if terms.wall_ns is None else terms.wall_ns + moment_ns - terms.monotonic_ns
        return wall_ns / 1e9

    @cached_property
    def _ahead_s(self) -> float:
        """How far the target's clock was ahead of the machine's at least, as the sessions show that it opened."""
        opened = [e for e in self.steps.history.of(Operation.CREATE) if self._opened(e)]
        least = max((e.object["created"] - self._recorded_s(e.received_ns) for e in opened), default=0.0)
        most = min((e.object["created"] + 1 - self._recorded_s(e.sent_ns) for e in opened), default=0.0)
        return min(max(0.0, least), most)

    # Groups.

    def _send_group(self, group: Sequence[Step]) -> None:
        acts = [(step, act) for step in group if (act := self._act(step)) is not None]
        for start in range(0, len(acts), MOST_AT_ONCE):
            some = acts[start : start + MOST_AT_ONCE]
            done = [some[0][1]()] if len(some) == 1 else self.target.at_once([act for _, act in some])
            for (step, _), exchange in zip(some, done, strict=True):
                self._learn(step, exchange)

    def _act(self, step: Step) -> Callable[[], Exchange] | None:
        """What sends a step; None where it cannot be sent, because the target did not give what it names."""
        try:
            if step.moved_s is not None:
                return self._move(step)
            if step.exchange.page_of is not None:
                return self._customer(step)
            return self._request(step)
        except _Unknown:
            return None

    def _move(self, step: Step) -> Callable[[], Exchange]:
        account, seconds = Account(self.target, step.account or 0), step.moved_s or 0
        if self._hangs_since_ns and self._receiver is not None:
            self._receiver.hold(HOLD_S - (time.monotonic_ns() - self._hangs_since_ns) / 1e9)
            self._hangs_since_ns = 0
        if (
            self._receiver is not None
            and self._receiver.clock is not None
            and account.number == self._receiver.clock_of
        ):
            self._receiver.clock += seconds
        return partial(account.advance, seconds)

    def _customer(self, step: Step) -> Callable[[], Exchange]:
        """What a customer does: open the session's page, or press something on a page that was opened before."""
        old = step.exchange.page_of or ""
        session_id, url = self._ids.get(old), self._pages.get(old)
        account = Account(self.target, 0)
        if session_id is None or url is None:
            raise _Unknown
        if step.press is None:
            return partial(account.look if step.exchange.request.method == "HEAD" else account.view, session_id, url)
        seen = self._shown.get(step.exchange.page_from or -1)
        act = press(account, session_id, seen or account.view(session_id, url), step.press, step.forced_method)
        if act is None:
            raise _Unknown
        return act

    def _request(self, step: Step) -> Callable[[], Exchange]:
        exchange = step.exchange
        self._follow_clock(step)
        if step.registers is not None:
            self._receive(step, step.registers)
        is_broken = exchange.credentials is Credentials.BROKEN
        return partial(
            self.target.send,
            exchange.request.method,
            self._text(step.path, is_in_url=True),
            account=None if exchange.credentials is Credentials.NONE else exchange.account,
            credentials=None if exchange.account is None else exchange.credentials,
            authorization=self._text(step.authorization or ()) if is_broken else None,
            shown=exchange.request.header("Authorization") or "",
            query=self._text(step.query, is_in_url=True),
            headers=[
                # How a body is framed is for the transport to say.
                (name, self._header(name, text))
                for name, text in step.headers
                if name.lower() != "transfer-encoding"
            ],
            body=self._body(step),
            redacted=self._body(step, hides=True),
            is_chunked=exchange.request.is_chunked,
        )

    def _learn(self, step: Step, exchange: Exchange) -> None:
        """Note what the target gave this time: ids, the address of a page, an endpoint."""
        recorded = step.exchange
        self._shown[recorded.number] = exchange
        for later in self.steps.history.exchanges:
            if later.page_of == recorded.page_of is not None and later.number > recorded.number:
                if not (later.page_act or "").endswith(", led on"):
                    break
                self._shown[later.number] = exchange
        old, new = recorded.object.get("id"), exchange.object.get("id")
        opened = recorded.operation is Operation.CREATE and recorded.succeeded and exchange.succeeded
        if opened and isinstance(old, str) and isinstance(new, str):
            self._ids.setdefault(old, new)
            if isinstance(url := exchange.object.get("url"), str):
                self._pages.setdefault(old, url)
            if is_integer(was := recorded.object.get("created")) and is_integer(now := exchange.object.get("created")):
                self._moments.setdefault(Moment(was, recorded.account or 0), now)
        if recorded.operation is Operation.ENDPOINTS and self._receiver is not None and exchange.succeeded:
            if step.registers is not None:
                name = self._names[step.registers]
                self._receiver.registered(name, str(new))
                self._endpoints[str(old)] = (Account(self.target, recorded.account or 0), name, str(new))
            else:
                gone = self._endpoints.pop(recorded.request.path.rpartition("/")[2], None)
                if gone is not None:
                    self._receiver.removed(gone[1])

    # Webhooks.

    def _receive(self, step: Step, url: str) -> None:
        """Let a receiver of our own stand behind the endpoint that a step registers."""
        if self._receiver is None:
            self._receiver = self._listen(step)
        path, mark, query = url.partition("?")
        stem = self._stems.setdefault(path, f"{self._nonce}-{len(self._stems)}")
        name = self._names.setdefault(url, f"{stem}{mark}{query}")
        answers = self.steps.answers.get(url, ())
        secret = self._value_of(Secret(url)) if "secret" in step.exchange.request.json else None

        def answer(number: int) -> int:
            status = answers[min(number, len(answers) - 1)] if answers else 200
            if status == TOO_LATE:
                self._hangs_since_ns = time.monotonic_ns()
            return status

        has_door = any(endpoint.url == url and endpoint.refused_ns for endpoint in self.steps.history.endpoints)
        self._urls[url] = self._receiver.add(name, step.account or 0, secret, answer, has_door=has_door)

    def _set_doors(self, group: Sequence[Step]) -> None:
        """Listen at endpoints, or do not any more, as was done before a group in the recorded run."""
        for url, listens in self.steps.doors.get(group[0].exchange.number, ()):
            if self._receiver is not None and url in self._names:
                (self._receiver.open if listens else self._receiver.shut)(self._names[url])

    def _listen(self, step: Step) -> Receiver:
        site, account = self.site, step.account or 0
        if site.receiver_host is None:
            raise _Unknown
        receiver = Receiver(
            self.recorder,
            host=site.receiver_host,
            port=site.receiver_port,
            public_url=site.receiver_url,
            pace=self.target.pace,
        )
        receiver.clock_of = account
        start = self.steps.starts.get(account)
        if self.steps.can_move_clock and start is not None:
            receiver.clock = start + self._deltas.get(account, 0)
        return self._stack.enter_context(receiver)

    def _await_deliveries(self, group: Sequence[Step], end: int | None) -> None:
        """Wait for as many deliveries as had come in the recorded run before the next step, and for what may be due."""
        if self._receiver is None:
            return
        ends = any(step.press or step.exchange.operation in _ENDING for step in group)
        for url, name in self._names.items():
            came = [d for d in self.steps.history.deliveries if d.endpoint.url == url]
            wanted = sum(end is None or delivery.number < end for delivery in came)
            # A delivery that was late then may come at once now: before the clock moves, it gets the time to.
            wanted = max(wanted, self._receiver.count(name) + 1 if ends else 0)
            if not self._receiver.wait(name, wanted, self._patience_s):
                self._patience_s = _LITTLE_PATIENCE_S

    def _wait_as_long(self, move: Exchange, following: Exchange) -> None:
        """Wait after a move of the clock as long as was waited for retries: what comes late must not seem prompt."""
        gap_s = (following.sent_ns - move.received_ns) / 1e9
        if gap_s > _PAUSE_S:
            self.target.pace.sleep(min(gap_s, _LONGEST_PAUSE_S))

    # Symbols.

    def _text(self, text: Text, *, is_in_url: bool = False) -> str:
        return spelled(text, lambda symbol: self._value_of(symbol, is_in_url=is_in_url))

    def _header(self, name: str, text: Text) -> str:
        value = self._text(text)
        is_key = name.lower() == "idempotency-key"
        if not is_key or self.site.keys_are_free or self.steps.nonce is not None or not value:
            return value
        return f"{self._nonce}-{value}"[:_LONGEST_KEY] if len(value) <= _LONGEST_KEY else value

    def _value_of(self, symbol: Symbol, *, is_in_url: bool = False) -> str:
        new: str | None = None
        form = ""
        match symbol:
            case Moment():
                new = str(self._moment(symbol))
            case Nonce(form):
                new = self._nonce
            case ApiKey(account, form):
                new = self.target.keys[account].secret
            case Secret(url):
                given = {endpoint.url: endpoint.secret for endpoint in self.steps.history.endpoints}
                new = given.get(url) or f"whsec_{self._nonce}"
            case SessionId(old, form):
                new = self._ids.get(old)
            case EndpointId(old):
                new = self._endpoints[old][2] if old in self._endpoints else None
            case ReceiverUrl(url):
                new = self._urls.get(url)
        if new is None:
            raise _Unknown
        text = FORMS[form](new)
        return in_url(text) if is_in_url else text

    def _moment(self, moment: Moment) -> int | float:
        now = moment.value + self._deltas.get(moment.account, 0)
        # A time stays what it became: a body that is sent twice is the same, a list's bound is the session's time.
        return now if self.steps.can_move_clock else self._moments.setdefault(moment, now)

    def _body(self, step: Step, *, hides: bool = False) -> bytes | None:
        """A body as it is sent, or, if it `hides` them, as a record shows it: without secrets."""

        def value_of(symbol: Symbol) -> str:
            # Most bodies are JSON, and a secret may hold what JSON escapes.
            return "***" if hides and isinstance(symbol, Secret) else json.dumps(self._value_of(symbol))[1:-1]

        return None if step.body is None else spelled(step.body, value_of).encode("utf-8", "surrogateescape")


def press(
    account: Account, session_id: str, page: Exchange, act: str, method: str = ""
) -> Callable[[], Exchange] | None:
    """What presses an element of a page, by its `data-testid`; None if there is none, or it leads to another host.

    An act that is `CONFIRMED` is pressed on a page that asks whether it was meant. With a `method`, its form goes out
    by that instead of its own.
    """
    shown = page_of(page)
    is_asked = act.endswith(Page.CONFIRMED)
    element = shown.tests.get(act) if shown is not None and not is_asked else None
    if shown is not None and is_asked:
        element = shown.confirmation(act.removesuffix(Page.CONFIRMED))
    if shown is None or element is None:
        return None
    if "form" in element:
        form = shown.forms[int(element["form"])]
        url = joined(form["action"], element.get("formaction", ""))
        if url is None or not is_same_host(url, shown.url):
            return None  # nothing is ever posted to another host
        return partial(account.press, session_id, form, act, element, seen=page.number, method=method)
    url = joined(shown.url, element["href"]) if "href" in element else None
    if url is None or not is_same_host(url, shown.url):
        return None
    return partial(account.view, session_id, url, act, seen=page.number)
