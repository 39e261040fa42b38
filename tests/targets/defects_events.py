"""Defects of events and webhooks, and of idempotency keys."""

from __future__ import annotations

import base64
import copy
import json
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from tests.targets.defects_states import slow
from tests.targets.reference import Reference
from tests.targets.tampering import (
    Defect,
    Inner,
    Tampering,
    both,
    fresh,
    replaced,
    result,
    setting,
    unlocked,
    without,
    wrapped,
)
from tests.targets.values import DAY_S, RETRIES_S, Account, Job, Kept, Keyed, Refused, Session


def event(change: Any) -> Tampering:
    """An event with other values."""
    return result("event", lambda made: {**made, **change(made)})


def told(change: Any) -> Tampering:
    """What is told instead: `change(tell, account, session, kind, by_api)`."""
    return wrapped(
        "tell",
        lambda inner, account, session, kind, *, by_api=False: change(inner, account, session, kind, by_api),
    )


def silent_when(is_silent: Any) -> Tampering:
    """Nothing is told of a change of this kind."""
    return told(
        lambda tell, account, session, kind, by_api: (
            None if is_silent(kind, by_api) else tell(account, session, kind, by_api=by_api)
        )
    )


def told_when_read() -> Tampering:
    untold: dict[str, Callable[[], None]] = {}

    def tell(inner: Any, account: Account, session: Session, kind: str, by_api: bool) -> None:  # noqa: FBT001
        def tell_now() -> None:
            inner(account, session, kind, by_api=by_api)

        if kind == "expired" and not by_api:
            untold[session["id"]] = tell_now
        else:
            tell_now()

    def retrieve(inner: Inner, account: Account, session_id: str) -> Session:
        untold.pop(session_id, lambda: None)()
        return dict(inner(account, session_id))

    return both(told(tell), wrapped("retrieve", retrieve))


def twice(tell: Any, account: Account, session: Session, kind: str, by_api: bool) -> None:  # noqa: FBT001
    for _ in range(2):
        tell(account, session, kind, by_api=by_api)


def before_the_change(tell: Any, account: Account, session: Session, kind: str, by_api: bool) -> None:  # noqa: FBT001
    paid = {"paid": "unpaid"}.get(session["payment_status"], session["payment_status"])
    tell(account, {**session, "status": "open", "payment_status": paid}, kind, by_api=by_api)


def on_failed_payment(inner: Inner, account: Account, session: Session, outcome: str) -> Session:
    inner(account, session, outcome)
    if outcome != "succeeded":
        inner.server.tell(account, session, "completed")
    return session


def on_create(inner: Inner, account: Account, body: Any) -> Session:
    session: Session = inner(account, body)
    inner.server.tell(account, session, "completed")
    return session


def on_refused(inner: Inner, account: Account, session_id: str) -> Session:
    session = inner.server.find(account, session_id)
    try:
        return dict(inner(account, session_id))
    except Refused:
        inner.server.tell(account, session, "expired")
        raise


def new_id(inner: Inner, account: Account, job: Job) -> None:
    inner(account, job)
    job.event = {**job.event, "id": f"evt_{secrets.token_hex(8)}"}


def hexadecimal(signature: str) -> str:
    return base64.b64decode(signature).hex()


def executes(when: Any) -> Tampering:
    """A kept key does not hold the request up, if `when(keyed, is_same)`."""

    def replayed(inner: Inner, keyed: Keyed, kept: Kept) -> Any:
        again = when(keyed, keyed.asked == kept.asked)
        return inner.server.executed(keyed) if again else inner(keyed, kept)

    return wrapped("replayed", replayed)


def rendered_anew(inner: Inner, keyed: Keyed, kept: Kept) -> Any:
    status, session = inner(keyed, kept)
    return status, inner.server.shown(inner.server.find(keyed.account, session["id"]))


def creates_in_silence(inner: Inner, keyed: Keyed, kept: Kept) -> Any:
    if keyed.is_create:
        inner.server.create(keyed.account, keyed.asked[1])
    return inner(keyed, kept)


def renewed(inner: Inner, keyed: Keyed, kept: Kept) -> Any:
    kept.at = keyed.account.now
    return inner(keyed, kept)


def remembers_refusals(server: Reference) -> None:
    def executed(inner: Inner, keyed: Keyed) -> Any:
        try:
            return inner(keyed)
        except Refused as refusal:
            server.keys_of(keyed.account)[keyed.key] = Kept(keyed.account.now, keyed.asked, refusal)
            raise

    def replayed(inner: Inner, keyed: Keyed, kept: Kept) -> Any:
        if isinstance(kept.answer, Refused):
            raise kept.answer
        return inner(keyed, kept)

    both(wrapped("executed", executed), wrapped("replayed", replayed))(server)


