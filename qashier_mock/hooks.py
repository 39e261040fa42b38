"""What the pipeline asks the mock: who is calling, what goes wrong on purpose, how an error looks, what to remember."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from qashier_mock.accounts import AccountService
from qashier_mock.core.advice import Advice, name_fields
from qashier_mock.core.credentials import DEFAULT_KEY, account_of, hint_of, key_of
from qashier_mock.core.errors import (
    ApiError,
    ConflictError,
    CredentialsInvalid,
    ErrorKind,
    IdempotencyKeyInUse,
    RateLimited,
    RequestInvalid,
    ServiceUnavailable,
)
from qashier_mock.core.faults import FaultAction, FaultRule
from qashier_mock.core.journal import PAGE, JournalEntry, cut
from qashier_mock.core.model import AccountId
from qashier_mock.core.policy import Policy
from qashier_mock.core.sources import SeededIds
from qashier_mock.livelog import LiveLog, SeenRequest
from qashier_mock.machine import steady
from qashier_mock.pipeline.exchange import Call, Fault
from qashier_mock.pipeline.refusal import Reason, Refused
from qashier_mock.pipeline.reply import DROPPED, Reply, Transmit
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import Store, StoreUnavailable
from qashier_mock.web import wire
from qashier_mock.web.origin import check_origin, host_of

if TYPE_CHECKING:
    from starlette.requests import Request

PRODUCTION_PREFIX: Final = "/v3/payment/qpay"
"""The API hangs under this path, too, as in production."""

_KEY_CACHE: Final = 10_000
_KNOWN_HINTS: Final = {account_of(DEFAULT_KEY): DEFAULT_KEY}


class AppHooks:
    """What the pipeline asks: who is calling, what goes wrong on purpose, how an error looks, what to remember."""

    def __init__(
        self,
        policy: Policy,
        *,
        public_url: str | None,
        cors: Sequence[str],
        ids: SeededIds,
        service: CheckoutService,
        accounts: AccountService,
        store: Store,
        note_outage: Callable[[StoreUnavailable], None],
    ) -> None:
        self._policy = policy
        self.public_host = None if public_url is None else host_of(urlsplit(public_url).netloc)
        self.is_local = False  # whether the server is bound to loopback
        self._service = service
        self._accounts = accounts
        self._store = store
        self._known: dict[bytes, AccountId] = {}
        # `*` lets any page read the API, and none move clocks or reset accounts.
        self._cors = frozenset(cors) - {"*"}
        self.hints: dict[AccountId, str] = dict(_KNOWN_HINTS)
        self.live: LiveLog | None = None
        # (account, key): the id of the request that holds it, and until when.
        self._keys_under_way: dict[tuple[AccountId, bytes], tuple[str, float]] = {}
        self.new_request_id = ids.request_id
        self._note_outage = note_outage

    def authenticate(self, authorization: Sequence[bytes]) -> AccountId:
        """The account of the key in `Authorization` (AUTH-1 to AUTH-4)."""
        known = self._known.get(authorization[0]) if len(authorization) == 1 else None
        if known is not None:
            return known
        key = key_of(authorization)
        account = account_of(key)
        if len(self._known) >= _KEY_CACHE:
            self._known.clear()
            self.hints.clear()
            self.hints.update(_KNOWN_HINTS)
        self.hints[account] = hint_of(key)
        self._known[authorization[0]] = account
        return account

    def intercept(self, call: Call) -> Awaitable[Fault | None] | None:
        """What the account's fault rules do to this call; the control API has none, and answers no stranger's page."""
        if call.template.startswith(_CONTROL):
            check_origin(call.headers, is_local=self.is_local, public_host=self.public_host, allowed=self._cors)
            return None
        if self._store.is_faultless(call.principal):
            return None
        return self._planned(call)

    async def _planned(self, call: Call) -> Fault | None:
        key = call.headers.get(b"idempotency-key")
        if key is None or self._policy.idempotency_in_flight != "conflict":
            rule = await self._accounts.fault_of_call(call.principal, call.operation_id)
            return None if rule is None else self._fault(rule)
        # The key is noted before the store is asked: another request with it would slip through meanwhile.
        now, held = steady(), (call.principal, key.strip())
        self._keys_under_way = {each: until for each, until in self._keys_under_way.items() if until[1] > now}
        is_first = self._keys_under_way.setdefault(held, (call.request_id, math.inf))[0] == call.request_id
        until = now
        try:
            rule = await self._accounts.fault_of_call(call.principal, call.operation_id)
            if rule is not None and rule.action is FaultAction.DELAY:
                until = steady() + rule.seconds
        finally:
            if is_first:
                self._keys_under_way[held] = (call.request_id, until)
        return None if rule is None else self._fault(rule)

    def _fault(self, rule: FaultRule) -> Fault:
        if rule.action is FaultAction.DELAY:
            return Fault(delay_s=rule.seconds)
        return _FAULTS.get(rule.action) or Fault(reply=self._scripted(rule), perform=False)

    def _scripted(self, rule: FaultRule) -> Reply:
        status = rule.status or 503
        why = "by a fault rule of this account."
        error: ApiError
        if status == _TOO_MANY:
            error = RateLimited(f"Too many requests, {why} Wait and try again.")
        elif status >= _SERVER_ERRORS:
            error = ServiceUnavailable(f"Unavailable, {why} Try again.")
        elif status == self._policy.status(ErrorKind.UNAUTHENTICATED):
            error = CredentialsInvalid(f"The API key is refused, {why}")
        elif status == self._policy.status(ErrorKind.CONFLICT):
            error = ConflictError(f"In conflict with another request, {why} Try again.")
            error.code = IdempotencyKeyInUse.code
        else:
            error = RequestInvalid(f"Refused, {why}", code=_SCRIPTED_CODES.get(status, "parameter_invalid"))
        retry_after = rule.retry_after if rule.retry_after is not None else (1 if status == _TOO_MANY else None)
        headers = () if retry_after is None else ((b"retry-after", b"%d" % retry_after),)
        refusal = self.render_error(error, None)
        return Reply(status, refusal.payload, (*headers, *refusal.headers))

    def admit(self, call: Call) -> None:
        """Refuse unknown fields of a body, and a key whose request is held up by a fault, where the policy says so."""
        if self._keys_under_way:
            self._refuse_in_flight(call)
        if call.unknown_fields and self._policy.unknown_fields == "reject":
            raise RequestInvalid(
                name_fields((each.path, each.nearest) for each in call.unknown_fields),
                code="parameter_unknown",
                param=call.unknown_fields[0].path,
            )

    def _refuse_in_flight(self, call: Call) -> None:
        """Refuse a key whose request a fault rule holds up; a store refuses those that it has under way itself."""
        now = steady()
        self._keys_under_way = {each: held for each, held in self._keys_under_way.items() if held[1] > now}
        key = call.headers.get(b"idempotency-key", b"").strip()
        request_id, _ = self._keys_under_way.get((call.principal, key), (call.request_id, now))
        if request_id != call.request_id:
            raise IdempotencyKeyInUse

    def render_error(self, error: Exception, call: Call | None) -> Reply:
        """Render an error as the envelope; every refusal leaves through here (HTTP-3)."""
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if isinstance(error, StoreUnavailable):
            self._note_outage(error)
            error = ServiceUnavailable("The store behind this mock cannot be reached; try again shortly.")
        if isinstance(error, Refused):
            if error.reason is Reason.INTERNAL_ERROR:
                return Reply(500, wire.internal_error_to_json(error.message))
            headers = error.headers
            code, kind = _REFUSALS[error.reason]
            hint = _WHERE_THINGS_ARE if error.reason is Reason.PATH_UNKNOWN else ""
            error = RequestInvalid(error.message + hint, code=code, kind=kind, param=error.param)
        if not isinstance(error, ApiError):
            raise error
        if call is not None:
            call.context = error.advice
        if error.kind is ErrorKind.UNAUTHENTICATED:
            headers = (*headers, _CHALLENGE)
        return Reply(self._policy.status(error.kind), wire.error_to_json(error), headers)

    def observe(self, call: Call, reply: Reply, body: bytes) -> Sequence[tuple[bytes, bytes]]:
        """Write the journal, and put new advice into a header.

        The journal leaves out calls of the control API and calls without an account; the live log shows them. It has
        requests for unknown paths: its reader may look for a mistyped one.
        """
        advice: Sequence[Advice] = call.context or ()
        is_sent = reply.transmit is not DROPPED
        path = _target(call.path, call.query)
        status = reply.status if is_sent else None
        duration_ms = (steady() - call.started) * 1000
        if self.live is not None:
            hint = self.hints.get(call.principal, "")
            self.live.tell(SeenRequest(call.method, path, status, duration_ms, _what_is_wrong(reply), advice, hint))
        if call.template.startswith(_CONTROL):
            return ()
        account = call.principal if call.operation_id else self._account_of_unrouted(call)
        if account is None:
            return ()
        key = call.headers.get(b"idempotency-key")
        self._store.record(
            account,
            JournalEntry(
                call.request_id,
                call.operation_id or None,
                call.method,
                path,
                status,
                self._service.time_of(account),
                duration_ms,
                None if key is None else key.decode("latin-1"),
                cut(call.raw_body),
                cut(body) if is_sent else None,
                tuple(dict.fromkeys(each.kind.value for each in advice)) if advice else (),
            ),
        )
        return ((ADVICE, wire.advice_to_header(advice)),) if advice else ()

    def observe_page(self, account: AccountId, request: Request, status: int, began: float) -> None:
        """Write a request for a session's hosted page into the journal, for the inspector."""
        raw_path = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
        path = _target(raw_path, request.scope["query_string"])
        duration_ms = (steady() - began) * 1000
        if self.live is not None:
            hint = self.hints.get(account, "")
            self.live.tell(SeenRequest(request.method, path, status, duration_ms, account=hint))
        at = self._service.time_of(account)
        entry = JournalEntry("", PAGE, request.method, path, status, at, duration_ms, None, None, None)
        self._store.record(account, entry)

    def _account_of_unrouted(self, call: Call) -> AccountId | None:
        """Whose request it is, if it has a key."""
        authorization = call.headers.get(b"authorization")
        with suppress(ApiError):
            return self.authenticate(() if authorization is None else (authorization,))
        return None


