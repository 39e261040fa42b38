"""Narrow defects: one endpoint, one second, one spelling, one moment. Implementations of other hands had them."""

from __future__ import annotations

import copy
import html
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final
from unicodedata import normalize
from urllib.parse import unquote, unquote_plus

from tests.targets.defects_states import drawn, slow
from tests.targets.reference import Reference
from tests.targets.tampering import (
    Defect,
    Inner,
    Tampering,
    answer,
    both,
    built,
    fresh,
    request,
    result,
    setting,
    unlocked,
    wrapped,
)
from tests.targets.values import (
    BOUNDS,
    DAY_S,
    Account,
    Answer,
    HangUp,
    Job,
    Kept,
    Keyed,
    Refused,
    Request,
    Session,
    invalid,
    not_open,
    wall_s,
)
from tests.targets.variants import TAMPERINGS

LIST: Final = "/checkout/sessions"
PORT: Final = r"(?i)(?<=:/)(/[^/?#:]*)(?::{})(?=[/?#]|$)"


def wordless(method: str, path: str) -> Tampering:
    """Refusals of one operation name no field and have no words."""

    def change(seen: Request, given: Answer) -> Answer:
        is_there = given.status >= 400 and seen.method == method and re.fullmatch(path, seen.path)
        return replace(given, content={"error": {}}) if is_there else given

    return answer(change)


def unseen(name: str) -> Tampering:
    """A header that is seen in its usual spelling only."""

    def change(_: Reference, seen: Request) -> Request:
        if name not in list(seen.headers):
            del seen.headers[name]
        return seen

    return request(change)


def unset(name: str, value: str) -> Tampering:
    """A header that is not seen where it has this value."""

    def change(_: Reference, seen: Request) -> Request:
        if seen.headers.get(name) == value:
            del seen.headers[name]
        return seen

    return request(change)


def hangs_up(is_too_much: Any) -> Tampering:
    """No answer to a request, if `is_too_much(request)`."""

    def change(_: Reference, seen: Request) -> Request:
        if is_too_much(seen):
            raise HangUp
        return seen

    return request(change)


def url_as(pattern: str, text: Any = "") -> Tampering:
    """URLs come back with something else in the place of what a pattern matches."""
    return result("url", lambda url: url and re.sub(pattern, text, url))


def lower(found: re.Match[str]) -> str:
    return found[0].lower()


def reopened(name: str, method: str | None = None) -> Tampering:
    """One operation takes a session for open that its deadline ended this very second."""

    def outer(inner: Inner, account: Account, *args: Any) -> Any:
        asked = next((each.method for each in args if isinstance(each, Request)), None)
        at_deadline = [one for one in account.sessions if one["expires_at"] == account.now and asked == method]
        ended = [session for session in at_deadline if session["status"] == "expired"]
        for session in ended:
            session["status"] = "open"
        try:
            return inner(account, *args)
        finally:
            for session in ended:
                session["status"] = session["status"].replace("open", "expired")

    return wrapped(name, outer)


def open_at_the_deadline(inner: Inner, account: Account, session_id: str) -> Session:
    session: Session = inner(account, session_id)
    is_due = session["status"] == "expired" and session["expires_at"] == account.now
    return {**session, "status": "open"} if is_due else session


def early(method: str, path: str) -> Tampering:
    """One operation takes the last second of a session for the one after it."""

    def respond(inner: Inner, seen: Request) -> Any:
        server, kept = inner.server, inner.server.deadline
        if seen.method == method and re.fullmatch(path, seen.path):
            server.deadline = lambda session: kept(session) - 1  # type: ignore[method-assign]
        try:
            return inner(seen)
        finally:
            server.deadline = kept  # type: ignore[method-assign]

    return wrapped("respond", respond)


