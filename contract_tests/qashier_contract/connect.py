"""Finding out what a target is, before anything is judged: whether it is the API, and what it allows a checker to do.

What answers but is not the API is told apart from an API that breaks its contract: a redirect, a firewall, a wrong
address and a wrong key end the run with one line, and nothing is judged.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Final
from urllib.parse import urljoin, urlsplit

from qashier_contract.document import currencies as active_currencies
from qashier_contract.errors import KeyRefused, NotTheApi, TargetUnreachable
from qashier_contract.history import SESSIONS_PATH, Capability, Credentials, Exchange, Operation, Recorder, Terms
from qashier_contract.target import Account, Key, Target
from qashier_contract.values import is_integer

CURRENCIES: Final = (
    *("SGD", "MYR", "PHP", "USD", "IDR", "THB", "VND", "HKD"),
    *("EUR", "JPY", "GBP", "AUD", "TWD", "KRW", "CNY"),
)
"""What is tried, in this order, where a tester did not say what the account may charge."""
_LEAP_S: Final = 60
"""How far a clock is moved to see which accounts go by it."""
_CLOCKS_AGREE_S: Final = 2.0
"""Up to so many seconds, a target's `Date` and the clock of this machine say the same."""


@dataclass(slots=True)
class Connection:
    """A target, as far as it is known.

    `control` is `auto`, `none`, or where the control API is; `can_reach_us` says whether webhooks of the target can
    reach our receiver; `made_up_key` makes up a key that ends with a letter. `notes` are for a reader of the report.
    """

    target: Target
    recorder: Recorder
    account: Account
    other: Account | None
    control: str
    can_reach_us: bool
    made_up_key: Callable[[str], str]
    notes: list[str] = field(default_factory=list)
    currency: str = CURRENCIES[0]
    second_currency: str = CURRENCIES[1]
    other_is_made_up: bool = False
    _capabilities: set[Capability] = field(default_factory=set)

    @property
    def terms(self) -> Terms:
        return self.recorder.terms

    def find_out(self) -> None:
        """Find out whether the target is the API, takes the keys, and what it allows. Opens no session.

        Raises:
            TargetUnreachable: It does not answer.
            KeyRefused: It takes a key in no way.
            NotTheApi: Something else answers.
        """
        self.target.scenario = "connect"
        self._greet(0)
        self._set_wall_clock()
        self._find_control()
        self._find_other()
        self._find_webhooks()
        # A page is looked for once there is a session; until then it is taken for granted.
        self._capabilities.add(Capability.PAGE)
        self.recorder.terms = replace(self.terms, capabilities=frozenset(self._capabilities))

    def settle(self, currencies: Sequence[str], open_in: Callable[[str], Exchange]) -> None:
        """Stop the clocks, and open a first session, in the first currency that the account may charge.

        Raises:
            NotTheApi: Creates are answered by something else.
        """
        self._find_one_clock()
        self._stop_clocks()
        self.target.scenario = "first session"
        # Where nobody said what may be charged, it may be any.
        others = sorted(active_currencies() - {*CURRENCIES}) if currencies is CURRENCIES else []
        for code in chain(currencies, others):
            exchange = open_in(code)
            if not _is_of_the_api(exchange) and not self._is_known:
                raise NotTheApi(
                    f"no Checkout Sessions API at {self.target.base_url}: POST {SESSIONS_PATH} "
                    f"{_answered(exchange)}; give the base URL, below which {SESSIONS_PATH} is"
                )
            if exchange.succeeded:
                self.currency = code
                self._find_pay(exchange)
                break
            if not exchange.refused:
                others.clear()
        else:
            self.currency = currencies[0]
            tried = ", ".join(currencies) + (" or any other currency" if others else "")
            self.notes.append(f"No session could be opened in {tried}.")
        self.second_currency = next(code for code in (*currencies, *CURRENCIES) if code != self.currency)

    def explain_webhooks(self) -> str | None:
        """Why no webhook could come, if the target gave a reason; a hint is noted where none came without one."""
        asked = [
            exchange
            for exchange in self.recorder.exchanges
            if exchange.operation is Operation.ENDPOINTS and exchange.request.method == "POST"
        ]
        if asked and not any(exchange.succeeded for exchange in asked):
            return f"the target refused our webhook endpoint: {_in_words(asked[0])}"
        if asked and not self.recorder.deliveries:
            where = urlsplit(str(asked[0].request.json["url"])).netloc
            self.notes.append(
                f"No webhook reached our receiver at {where}. A target in a container or on another machine needs "
                "--webhook-listen and --webhook-public-url."
            )
        return None

    # ── what answers ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _is_known(self) -> bool:
        """Whether anything has answered as only the API does."""
        return any(exchange.operation.is_api and _is_of_the_api(exchange) for exchange in self.recorder.exchanges)

    def _greet(self, number: int) -> None:
        base_url = self.target.base_url
        answer = Account(self.target, number).list(limit=1)
        if answer.reply is None:
            raise TargetUnreachable(f"{base_url} does not answer: {answer.failure}")
        if 300 <= answer.reply.status < 400:
            raise NotTheApi(f"{base_url} redirects to {_redirect(answer)}: give the address of the API itself")
        if answer.was_limited:
            raise NotTheApi(f"{base_url} answers 429 to every request: nothing was tested; try again later")
        if answer.status not in {401, 403}:
            return
        bearer = self.target.send(
            "GET", answer.request.path, account=number, query="limit=1", credentials=Credentials.BEARER
        )
        if bearer.status in {401, 403}:
            # Blame the key only for an answer of the API: a firewall says 403 too, and so do other services.
            if not _is_of_the_api(bearer) and not _is_of_the_api(answer):
                raise NotTheApi(
                    f"something in front of {base_url} refuses us: GET {SESSIONS_PATH} {_answered(answer)}; "
                    "the key may be right"
                )
            which = "the key" if number == 0 else "the second key"
            raise KeyRefused(f"{base_url} takes {which} neither by Basic nor as a bearer token")
        self.target.keys[number] = replace(self.target.keys[number], scheme=Credentials.BEARER)
        self.notes.append("The target refuses Basic: the key is sent as a bearer token.")

    def _set_wall_clock(self) -> None:
        """Go by the target's own clock where its `Date` says that it differs from this machine's."""
        if self.terms.wall_ns is None:
            return
        shift_ns = self.terms.wall_ns - self.terms.monotonic_ns
        apart = []
        for exchange in self.recorder.exchanges:
            try:
                shown = parsedate_to_datetime((exchange.reply and exchange.reply.header("date")) or "")
            except (TypeError, ValueError):
                continue
            here_s = (shift_ns + (exchange.sent_ns + exchange.received_ns) / 2) / 1e9
            apart.append(shown.timestamp() + 0.5 - here_s)  # `Date` drops parts of a second
        if apart and abs(offset_s := statistics.median(apart)) > _CLOCKS_AGREE_S:
            self.recorder.terms = replace(self.terms, wall_ns=self.terms.wall_ns + int(offset_s * 1e9))
            way = "ahead of" if offset_s > 0 else "behind"
            self.notes.append(f"The target's clock is {abs(offset_s):.0f} s {way} this machine's, as its Date says.")

    # ── what it allows ──────────────────────────────────────────────────────────────────────────────────────────────

    def _find_control(self) -> None:
        if self.control == "none":
            return
        parts = urlsplit(self.target.base_url)
        self.target.control_url = (
            f"{parts.scheme}://{parts.netloc}" if self.control == "auto" else self.control.rstrip("/")
        )
        clock = self.account.clock()
        if not clock.succeeded or not is_integer(clock.object.get("now")):
            self.target.control_url = None
            if self.control != "auto":
                raise TargetUnreachable(f"{self.control} has no control API: GET /_mock/v1/clock {_answered(clock)}")
            return
        self._capabilities |= {Capability.CLOCK, Capability.PAY}
        events = self.account.events()
        if events.succeeded and isinstance(events.object.get("data"), list):
            self._capabilities.add(Capability.EVENTS)

    def _find_pay(self, opened: Exchange) -> None:
        """Pay the first session: a control API may have a clock and no way to pay."""
        session_id = opened.object.get("id")
        if Capability.PAY not in self._capabilities or not isinstance(session_id, str):
            return
        paid = self.account.pay(session_id)
        if paid.status in {404, 405, 501}:
            # No clause speaks of the control API: that this call is missing breaks none.
            self.recorder.exchanges.remove(paid)
            self._capabilities.discard(Capability.PAY)
            self.recorder.terms = replace(self.terms, capabilities=frozenset(self._capabilities))

    def _find_other(self) -> None:
        if self.other is not None:
            self._greet(1)
        elif self.target.control_url is not None:
            self.target.keys.append(Key(self.made_up_key("A"), self.target.keys[0].scheme))
            other = Account(self.target, 1)
            answer = other.list(limit=1)
            if not answer.succeeded:
                # Nobody said that this key is one: its refusal says nothing about the target.
                self.recorder.exchanges.remove(answer)
                return
            self.other, self.other_is_made_up = other, True
        if self.other is not None:
            self._capabilities.add(Capability.SECOND_ACCOUNT)

    def _find_webhooks(self) -> None:
        if self.target.control_url is None or not self.can_reach_us:
            return
        answer = self.target.send("GET", "/_mock/v1/webhook-endpoints", account=0)
        # It may let endpoints be added, and not list them.
        if answer.succeeded or answer.status == 405:
            self._capabilities |= {Capability.WEBHOOKS, Capability.EVENTS}

    def _find_one_clock(self) -> None:
        """Move one account's clock, and see whether the other's goes along."""
        if self.other is None or Capability.CLOCK not in self.terms.capabilities:
            return
        before, _, after = self.other.clock(), self.account.advance(_LEAP_S), self.other.clock()
        was, became = before.object.get("now"), after.object.get("now")
        if is_integer(was) and is_integer(became):
            passed_s = (after.received_ns - before.sent_ns) / 1e9
            self.recorder.terms = replace(self.terms, one_clock=became - was > passed_s + _LEAP_S / 2)

    def _stop_clocks(self) -> None:
        """Let no second pass by itself, whatever is checked: it would decide on which side of a bound a request is."""
        if Capability.CLOCK not in self.terms.capabilities:
            return
        for account in (self.account, self.other):
            if account is not None:
                account.set_clock(frozen=True)
                account.clock()