_CONTROL: Final = "/_mock/"
ADVICE: Final = b"qashier-mock-advice"
_TOO_MANY: Final = 429
_CLIENT_ERRORS: Final = 400
_SERVER_ERRORS: Final = 500
_FAULTS: Final = {
    FaultAction.DROP: Fault(transmit=Transmit.DROPPED, perform=False),
    FaultAction.TRUNCATE: Fault(transmit=Transmit.TRUNCATED),
    FaultAction.LOSE_ANSWER: Fault(transmit=Transmit.DROPPED),
}
_SCRIPTED_CODES: Final = {404: "not_found", 413: "body_too_large", 415: "media_type_unsupported"}
_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="qashier", charset="utf-8", Bearer realm="qashier"')
_WHERE_THINGS_ARE: Final = (
    f" The API is at {wire.LIST_URL}, also below {PRODUCTION_PREFIX}; the control API is at /_mock/v1, "
    "and the inspector, for browsers, at /_mock/."
)
_REFUSALS: Final[Mapping[Reason, tuple[str, ErrorKind]]] = {
    Reason.PATH_UNKNOWN: ("not_found", ErrorKind.NOT_FOUND),
    Reason.METHOD_NOT_ALLOWED: ("method_not_allowed", ErrorKind.METHOD),
    Reason.BODY_TOO_LARGE: ("body_too_large", ErrorKind.TOO_LARGE),
    Reason.MEDIA_TYPE_UNSUPPORTED: ("media_type_unsupported", ErrorKind.MEDIA_TYPE),
    Reason.BODY_INVALID: ("body_invalid", ErrorKind.INVALID),
    Reason.PARAMETER_MISSING: ("parameter_missing", ErrorKind.INVALID),
    Reason.PARAMETER_INVALID: ("parameter_invalid", ErrorKind.INVALID),
    Reason.PARAMETER_UNKNOWN: ("parameter_unknown", ErrorKind.INVALID),
    Reason.PROTOCOL_ERROR: ("body_invalid", ErrorKind.INVALID),
}


def _what_is_wrong(reply: Reply) -> str:
    """What a refusal tells a person; empty where nothing is wrong."""
    return "" if reply.status < _CLIENT_ERRORS else wire.message_of_error(reply.payload)


def _target(path: bytes, query: bytes) -> bytes:
    return b"%b?%b" % (path, query) if query else path