def pays_anyway(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Any:
    if seen.method == "POST" and session["status"] == "expired" and b"act=card" in seen.body:
        session.update(status="complete", payment_status="paid")
    return inner(account, session, step, seen)


def with_form(status: str) -> Tampering:
    """The page of an ended session says the right word, and still has a form to pay."""

    def drawn(inner: Inner, session: Session, step: str) -> str:
        form = f'<form method=post action="/pay/{session["id"]}"><button name=act value=card>Pay</button></form>'
        return f"{inner(session, step)}{form if session['status'] == status else ''}"

    return wrapped("drawn", drawn)


def saved_whole(outcome: str) -> Tampering:
    """A payment that came to nothing saves the session as it was read before."""

    def pay(inner: Inner, account: Account, session: Session, wanted: str) -> Any:
        if wanted != outcome:
            time.sleep(0.004)
            return inner(account, session, wanted)
        before = {name: session[name] for name in ("status", "payment_status")}
        paid = inner(account, session, wanted)
        time.sleep(0.012)
        session.update(before)
        return paid

    return both(unlocked, wrapped("pay", pay), wrapped("expire", slow))


def cut_replay(inner: Inner, keyed: Keyed, kept: Kept) -> Any:
    status, session = inner(keyed, kept)
    lines = session["line_items"]
    return status, {**session, "line_items": {**lines, "data": lines["data"][:99]}}


def impatient(most: int, counts: Any) -> Tampering:
    """Payments that come to nothing end a session, once `most` of those that `counts(outcome)` have."""

    def pay(inner: Inner, account: Account, session: Session, outcome: str) -> Any:
        paid = inner(account, session, outcome)
        if counts(outcome):
            session["_tries"] = session.get("_tries", 0) + 1
            if session["_tries"] >= most and session["status"] == "open":
                inner.server.finish(account, session, "expired")
        return paid

    return wrapped("pay", pay)


def impatient_page(act: str, most: int) -> Tampering:
    """The page ends a session, once one of its buttons was pressed so often."""

    def pressed(inner: Inner, account: Account, session: Session, pressed_act: str) -> Any:
        leads_to = inner(account, session, pressed_act)
        if pressed_act == act:
            session["_presses"] = session.get("_presses", 0) + 1
            if session["_presses"] >= most:
                inner.server.finish(account, session, "expired")
        return leads_to

    return wrapped("pressed", pressed)


def drawn_of(change: Any) -> Tampering:
    """The page shows each line otherwise."""

    def drawn(inner: Inner, session: Session, step: str) -> Any:
        lines = [{**line, **change(line)} for line in session["line_items"]["data"]]
        return inner({**session, "line_items": {"object": "list", "data": lines}}, step)

    return wrapped("drawn", drawn)


def once_each(session: Session) -> dict[str, Any]:
    lines = {line["description"]: line for line in reversed(session["line_items"]["data"])}
    return {"line_items": {"data": [*lines.values()]}}


def cut(most: int) -> Any:
    return lambda line: {"description": line["description"][:most]}


def key_or(key: str | None, prefix: str) -> str | None:
    return f"{prefix}0" if key == prefix else key


def keeps_few(most: int) -> Tampering:
    """Of each account's keys just the last ones are remembered."""

    def executed(inner: Inner, keyed: Keyed) -> Any:
        answer, keys = inner(keyed), inner.server.keys_of(keyed.account)
        for key in list(keys)[:-most]:
            del keys[key]
        return answer

    return wrapped("executed", executed)


def decoded(inner: Inner, secret: str, body: bytes) -> str:
    """A secret of hexadecimal digits is taken for bytes in that form."""
    is_hex = re.fullmatch("([0-9a-f]{2})+", secret) is not None
    return str(inner(bytes.fromhex(secret).decode("latin-1") if is_hex else secret, body))


def never_again(inner: Inner, account: Account, job: Job) -> None:
    """What the clock ended is told once, whatever comes of it."""
    inner(account, job)
    session = job.event["data"]["object"]
    if session["status"] == "expired" and job.event["created"] >= session["expires_at"]:
        account.queue.remove(job)


def marked(inner: Inner, account: Account, session: Session, act: str) -> str:
    session["_declined"] = act == "declined"
    return str(inner(account, session, act))


def refused_once_declined(inner: Inner, account: Account, session_id: str) -> Session:
    session = inner.server.find(account, session_id)
    if session.get("_declined"):
        raise not_open(session)
    return dict(inner(account, session_id))


def answers_whoever_has_the_key(inner: Inner, seen: Request) -> Account:
    key = seen.headers.get("Idempotency-Key") if "Authorization" not in seen.headers else None
    return next((one for one in inner.server.accounts.values() if key in one.keys), None) or inner(seen)


def rounded_up(inner: Inner, account: Account, *asked: Any) -> Session:
    session = inner(account, *asked)
    return {**session, "created": session["created"] + (account.frozen is None)}


def created_by_the_machine(inner: Inner, account: Account, *asked: Any) -> Session:
    session = inner(account, *asked)
    return {**session, "created": session["created"] if account.frozen is not None else wall_s()}


def ended_by_the_machine(inner: Inner, account: Account, sessions: Sequence[Session]) -> None:
    if account.frozen is not None or wall_s() > max((one["expires_at"] for one in sessions), default=0):
        inner(account, sessions)


def moves_the_time_alone(inner: Inner, account: Account, seconds: int) -> None:
    if account.frozen is not None:
        inner(account, seconds)
    else:
        inner.server.set_clock(account, account.now + seconds, frozen=False)


def free_is_closed(inner: Inner, session: Session, step: str) -> str:
    is_mute = session["status"] == "expired" and not session["amount_total"]
    return "<p>This session is closed.</p>" if is_mute else str(inner(session, step))


def signed_with(change: Callable[[str], str]) -> Tampering:
    """Signatures by another secret than was given."""
    return wrapped("signature", lambda inner, secret, body: inner(change(secret), body))


def in_hundredths(inner: Inner, session: Session) -> str:
    total = session["amount_total"]
    return f"{total // 10 / 100:.2f}" if session["currency"] == "KWD" else str(inner(session))


def from_now(inner: Inner, body: Any, now: int) -> int:
    asked = body.get("expires_at")
    return now + asked if type(asked) is int and 0 < asked <= DAY_S else int(inner(body, now))


def shown_again(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
    """What failed is answered with the page itself, without its way back."""
    answer: Answer = inner(account, session, step, seen)
    if not (seen.method == "POST" and session["_failed"] and session["status"] == "open"):
        return answer
    return Answer(200, {}, inner.server.viewed(account, {**session, "_cancel": None}, "", "POST"))


def worn_out(most: int, operation: str) -> Tampering:
    """A key is good for so many answers again of one operation."""
    uses: Counter[str] = Counter()

    def replayed(inner: Inner, keyed: Keyed, kept: Kept) -> Any:
        uses[keyed.key] += keyed.asked[0] == operation
        return inner(keyed, kept) if uses[keyed.key] <= most else inner.server.executed(keyed)

    return wrapped("replayed", replayed)


def used_up() -> Tampering:
    """Refused for its currencies, a create uses its key up."""
    used: set[str | None] = set()

    def check(inner: Inner, lines: Any) -> None:
        try:
            inner(lines)
        except Refused:
            used.add(inner.server.current[1])
            raise

    def checked(inner: Inner, key: str) -> str:
        if key in used:
            raise invalid("This key is in use.", "Idempotency-Key")
        return str(inner(key))

    return both(wrapped("check_currencies", check), wrapped("checked_key", checked))


def expired_though_paid(inner: Inner, account: Account, session_id: str) -> Session:
    session: Session = inner.server.find(account, session_id)
    is_paid = session["status"] == "complete" and inner.server.current[1] is not None
    return session if is_paid else dict(inner(account, session_id))


def not_of_others(inner: Inner, account: Account, *asked: Any) -> Any:
    is_first = account is next(iter(inner.server.accounts.values()))
    return inner(account, *asked) if is_first else Answer(404, {}, "<p>There is no such session.</p>")


def until_tomorrow(inner: Inner, body: dict[str, Any], now: int) -> int:
    return now + DAY_S if len(body["line_items"]) > 20 else int(inner(body, now))


def without_challenge(seen: Request, given: Answer) -> Answer:
    """No challenge for a list that is asked for with a query."""
    is_list = seen.method == "GET" and seen.query
    headers = {name: value for name, value in given.headers.items() if not (is_list and name == "WWW-Authenticate")}
    return replace(given, headers=headers)


def signed_by_the_first(inner: Inner, to: dict[str, Any], event: Any) -> Any:
    accounts = inner.server.accounts.values()
    account = next(account for account in accounts if any(to is one for one in account.endpoints))
    first = account.endpoints[0].get("secret")
    return inner({**to, "secret": first} if first and to.get("secret") else to, event)


def too_long_for_a_column(inner: Inner, holder: dict[str, Any], name: str, *more: Any) -> str | None:
    if name == "name" and len(holder.get(name, "")) > 255:
        raise ValueError("value too long for type character varying(255)")
    text: str | None = inner(holder, name, *more)
    return text


def fails_on_texts(inner: Inner, holder: Any, path: str, *more: Any) -> Any:
    if isinstance(holder, str) and path.startswith("line_items["):
        raise AttributeError("'str' object has no attribute 'get'")
    return inner(holder, path, *more)


def counted_by_letters(inner: Inner, holder: dict[str, Any], name: str, *more: Any) -> str | None:
    given = holder.get(name)
    if name == "description" and isinstance(given, str):
        inner({name: re.sub("[\u0300-\u036f]", "", given)}, name, *more)
        return given
    text: str | None = inner(holder, name, *more)
    return text


def by_get(text: str) -> str:
    """The way to the payment method is a form that only asks."""
    return re.sub(
        r'<form method="post" action="(/pay/[^"]*)">(<input [^>]*value=redirect>)',
        r'<form method="get" action="\1/method">\2',
        text,
    )


def without_cents(inner: Inner, session: Session) -> str:
    is_yen = session["currency"] == "JPY"
    return str(inner({**session, "amount_total": session["amount_total"] // 100} if is_yen else session))


def any_number(inner: Inner, code: Any, path: str) -> str:
    return code if isinstance(code, str) and code.isdigit() else str(inner(code, path))


def briefly(inner: Inner, account: Account, session: Session, kind: str, **how: Any) -> dict[str, Any]:
    told: dict[str, Any] = copy.deepcopy(inner(account, session, kind, **how))
    for line in told["data"]["object"]["line_items"]["data"]:
        line["description"] = line["description"][:100]
    return told


def given_up(inner: Inner, endpoint: dict[str, Any], event: Any) -> bool:
    received: bool = inner(endpoint, event)
    endpoint["failed"] = not received
    return received


def by_path(endpoints: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    return [*{endpoint["url"].partition("?")[0]: endpoint for endpoint in endpoints}.values()]


NARROW_DEFECTS: Final = {
    "crash on a name wider than a column": Defect("HTTP-6", wrapped("text", too_long_for_a_column)),
    "crash on a line that is a text": Defect("HTTP-6", wrapped("object", fails_on_texts)),
    "marks not counted in descriptions": Defect("CRE-19", wrapped("text", counted_by_letters)),
    "no way back beside a form that asks": Defect(
        "PAY-4", both(result("way_back", lambda _: None), result("drawn", by_get))
    ),
    "yen shown in hundredths": Defect("PAY-7", wrapped("price", without_cents)),
    "numbers of currencies accepted": Defect(
        "CRE-12",
        wrapped(
            "currency",
            lambda inner, code, path: code if isinstance(code, str) and code.isdigit() else inner(code, path),
        ),
    ),
    "endpoints alike but for the query are one": Defect("EVT-6", result("recipients", by_path)),
    "no further events where an attempt failed": Defect(
        "EVT-6",
        both(
            wrapped("post", given_up),
            result("recipients", lambda endpoints: [one for one in endpoints if not one.get("failed")]),
        ),
    ),
    "descriptions cut in events": Defect("EVT-3", wrapped("event", briefly)),
    "letters in success_url decoded": Defect(
        "CRE-8",
        wrapped(
            "url",
            lambda inner, body, name: (
                re.sub("%[46][1-9a-f]", lambda found: unquote(found[0]), inner(body, name))
                if name == "success_url"
                else inner(body, name)
            ),
        ),
    ),
    "all endpoints signed for by the first's secret": Defect("EVT-7", wrapped("post", signed_by_the_first)),
    "backslashes taken for escapes": Defect("AMT-5", result("described", lambda text: text.replace("\\n", "\n"))),
    "port without a path refused": Defect(
        "CRE-15",
        wrapped("url_fits", lambda inner, url, name: inner(url, name) and not re.search(r"//[^/]*:\d+$", url)),
    ),
    "entities in urls resolved": Defect("CRE-8", result("url", lambda url: url and html.unescape(url))),
    "entities on the page resolved": Defect(
        "PAY-7", drawn_of(lambda line: {"description": html.unescape(line["description"])})
    ),
    "apostrophe encoded where a payment leads": Defect("PAY-1", result("pressed", lambda url: url.replace("'", "%27"))),
    "list with a query asks for no key": Defect("AUTH-1", answer(without_challenge)),
    "way back with its apostrophe encoded": Defect(
        "PAY-4", result("way_back", lambda url: url and url.replace("'", "%27"))
    ),
    "large totals shown without cents": Defect(
        "PAY-7",
        drawn(lambda session: {"amount_total": round(session["amount_total"], -2 * (session["amount_total"] > 10**7))}),
    ),
    "no line at all with a deadline": Defect(
        "CRE-14",
        wrapped("lines", lambda inner, body: inner(body) if body["line_items"] or "expires_at" not in body else []),
    ),
    "refusal of mixed currencies uses a key up": Defect("IDM-8", fresh(used_up)),
    "expires what is paid with a key": Defect("EXP-3", wrapped("expire", expired_though_paid)),
    "pages of further accounts missing": Defect("CRE-9", wrapped("page_of", not_of_others)),
    "deadline of many lines dropped": Defect("CRE-6", wrapped("expiry", until_tomorrow)),
    "blank description dropped": Defect(
        "AMT-5", wrapped("described", lambda inner, title, text: inner(title, text if (text or "x").strip() else None))
    ),
    "what is free has no way back": Defect(
        "PAY-4", wrapped("way_back", lambda inner, session: inner(session) if session["amount_total"] else None)
    ),
    "way back cut at 200": Defect("PAY-4", result("way_back", lambda url: url and url[:200])),
    "webhooks without the query": Defect(
        "EVT-6", wrapped("post", lambda inner, to, event: inner({**to, "url": to["url"].partition("?")[0]}, event))
    ),
    "signs the first 4096 bytes": Defect(
        "EVT-7", wrapped("signature", lambda inner, secret, body: inner(secret, body[:4096]))
    ),
    "basic takes no hyphen at the end": Defect(
        "AUTH-2", result("user_of", lambda named: ("", "", "") if named[0].endswith("-") else named)
    ),
    "expires an id without its blank": Defect(
        "EXP-4", wrapped("expire", lambda inner, account, session_id: inner(account, session_id.strip()))
    ),
    "way back without its fragment": Defect("PAY-4", result("way_back", lambda back: back and back.partition("#")[0])),
    "page shortens large totals": Defect(
        "PAY-7", result("price", lambda price: re.sub(",[0-9]{3}$", "k", price) if len(price) > 12 else price)
    ),
    "key worn out by ten answers": Defect("IDM-1", fresh(lambda: worn_out(10, "create"))),
    "key worn out by ten expiries": Defect("IDM-5", fresh(lambda: worn_out(10, "expire"))),
    "charset in quotes refused": Defect(
        "HTTP-4", wrapped("is_json", lambda inner, media_type: inner(media_type) and '"' not in media_type)
    ),
    "page after a failure without a way back": Defect("PAY-4", wrapped("page_of", shown_again)),
    "deadline counted from now": Defect("CRE-7", wrapped("expiry", from_now)),
    "colon after a token skipped": Defect(
        "AUTH-4", wrapped("key_of", lambda inner, kind, value: inner(kind, value.removesuffix(":")))
    ),
    "what is no base64 skipped": Defect(
        "AUTH-4", wrapped("user_of", lambda inner, value: inner(re.sub("[^A-Za-z0-9+/=]", "", value)))
    ),
    "twenty keys remembered": Defect("IDM-1", keeps_few(20)),
    "hundred keys remembered": Defect("IDM-1", keeps_few(100)),
    "five digits of a port refused": Defect(
        "CRE-15",
        wrapped("url_fits", lambda inner, url, name: inner(url, name) and not re.search(r"//[^/]*:\d{5}", url)),
    ),
    "host of more than 63 characters refused": Defect(
        "CRE-15", wrapped("url_fits", lambda inner, url, name: inner(url, name) and len(url.split("/")[2]) <= 63)
    ),
    "host without a dot refused": Defect(
        "CRE-15", wrapped("url_fits", lambda inner, url, name: inner(url, name) and ("." in url or "localhost" in url))
    ),
    "body above 2 MB refused": Defect("CRE-1", setting(body_most=2_000_000)),
    "body above 1 MiB refused": Defect("CRE-1", setting(body_most=2**20)),
    "secret taken for hex": Defect("EVT-7", wrapped("signature", decoded)),
    "tells once what the clock ended": Defect("EVT-6", wrapped("postpone", never_again)),
    "prefix taken for a key": Defect(
        "AUTH-4", wrapped("key_of", lambda inner, *value: key_or(inner(*value), "sk_test_"))
    ),
    "key of 201 characters": Defect("AUTH-4", wrapped("key_of", lambda inner, *value: (inner(*value) or "")[:208])),
    "third declined press expires": Defect("PAY-3", impatient_page("declined", 3)),
    "sixth declined press expires": Defect("PAY-3", impatient_page("declined", 6)),
    "third cancel expires": Defect("PAY-3", impatient_page("cancel", 3)),
    "fifth failed payment expires": Defect("PAY-3", impatient(5, lambda outcome: outcome == "failed")),
    "fifth cancelled payment expires": Defect("PAY-3", impatient(5, lambda outcome: outcome == "canceled")),
    "page cuts descriptions at 120": Defect("PAY-7", drawn_of(cut(120))),
    "page of lines of one name": Defect("PAY-7", drawn(once_each)),
    "page of ASCII": Defect(
        "PAY-7", drawn_of(lambda line: {"description": line["description"].encode("ascii", "replace").decode()})
    ),
    "page cuts descriptions at 500": Defect("PAY-7", drawn_of(cut(500))),
    "page shows 99 of more": Defect("PAY-7", drawn_of(lambda line: {"quantity": min(99, line["quantity"])})),
    "page beside a script cuts descriptions": Defect(
        "PAY-7", both(drawn_of(cut(120)), TAMPERINGS["pages beside a script"])
    ),
    "page behind a redirect cuts descriptions": Defect(
        "PAY-7", both(drawn_of(cut(120)), TAMPERINGS["pages behind a redirect"])
    ),
    "once declined not expired": Defect(
        "EXP-1", both(wrapped("pressed", marked), wrapped("expire", refused_once_declined))
    ),
    "answers whoever has the key": Defect("AUTH-1", wrapped("account_of", answers_whoever_has_the_key)),
    "bearer takes no hyphen": Defect(
        "AUTH-3",
        wrapped(
            "key_of", lambda inner, kind, value: inner(kind, value) if kind == "Basic" or "-" not in value else None
        ),
    ),
    "basic takes what is not encoded": Defect(
        "AUTH-4", wrapped("user_of", lambda inner, value: value.partition(":") if ":" in value else inner(value))
    ),
    "key cut at a null": Defect(
        "AUTH-4", wrapped("key_of", lambda inner, *value: (inner(*value) or "").partition("\0")[0])
    ),
    "blanks around a key dropped": Defect(
        "AUTH-4", wrapped("key_of", lambda inner, *value: (inner(*value) or "").strip())
    ),
    "hyphens are underscores": Defect("AUTH-5", wrapped("account", lambda inner, key: inner(key.replace("-", "_")))),
    "page of 10 lines": Defect(
        "PAY-7", drawn(lambda session: {"line_items": {"data": session["line_items"]["data"][:10]}})
    ),
    "page of 99 lines": Defect(
        "PAY-7", drawn(lambda session: {"line_items": {"data": session["line_items"]["data"][:99]}})
    ),
    "created rounded up while the clock runs": Defect("CRE-4", wrapped("built", rounded_up)),
    "created by the machine while the clock runs": Defect("CRE-4", wrapped("built", created_by_the_machine)),
    "ends by the machine while the clock runs": Defect(
        "EXP-7", both(wrapped("expire_due", ended_by_the_machine), wrapped("advance", moves_the_time_alone))
    ),
    "page of an expired free session is silent": Defect("EXP-6", wrapped("drawn", free_is_closed)),
    "secret of blanks is none": Defect(
        "EVT-7",
        wrapped(
            "webhook_headers", lambda inner, secret, body: inner(secret if secret and secret.strip() else None, body)
        ),
    ),
    "secret read as a form": Defect("EVT-7", signed_with(unquote_plus)),
    "secret normalised": Defect("EVT-7", signed_with(lambda secret: normalize("NFC", secret))),
    "secret cut at a colon": Defect("EVT-7", signed_with(lambda secret: secret.partition(":")[0])),
    "thousandths shown as hundredths": Defect("PAY-7", wrapped("price", in_hundredths)),
    "refused list says nothing": Defect("HTTP-3", wordless("GET", LIST)),
    "refused retrieve says nothing": Defect("HTTP-3", wordless("GET", f"{LIST}/[^/]+")),
    "refused expire says nothing": Defect("HTTP-3", wordless("POST", f"{LIST}/[^/]+/expire")),
    "authorization in lower case unseen": Defect("AUTH-2", unseen("Authorization")),
    "idempotency key in lower case unseen": Defect("IDM-1", unseen("Idempotency-Key")),
    "key 0 taken for none": Defect("IDM-1", unset("Idempotency-Key", "0")),
    "media type in lower case unseen": Defect("HTTP-4", unseen("Content-Type")),
    "hangs up on url of 2048": Defect("HTTP-6", hangs_up(lambda seen: re.search(rb'"https?://[^"]{2036}', seen.body))),
    "hangs up on name of 250": Defect("HTTP-6", hangs_up(lambda seen: b'"' + b"n" * 250 + b'"' in seen.body)),
    "hangs up on description of 1000": Defect("HTTP-6", hangs_up(lambda seen: b"d" * 1_000 in seen.body)),
    "hangs up on key of 255": Defect(
        "HTTP-6", hangs_up(lambda seen: len(seen.headers.get("Idempotency-Key") or "") >= 255)
    ),
    "created rounded up": Defect("CRE-4", built(lambda session: {"created": session["created"] + 1})),
    "gt with parts of a second": Defect(
        "LIS-9", setting(bounds={**BOUNDS, "gt": lambda created, bound: created + 0.4 > bound})
    ),
    "lte with parts of a second": Defect(
        "LIS-9", setting(bounds={**BOUNDS, "lte": lambda created, bound: created + 0.4 <= bound})
    ),
    "port 443 dropped": Defect("CRE-8", url_as(PORT.format(443), r"\1")),
    "port 80 dropped": Defect("CRE-8", url_as(PORT.format(80), r"\1")),
    "empty query dropped": Defect("CRE-8", url_as(r"\?(?=#|$)")),
    "empty fragment dropped": Defect("CRE-8", url_as("#$")),
    "dots resolved": Defect("CRE-8", url_as(r"/[^/?#:.]+/\.\.(?=/)")),
    "single dots dropped": Defect("CRE-8", url_as(r"/\.(?=/)")),
    "host in lower case": Defect("CRE-8", url_as("(?<=://)[^/?#]*", lower)),
    "scheme in lower case": Defect("CRE-8", url_as("^[A-Za-z]+", lower)),
    "paid at the deadline": Defect("EXP-5", reopened("pay")),
    "expired by request at the deadline": Defect("EXP-2", reopened("expire")),
    "listed as open at the deadline": Defect("EXP-7", reopened("list")),
    "retrieved as open at the deadline": Defect("EXP-7", wrapped("retrieve", open_at_the_deadline)),
    "page at the deadline looks open": Defect("EXP-6", reopened("page_of", "GET")),
    "button at the deadline pays": Defect("EXP-5", reopened("page_of", "POST")),
    "payment refused a second early": Defect("EXP-7", early("POST", ".*/pay")),
    "expire refused a second early": Defect("EXP-7", early("POST", ".*/expire")),
    "page expired a second early": Defect("EXP-7", early("GET", "/pay/.*")),
    "button refused a second early": Defect("PAY-1", early("POST", "/pay/.*")),
    "open page pays after expiry": Defect("EXP-5", wrapped("page_of", pays_anyway)),
    "page of expired has a form": Defect("EXP-6", with_form("expired")),
    "page of paid has a form": Defect("PAY-2", with_form("complete")),
    "declined payment saves what it read": Defect("CON-1", saved_whole("failed")),
    "cancelled payment saves what it read": Defect("CON-1", saved_whole("canceled")),
    "long replay cut": Defect("IDM-1", wrapped("replayed", cut_replay)),
}