def _is_of_the_api(exchange: Exchange) -> bool:
    """Whether an answer can be the API's own: JSON, and no "there is nothing here" to one of its four operations."""
    return isinstance(exchange.json, dict) and exchange.status not in {404, 405, 501}


def _in_words(exchange: Exchange) -> str:
    """What an answer says to a person: its status, and the message of its error where it has one."""
    error = exchange.object.get("error")
    texts = [*(error.values() if isinstance(error, dict) else ()), error, exchange.object.get("detail")]
    named = exchange.object.get("message") if not isinstance(error, dict) else error.get("message")
    message = next((text for text in (named, *texts) if isinstance(text, str)), "")
    return " ".join(f"{exchange.status or exchange.failure} {message}".split())[:200]


def _answered(exchange: Exchange) -> str:
    if exchange.reply is None:
        return f"got no answer ({exchange.failure})"
    kind = exchange.reply.media_type
    return f"answered {exchange.status}" + (f" with {kind}" if kind and "json" not in kind else "")


def _redirect(exchange: Exchange) -> str:
    location = (exchange.reply and exchange.reply.header("location")) or "nowhere"
    try:
        whole = urljoin(f"http://x{exchange.request.path}", location) if "://" not in location else location
    except ValueError:
        whole = location
    return re.sub(r"[^ -~]", "?", whole.removeprefix("http://x"))[:200]