def used_by_expire() -> Tampering:
    """A create is refused whose key an expire had that was refused."""
    used: dict[tuple[str, str], Refused] = {}

    def executed(inner: Inner, keyed: Keyed) -> Any:
        key = (keyed.account.name, keyed.key)
        if keyed.is_create and key in used:
            raise used[key]
        try:
            return inner(keyed)
        except Refused as refusal:
            if not keyed.is_create:
                used[key] = refusal
            raise

    return wrapped("executed", executed)


def posted(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Tampering:
    """An event as one webhook has it."""
    return wrapped("post", lambda inner, endpoint, event: inner(endpoint, change(copy.deepcopy(event))))


def lines_in_dollars(event: dict[str, Any]) -> dict[str, Any]:
    for line in event["data"]["object"]["line_items"]["data"]:
        line["currency"] = "SGD"
    return event


def not_above(size: int) -> Tampering:
    """Larger events are dropped."""
    return wrapped(
        "post",
        lambda inner, endpoint, event: (
            len(json.dumps(event, ensure_ascii=False).encode()) > size or inner(endpoint, event)
        ),
    )


def in_dollars(inner: Inner, account: Account, session: Session, kind: str, **how: Any) -> dict[str, Any]:
    told: dict[str, Any] = inner(account, session, kind, **how)
    for line in told["data"]["object"]["line_items"]["data"]:
        line["currency"] = "SGD"
    return told


def forgets_large(inner: Inner, keyed: Keyed) -> Any:
    answer, keys = inner(keyed), inner.server.keys_of(keyed.account)
    if len(json.dumps(answer)) > 2**16:
        del keys[keyed.key]
    return answer


def after_a_moment(inner: Inner, *args: Any) -> Any:
    """The key of a request is read late, when others may have come."""
    time.sleep(0.004)
    return inner(*args)


def late_in_the_day(inner: Inner, keyed: Keyed) -> Any:
    """An expire is done some time after its key was looked up."""
    if not keyed.is_create:
        time.sleep(0.004)
    return inner(keyed)


EVENT_DEFECTS: Final = {
    "lines of events in one currency": Defect("EVT-3", wrapped("event", in_dollars)),
    "lines of webhooks in one currency": Defect("EVT-3", posted(lines_in_dollars)),
    "events above 64 KiB dropped": Defect("EVT-6", not_above(2**16)),
    "events above 256 KiB dropped": Defect("EVT-6", not_above(2**18)),
    "signs the first 64 KiB": Defect(
        "EVT-7", wrapped("signature", lambda inner, secret, body: inner(secret, body[: 2**16]))
    ),
    "cause of whoever asked last": Defect("EVT-4", both(unlocked, wrapped("change", slow))),
    "retries sooner and sooner": Defect("EVT-6", setting(retries_s=(50, 40, 30, 20, 10, 10))),
    "event id repeats": Defect("EVT-1", event(lambda _: {"id": "evt_1"})),
    "event without api_version": Defect("EVT-1", result("event", without("api_version"))),
    "completed not sent": Defect("EVT-2", silent_when(lambda kind, _: kind == "completed")),
    "expired by clock not sent": Defect("EVT-2", silent_when(lambda kind, by_api: kind == "expired" and not by_api)),
    "expired by clock told when read": Defect("EVT-2", fresh(told_when_read)),
    "types swapped": Defect(
        "EVT-2",
        told(
            lambda tell, account, session, kind, by_api: tell(
                account, session, {"completed": "expired", "expired": "completed"}[kind], by_api=by_api
            )
        ),
    ),
    "event twice": Defect("EVT-5", told(twice)),
    "event on failed payment": Defect("EVT-5", wrapped("pay", on_failed_payment)),
    "event on create": Defect("EVT-5", wrapped("create", on_create)),
    "event on refused expire": Defect("EVT-5", wrapped("expire", on_refused)),
    "stale snapshot": Defect("EVT-3", told(before_the_change)),
    "event without request": Defect("EVT-4", event(lambda _: {"request": {"id": None, "idempotency_key": None}})),
    "event request on payment": Defect(
        "EVT-4",
        wrapped("event", lambda inner, account, session, kind, **_: inner(account, session, kind, by_api=True)),
    ),
    "event key lost": Defect("EVT-4", event(lambda made: {"request": {**made["request"], "idempotency_key": None}})),
    "account random": Defect("EVT-8", event(lambda _: {"account": f"acct_{secrets.token_hex(4)}"})),
    "webhook as form": Defect(
        "EVT-6",
        result("webhook_headers", lambda headers: {**headers, "Content-Type": "application/x-www-form-urlencoded"}),
    ),
    "first endpoint only": Defect("EVT-6", result("recipients", lambda endpoints: endpoints[:1])),
    "no retry": Defect("EVT-6", setting(retries_s=())),
    "three retries": Defect("EVT-6", setting(retries_s=RETRIES_S[:3])),
    "nine retries a minute apart": Defect("EVT-6", setting(retries_s=(60,) * 9)),
    "retry with new id": Defect("EVT-6", wrapped("postpone", new_id)),
    "first retry after 5 minutes": Defect("EVT-6", setting(retries_s=(300, *RETRIES_S[2:]))),
    "302 counts as received": Defect(
        "EVT-6", wrapped("is_received", lambda inner, status: inner(status) or status == 302)
    ),
    "no retry where nobody listened": Defect(
        "EVT-6",
        wrapped(
            "failed",
            lambda inner, error: inner(error) or isinstance(getattr(error, "reason", None), ConnectionRefusedError),
        ),
    ),
    "removed endpoint stays": Defect("EVT-6", replaced("remove_endpoint", lambda *_: None)),
    "signature hex": Defect("EVT-7", result("signature", hexadecimal)),
    "signature of reordered json": Defect(
        "EVT-7",
        wrapped(
            "signature",
            lambda inner, secret, body: inner(secret, json.dumps(json.loads(body), sort_keys=True).encode()),
        ),
    ),
    "secret 0 taken for none": Defect(
        "EVT-7", wrapped("webhook_headers", lambda inner, secret, body: inner(None if secret == "0" else secret, body))
    ),
    "secret stripped": Defect("EVT-7", wrapped("signature", lambda inner, secret, body: inner(secret.strip(), body))),
}

SLOW: Final = {"waits for any answer": Defect("EVT-6", setting(patience_s=60.0))}

KEY_DEFECTS: Final = {
    "replay executes": Defect("IDM-1", executes(lambda keyed, is_same: keyed.is_create and is_same)),
    "replay re-renders": Defect("IDM-1", wrapped("replayed", rendered_anew)),
    "replay as 201": Defect("IDM-1", result("replayed", lambda answer: (201, answer[1]))),
    "replay creates in silence": Defect("IDM-1", wrapped("replayed", creates_in_silence)),
    "key case insensitive": Defect("IDM-2", result("checked_key", str.lower)),
    "key truncated to 64": Defect("IDM-2", result("checked_key", lambda key: key[:64])),
    "key 255 refused": Defect("IDM-3", setting(key_most=254)),
    "key 256 accepted": Defect("IDM-3", setting(key_most=355)),
    "key forgotten after 12 h": Defect("IDM-4", setting(key_memory_s=DAY_S / 2)),
    "key never forgotten": Defect("IDM-4", setting(key_memory_s=float("inf"))),
    "key memory renewed": Defect("IDM-4", wrapped("replayed", renewed)),
    "key forgotten one second late": Defect("IDM-4", setting(key_memory_s=DAY_S + 1)),
    "one key for two expires at once": Defect("IDM-9", both(unlocked, wrapped("executed", late_in_the_day))),
    "key of whoever asked last": Defect("IDM-2", both(unlocked, wrapped("perform", after_a_moment))),
    "expire replay refused": Defect("IDM-5", executes(lambda keyed, is_same: not keyed.is_create and is_same)),
    "racy keys": Defect("IDM-6", both(unlocked, wrapped("create", slow), wrapped("expire", slow))),
    "keys shared by accounts": Defect(
        "IDM-7", wrapped("keys_of", lambda inner, _: inner(next(iter(inner.server.accounts.values()))))
    ),
    "large answers not remembered": Defect("IDM-1", wrapped("executed", forgets_large)),
    "refusals remembered": Defect("IDM-8", remembers_refusals),
    "refused expire uses a key up for creates": Defect("IDM-8", fresh(used_by_expire)),
    "key for another body executes": Defect("IDM-9", executes(lambda keyed, is_same: keyed.is_create and not is_same)),
    "key for another session executes": Defect(
        "IDM-9", executes(lambda keyed, is_same: not keyed.is_create and not is_same)
    ),
}
