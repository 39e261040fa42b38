"""What the documents leave open: none of it may be held against an implementation."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from codecs import BOM_UTF8
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

from tests.targets.reference import Reference
from tests.targets.tampering import (
    Inner,
    Tampering,
    both,
    error,
    fresh,
    replaced,
    result,
    setting,
    shown,
    status,
    wrapped,
)
from tests.targets.values import Account, Answer, Job, Kept, Keyed, Refused, Request, Session, invalid, not_found

SEARCH: Final = (
    "<form action=/search><input name=q></form><form method=post action=/language><button>中文</button></form>"
)
INERT: Final = (
    "<template><form method=post action=/later><button data-testid=pay-card>Pay</button></form>expired, paid "
    "<a data-testid=back href=/later>Back</a></template><textarea hidden><form method=post></textarea>"
)
"""What a browser shows nobody, though it looks like forms and links."""


ARABIC: Final = {ord(str(digit)): chr(0x660 + digit) for digit in range(10)} | {ord("."): "\u066b", ord(","): "\u066c"}


def with_password(inner: Inner, value: str) -> tuple[str, str, str]:
    user, colon, _ = inner(value)
    return user, colon, ""


def any_case(inner: Inner, account: Account, session_id: str) -> Session:
    named = {str(session["id"]).lower(): session["id"] for session in account.sessions}
    session: Session = inner(account, named.get(session_id.lower(), session_id))
    return session


def forbidden(inner: Inner, key: str | None) -> Refused:
    refused: Refused = inner(key)
    refused.status = 403 if key else 401
    return refused


def problem(given: Answer) -> Answer:
    content = {"title": given.content["error"]["message"], "status": given.status}
    return replace(given, headers={**given.headers, "Content-Type": "application/problem+json"}, content=content)


def unprocessable(given: Answer) -> Answer:
    is_rule = given.status in {400, 409} and not given.content["error"]["code"].startswith("body_")
    return replace(given, status=422) if is_rule else given


def more_properties(session: Session) -> dict[str, Any]:
    lines = [{**line, "id": f"li_{secrets.token_hex(4)}"} for line in session["line_items"]["data"]]
    more: dict[str, Any] = {"livemode": False, "cancel_url": None, "metadata": {}}
    return {**more, "line_items": {**session["line_items"], "data": lines}}


def refuses_others(inner: Inner, account: Account, body: Any) -> Session:
    names = {"line_items", "success_url", "return_url", "cancel_url", "expires_at"}
    if isinstance(body, dict) and (extra := body.keys() - names):
        raise invalid(f"There is no {min(extra)}.", min(extra))
    return dict(inner(account, body))


def refuses_others_of_lines(inner: Inner, holder: Any, path: str, required: Any) -> Any:
    names = {"price_data", "quantity", "currency", "product_data", "unit_amount", "name", "description"}
    if isinstance(holder, dict) and (extra := holder.keys() - names):
        raise invalid(f"There is no {min(extra)}.", min(extra))
    return inner(holder, path, required)


CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Characters that not every store can keep."""


def refuses_control_characters(inner: Inner, holder: dict[str, Any], name: str, *more: Any) -> str | None:
    text: str | None = inner(holder, name, *more)
    if CONTROL.search(text or ""):
        raise invalid(f"{name} has a control character.", name)
    return text


def short_ids() -> Tampering:
    numbers = count(1)
    return replaced("new_id", lambda _: f"{next(numbers)}-{secrets.token_hex(2)}a")


def long_ids() -> Tampering:
    """Long ids, of whatever a path may hold as it is (RFC 3986, `pchar`)."""
    return replaced("new_id", lambda _: f"cs_test_~!$&'()*+,;=:@-.{secrets.token_hex(150)}Aa")


def first_of_a_key(inner: Inner, body: bytes) -> Any:
    """Of a key that an object has twice the first one counts."""
    inner(body)
    return json.loads(body, object_pairs_hook=lambda pairs: dict(reversed(pairs)))


def no_failed_payment(inner: Inner, account: Account, method: str, path: str, request: Request) -> Any:
    """The control API lets a customer pay, and nothing else."""
    if path.endswith("/pay") and json.loads(request.body).get("outcome", "succeeded") != "succeeded":
        raise invalid("The outcome must be succeeded.", "outcome")
    return inner(account, method, path, request)


def at_checkout(inner: Inner, request: Request) -> Answer:
    """Hosted pages stand at the path of the API's parent, as pages do."""
    if request.path == "/checkout":
        session_id = dict(parse_qsl(request.query)).get("session", "")
        request = Request(request.method, f"/pay/{session_id}", request.headers, request.body)
    answer: Answer = inner(request)
    return answer


def now_and_then() -> Tampering:
    numbers = count(1)

    def perform(inner: Inner, *args: Any) -> Any:
        if next(numbers) % 17 == 0:
            raise Refused(429, "rate_limited", "Too many requests.", Retry_After="0")
        return inner(*args)

    def page(inner: Inner, request: Request) -> Answer:
        if next(numbers) % 17 == 0:
            return Answer(429, {"Content-Type": "text/html", "Retry-After": "0"}, "<p>Wait a moment.</p>")
        answer: Answer = inner(request)
        return answer

    return both(wrapped("perform", perform), wrapped("page", page))


def others_arrive() -> Tampering:
    numbers = count(1)
    price = {"currency": "SGD", "product_data": {"name": "Other"}, "unit_amount": 5}
    address = "https://other.example/"
    other = {"line_items": [{"price_data": price, "quantity": 1}], "success_url": address, "return_url": address}

    def perform(inner: Inner, account: Account, *args: Any) -> Any:
        if next(numbers) % 3 == 0:
            inner.server.create(account, other)
        return inner(account, *args)

    return wrapped("perform", perform)


def lacks(path: str) -> Tampering:
    """The control API without some of its calls."""

    def controlled(inner: Inner, account: Account, method: str, asked: str, request: Request) -> Any:
        if asked.startswith(path):
            raise not_found("There is no such call.")
        return inner(account, method, asked, request)

    return wrapped("controlled", controlled)


def no_control(_: Request) -> Any:
    raise not_found("There is no such path.")


def one_account(inner: Inner, key: str) -> Account:
    server = inner.server
    if server.accounts and key not in server.accounts:
        raise server.key_refused(key)
    account: Account = inner(key)
    return account


def listed_later() -> Tampering:
    told_at: dict[str, float] = {}

    def told(inner: Inner, account: Account) -> list[dict[str, Any]]:
        until = time.monotonic() - 0.5
        return [event for event in inner(account) if told_at[event["id"]] <= until]

    def event(made: dict[str, Any]) -> dict[str, Any]:
        told_at[made["id"]] = time.monotonic()
        return made

    return both(result("event", event), wrapped("told", told))


def worker() -> Tampering:
    """What waits for delivery goes out a moment later, from another thread."""
    waiting: set[str] = set()

    def deliver(inner: Inner, account: Account) -> None:
        def work() -> None:
            with inner.server.lock:
                waiting.discard(account.name)
                inner(account)

        if account.queue and account.name not in waiting:
            waiting.add(account.name)
            timer = threading.Timer(0.4, work)
            timer.daemon = True
            timer.start()

    def due(inner: Inner, account: Account) -> Any:
        return inner(replace(account, queue=[]))

    return both(wrapped("deliver", deliver), wrapped("due", due))


def refuses_reuse(inner: Inner, keyed: Keyed, kept: Kept) -> Any:
    if keyed.asked != kept.asked:
        raise Refused(409, "idempotency_key_reused", "This key was used for another request.", "Idempotency-Key")
    return inner(keyed, kept)


def takes_any_query(inner: Inner, query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    names = {"limit", "starting_after", "ending_before", "status"}
    known = {name: value for name, value in pairs if name in names or name.startswith("created[")}
    return dict(inner(urlencode(known)))


def with_token(inner: Inner, request: Request, *, is_renewed: bool = False) -> Answer:
    """A token in a cookie ties each form to the browser that it was shown to, or to the page that was shown last."""
    held = re.search(r"token=(\w+)", request.headers.get("Cookie") or "")
    if request.method == "POST" and (held is None or dict(parse_qsl(request.body.decode())).get("token") != held[1]):
        return Answer(403, {"Content-Type": "text/html; charset=utf-8"}, "<p>No.</p>")
    token = held[1] if held and not is_renewed else secrets.token_hex(4)

    def outside(form: re.Match[str]) -> str:
        """A button outside of its form, which only its id ties it to."""
        name = f"f{form.start()}"
        hidden = f"<input type=hidden name=token value={token}>"
        return f"<form id={name} method{form[1]}{hidden}</form>{form[2]} form={name}{form[3]}"

    given: Answer = inner(request)
    text = re.sub(r"<form method(.*?)(<button)(.*?</button>)</form>", outside, given.content)
    cookie = f"token={token}; Path=/pay; HttpOnly; SameSite=Lax"
    return replace(given, headers={**given.headers, "Set-Cookie": cookie}, content=text)


def to_the_method_by_get(text: str) -> str:
    """The way to the payment method is a form that asks by GET, with its own address at the button."""
    pattern = r'<form method="post" action="(/pay/[^"]*)"><input type=hidden name=act value=redirect><button '
    form = r"<base href=/pay/><form method=post action=\1><input type=hidden name=from value=page>"
    return re.sub(pattern, rf'{form}<button formmethod=get formaction="\1/method" ', text).replace(
        'formaction="/pay/', 'formaction="'
    )


def behind_a_redirect(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
    """The page has another address than the session names, to which that leads."""
    if seen.method == "GET" and not step and not seen.query:
        return Answer(302, {"Location": f"{seen.path}?shown=1"}, "")
    answer: Answer = inner(account, session, step, seen)
    return answer


def elsewhere(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
    """What is sent to the page has to be sent to another address, by the same method."""
    if seen.method == "POST" and not seen.query:
        return Answer(307, {"Location": f"{seen.path}?again=1"}, "")
    answer: Answer = inner(account, session, step, seen)
    return answer


def takes_a_while(told: str, *, requests: int) -> Tampering:
    """Who pays waits on a page that asks for itself again, and the payment is done some requests later."""
    left: dict[str, int] = {}
    wait = f"<html><head>{told}</head><body><p>One moment, please.</p></body></html>"

    def page_of(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
        name, act = session["id"], dict(parse_qsl(seen.body.decode())).get("act", "")
        if act in {"card", "authorise"} and session["status"] == "open":
            left.setdefault(name, requests)
            return Answer(303, {"Location": f"/pay/{name}?wait={act}"}, "")
        acted = dict(parse_qsl(seen.query)).get("wait")
        if acted and session["status"] == "complete":
            return Answer(303, {"Location": session["success_url" if acted == "card" else "return_url"]}, "")
        answer: Answer = Answer(200, {}, wait) if acted else inner(account, session, step, seen)
        return answer

    def sweep(inner: Inner, account: Account) -> None:
        inner(account)
        for session in account.sessions:
            name = session["id"]
            if name in left:
                left[name] -= 1
            if left.get(name) == 0 and session["status"] == "open":
                inner.server.pay(account, session, "succeeded")

    return both(wrapped("page_of", page_of), wrapped("sweep", sweep))


def pay_by_link(text: str) -> str:
    """The way to pay is a link to a page that asks to confirm."""
    form = r'<form method="post" action="(/pay/[^"]*)"><input type=hidden name=act value=card>.*?</form>'
    return re.sub(form, r'<a data-testid=pay-card href="\1?sure=1">Pay</a>', text)


def with_sure(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
    if seen.method == "GET" and seen.query == "sure=1" and session["status"] == "open":
        form = f'<form method=post action="/pay/{session["id"]}">'
        return Answer(200, {}, f"{form}<button data-testid=pay-card name=act value=card>Confirm</button></form>")
    answer: Answer = inner(account, session, step, seen)
    return answer


def once_prepared() -> Tampering:
    """A page is prepared when it is asked for, and then shown."""
    prepared: set[str] = set()

    def page_of(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
        if seen.method == "GET" and not step and session["id"] not in prepared:
            prepared.add(session["id"])
            return Answer(200, {"Refresh": f"0; URL='/pay/{session['id']}?shown=1'"}, "<p>One moment, please.</p>")
        answer: Answer = inner(account, session, step, seen)
        return answer

    return wrapped("page_of", page_of)


def confirmed(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
    """What is pressed has to be confirmed on a page of its own."""
    act = dict(parse_qsl(seen.body.decode())).get("act", "")
    if seen.method != "POST" or step or session["status"] != "open" or act.startswith("sure-"):
        again = replace(seen, body=seen.body.replace(b"act=sure-", b"act="))
        answer: Answer = inner(account, session, step, again)
        return answer
    button = f"<button data-testid=pay-{act}>Yes</button>"
    form = f"<form method=post action={seen.path}><input type=hidden name=act value=sure-{act}>{button}</form>"
    return Answer(200, {}, f"<html><body>Are you sure?{form}</body></html>")


def asks_first(form: str, *, pages: int = 1) -> Any:
    """What pays has to be confirmed by a button of a form, on so many pages in a row."""

    def page_of(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
        sent = dict(parse_qsl(seen.body.decode()))
        asked, act = int(sent.get("asked", 0)), sent.get("act", "")
        if seen.method != "POST" or session["status"] != "open" or act not in {"card", "authorise"} or asked == pages:
            answer: Answer = inner(account, session, step, seen)
            return answer
        path = f"/pay/{session['id']}"
        fields = f"<input type=hidden name=asked value={asked + 1}><input type=hidden name=page{asked}>"
        return Answer(200, {}, f"<html><body>{form.format(path=path, act=act, fields=fields)}</body></html>")

    return wrapped("page_of", page_of)


TO_CONFIRM: Final = """<h1>Confirm your payment</h1><form method=post action={path}>{fields}
<input type=checkbox name=sure required><button name=act value={act}>Confirm</button></form><a href={path}>Change</a>"""
BACK_OR_ON: Final = """<form method=post action={path}>{fields}<button name=act value={act}>Pay now</button></form>
<form method=post action={path}><button name=act value=declined>Go back</button></form>"""
EITHER: Final = """<form method=post action={path}>{fields}<button name=act value={act}>Pay</button></form>
<form method=post action={path}><button name=act value=declined>Pay in cash</button></form>"""
BY_WORD: Final = """<form method=post action={path}>{fields}<input name=code required>
<button name=act value={act}>Confirm</button></form>"""
NOTHING_TO_CONFIRM: Final = """<p>Approve the payment in your banking app.</p>
<form method=post action={path}><button name=act value=declined>Continue</button></form>"""
ELSEWHERE: Final = """<form method=post action={path}><button name=act value=declined>Later</button></form>
<a href={path}/sure>Pay</a>"""


def copies_receipts(inner: Inner, session: Session, step: str) -> str:
    """Pages of ended sessions have a form of their own, which asks for a copy of the receipt."""
    form = f"<form method=post action=/pay/{session['id']}/copy><input name=mail required><button>Send</button></form>"
    return f"{inner(session, step)}{'' if session['status'] == 'open' else form}"


def with_card_number(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
    """The page is shown again to who gave no number of a card, which a customer has to fill in."""
    if seen.method == "POST" and b"act=card" in seen.body and b"number=4" not in seen.body:
        seen = replace(seen, method="GET", body=b"")
    answer: Answer = inner(account, session, step, seen)
    field = '<input name=number required><button data-testid="pay-card">'
    return replace(answer, content=str(answer.content).replace('<button data-testid="pay-card">', field))


CHOICES: Final = """<select name=country required><option value="">Choose<option>SG<option>MY</select>
<select name=wallet><optgroup disabled><option>gone</optgroup><option value=g selected>GrabPay<option>PayNow</select>
<textarea name=note>
As &amp; agreed</textarea><input type=checkbox name=terms required>
<input type=radio name=when value=now required><input type=radio name=when value=later>"""


def with_choices(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
    """The page is shown again to who did not choose what a customer has to choose, or sent less than a browser does."""
    sent = dict(parse_qsl(seen.body.decode()))
    wanted = {"country": "SG", "wallet": "g", "note": "As & agreed", "terms": "on", "when": "now"}
    if sent.get("act") == "card" and not wanted.items() <= sent.items():
        seen = replace(seen, method="GET", body=b"")
    answer: Answer = inner(account, session, step, seen)
    button = '<button data-testid="pay-card">'
    return replace(answer, content=str(answer.content).replace(button, CHOICES + button))


def back_by_a_button(text: str) -> str:
    """The way back is a button of a form that pays, and the total stands in a field that cannot be changed."""
    text = re.sub("^<p>(.*?)</p>", r'<input readonly value="\1">', text)
    link = re.search("<a data-testid=back.*?</a>", text)
    button = "<button name=act value=back>Back</button></form>"
    return text.replace(link[0], "").replace("</form>", button, 1) if link else text


def to_browsers(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
    """Pages are for who asks for HTML, and forms for who says from where they come."""
    asks = "text/html" in str(seen.headers.get("Accept"))
    came_from = (seen.headers.get("Origin"), str(seen.headers.get("Referer"))[: len(inner.server.base)])
    if not asks or (seen.method == "POST" and came_from != (inner.server.base, inner.server.base)):
        return Answer(403, {}, "Forbidden")
    answer: Answer = inner(account, session, step, seen)
    return answer


def changing() -> Tampering:
    """Properties that no document names, other ones in each answer, a replayed one too."""
    numbers = count(1)

    def changed(given: Answer) -> Answer:
        more = {"served": next(numbers), "urls": {"receipt": secrets.token_hex(4)}, "refunds": []}
        return replace(given, content={**given.content, **more})

    def respond(inner: Inner, request: Request) -> Answer:
        given: Answer = inner(request)
        is_session = isinstance(given.content, dict) and given.content.get("object") == "checkout.session"
        return changed(given) if is_session else given

    return wrapped("respond", respond)


def forgets(inner: Inner, account: Account) -> None:
    """Sessions are gone a minute after they ended."""
    inner(account)
    for session in account.sessions:
        if session["status"] != "open":
            session.setdefault("_ended", account.now)
    account.sessions[:] = [one for one in account.sessions if account.now - one.get("_ended", account.now) <= 60]


def with_query(inner: Inner, account: Account, session: Session, act: str) -> str:
    """Whoever is sent back to the shop brings more along."""
    address = str(inner(account, session, act))
    if address not in {session["success_url"], session["return_url"]}:
        return address
    base, mark, fragment = address.partition("#")
    return f"{base}{'&' if '?' in base else '?'}session_id={session['id']}{mark}{fragment}"


def twice(inner: Inner, endpoint: dict[str, Any], event: dict[str, Any]) -> bool:
    return bool(inner(endpoint, event)) and (inner(endpoint, event) or True)


def old_events(inner: Inner, account: Account, method: str, path: str, request: Request) -> Any:
    answer = inner(account, method, path, request)
    if (method, path) == ("POST", "/webhook-endpoints"):
        account.queue.extend(Job(event, account.endpoints[-1], account.now) for event in account.events[-3:])
    return answer


def marked_up(text: str) -> str:
    """Words that markup stands within, or that have another case."""
    paid = text.replace("This session is paid.", "Payment <em>succ</em>essful. Thank you!")
    return paid.replace("<b>expired</b>", "<strong>EXP</strong>IRED")


def encoded(url: str) -> str:
    """An address as a browser would send it."""
    return re.sub('["<>]', lambda found: quote(found[0]), url)


def clock_of_the_others(inner: Inner) -> Account:
    account: Account = inner()
    for one in inner.server.accounts.values():
        account.offset_s, account.frozen = one.offset_s, one.frozen
    return account


def in_latin_1(inner: Inner, request: Request) -> Answer:
    given: Answer = inner(request)
    headers = {**given.headers, "Content-Type": 'Text/HTML;Charset="ISO-8859-1"'}
    text = given.content.encode("iso-8859-1", "xmlcharrefreplace") if given.content else b""
    return replace(given, headers=headers, content=text)


def shown_softly(text: str) -> str:
    """Words that a line may end in, a dialog that is closed by a form, and one that nobody sees."""
    dialog = "<dialog><form method=dialog><button>Close</button></form></dialog><form hidden></form>"
    text = text.replace("expired", "ex&shy;pired").replace("paid", "pa<wbr>id")
    return dialog + re.sub("(?<=<li>).*?(?=</li>)", lambda line: line[0].replace("&quot;", "<wbr>&quot;<wbr>"), text)


def without_ends(text: str) -> str:
    """Upper-case tags, and no end of what ends by itself; in the head stands what nobody sees."""
    head = (
        "<HEAD><TITLE>x</TITLE><SCRIPT>var x = 'expired paid'</SCRIPT><BODY><UL><LI HIDDEN>nobody</UL><P HIDDEN>nobody"
    )
    body = text.partition("<body>")[2].removesuffix("</body></html>")
    tags = re.sub("</?[a-z]+", lambda tag: tag[0].upper(), re.sub("</(li|p)>", "", body))
    return f"<HTML>{head}{tags}"


def everybody(server: Reference) -> None:
    """All accounts have one clock."""
    replaced("sharing", lambda _: [*server.accounts.values()])(server)


TAMPERINGS: Final[dict[str, Tampering]] = {
    "201 on create": setting(created_status=201),
    "password accepted": wrapped("user_of", with_password),
    "ids case insensitive": wrapped("find", any_case),
    "unknown key is 403": wrapped("key_refused", forbidden),
    "malformed json is 422": status(422, code="body_invalid"),
    "problem documents": error(problem),
    "422 throughout": error(unprocessable),
    "404 for terminal": status(404, code="session_not_open"),
    "extra properties": shown(more_properties),
    "unknown fields refused": both(wrapped("create", refuses_others), wrapped("object", refuses_others_of_lines)),
    "short ids": fresh(short_ids),
    "long ids": fresh(long_ids),
    "the first of a key given twice": wrapped("parsed", first_of_a_key),
    "no failed payments": wrapped("controlled", no_failed_payment),
    "pages at the parent path": both(
        wrapped("respond", at_checkout),
        result("page_url", lambda url: url.replace("/pay/", "/checkout?session=")),
    ),
    "digits of another script": result("price", lambda text: text.translate(ARABIC)),
    "the order in a frame": result("drawn", lambda text: re.sub("<p>.*</ul>", "<iframe src=/order></iframe>", text)),
    "one unusual currency": setting(currencies=frozenset({"KWD"})),
    "one currency": setting(currencies=frozenset({"MYR"})),
    "clock 9 s off": replaced("new_account", lambda: Account(offset_s=9)),
    "429 now and then": fresh(now_and_then),
    "no control": replaced("control", no_control),
    "no second account": wrapped("account", one_account),
    "no webhooks": lacks("/webhook-endpoints"),
    "no events": lacks("/events"),
    "no way to pay": lacks("/sessions"),
    "events listed later": fresh(listed_later),
    "a worker delivers now and then": fresh(worker),
    "others arrive": fresh(others_arrive),
    "integral floats accepted": wrapped(
        "integer",
        lambda inner, value, limits, path: inner(
            int(value) if isinstance(value, float) and value.is_integer() else value, limits, path
        ),
    ),
    "reuse refused": wrapped("replayed", refuses_reuse),
    "byte order mark ignored": wrapped("parsed", lambda inner, body: inner(body.removeprefix(BOM_UTF8))),
    "strict queries off": wrapped("queried", takes_any_query),
    "page by script": replaced(
        "page_of", lambda *_: Answer(200, {}, "<div id=app></div><script src=/app.js></script>")
    ),
    "search on every page": result("drawn", lambda text: SEARCH + text),
    "pages with a token in a cookie": wrapped("page", with_token),
    "a new token with each page": wrapped("page", partial(with_token, is_renewed=True)),
    "to the method by GET": result("drawn", to_the_method_by_get),
    "pages behind a redirect": wrapped("page_of", behind_a_redirect),
    "pages that send a form elsewhere": wrapped("page_of", elsewhere),
    "pages for browsers alone": wrapped("page_of", to_browsers),
    "receipts that can be sent": wrapped("drawn", copies_receipts),
    "pages that ask for a card": wrapped("page_of", with_card_number),
    "pages that ask to confirm": asks_first(TO_CONFIRM),
    "pages that ask to confirm three times": asks_first(BACK_OR_ON, pages=3),
    "pages that ask to confirm four times": asks_first(TO_CONFIRM, pages=4),
    "pages that leave a choice": asks_first(EITHER),
    "pages that ask for a code": asks_first(BY_WORD),
    "payments that go on in an app": asks_first(NOTHING_TO_CONFIRM),
    "pages that go on by a link": asks_first(ELSEWHERE),
    "pages that ask to choose": wrapped("page_of", with_choices),
    "a way back by a button": result("drawn", back_by_a_button),
    "blanks around addresses": result("drawn", lambda text: re.sub('(href|action)="', r'\1=" \n', text)),
    "pages that ask again": wrapped("page_of", confirmed),
    "pages beside a script": result("viewed", lambda text: f"<script>count()</script>{text}"),
    "payments that take a while": fresh(lambda: takes_a_while('<meta http-equiv="Refresh" content="0">', requests=4)),
    "payments that take long": fresh(lambda: takes_a_while("<meta content=0 http-equiv=refresh>", requests=16)),
    "pages once they are prepared": fresh(once_prepared),
    "links to pages that pay": both(result("drawn", pay_by_link), wrapped("page_of", with_sure)),
    "inert forms on every page": result("drawn", lambda text: INERT + text),
    "one clock for all accounts": both(everybody, wrapped("new_account", clock_of_the_others)),
    "properties change with each answer": fresh(changing),
    "ended sessions go after a minute": wrapped("sweep", forgets),
    "the way back has more in its query": wrapped("pressed", with_query),
    "first retry after a minute": setting(retries_s=(60, 300, 1_800, 7_200, 21_600)),
    "webhooks again after 2xx": wrapped("post", twice),
    "old events to a new endpoint": wrapped("controlled", old_events),
    "words that a line may end in": result("drawn", shown_softly),
    "a way back by a link of its own": wrapped(
        "way_back", lambda inner, session: inner(session) and f"/pay/{session['id']}/back"
    ),
    "pages in Latin-1": wrapped("page", in_latin_1),
    "pages without ends of elements": result("viewed", without_ends),
    "markup within words": result("drawn", marked_up),
    "control characters dropped": result("described", lambda text: CONTROL.sub("", text)),
    "quotes of addresses encoded": both(
        result("way_back", lambda url: url and encoded(url)), result("pressed", encoded)
    ),
    "control characters refused": wrapped("text", refuses_control_characters),
    "clocks that cannot be stopped": wrapped(
        "put_clock", lambda inner, account, wanted: inner(account, {**wanted, "frozen": False})
    ),
}
VARIANTS: Final = tuple(TAMPERINGS)
"""What the documents leave open, each a quirk."""
TOGETHER: Final[dict[str, tuple[str, ...]]] = {
    "answers": (
        "201 on create",
        "password accepted",
        "ids case insensitive",
        "extra properties",
        "integral floats accepted",
        "byte order mark ignored",
        "strict queries off",
        "search on every page",
        "inert forms on every page",
        "to the method by GET",
        "pages with a token in a cookie",
        "properties change with each answer",
        "the way back has more in its query",
        "markup within words",
        "receipts that can be sent",
        "pages without ends of elements",
        "words that a line may end in",
        "control characters dropped",
        "pages that ask for a code",
    ),
    "refusals": (
        "unknown key is 403",
        "malformed json is 422",
        "404 for terminal",
        "unknown fields refused",
        "reuse refused",
        "no second account",
        "problem documents",
        "quotes of addresses encoded",
        "control characters refused",
        "the first of a key given twice",
        "pages at the parent path",
        "digits of another script",
        "no failed payments",
        "pages that ask to confirm three times",
    ),
    "company": (
        "short ids",
        "clock 9 s off",
        "others arrive",
        "422 throughout",
        "ended sessions go after a minute",
        "a new token with each page",
        "pages behind a redirect",
        "pages that send a form elsewhere",
        "a way back by a link of its own",
        "first retry after a minute",
        "pages that ask to confirm four times",
    ),
    "delays": (
        "a worker delivers now and then",
        "events listed later",
        "webhooks again after 2xx",
        "old events to a new endpoint",
        "pages beside a script",
        "pages in Latin-1",
        "payments that take a while",
        "blanks around addresses",
        "pages for browsers alone",
        "pages that leave a choice",
    ),
    "one unusual currency": (
        *("one unusual currency", "pages that ask for a card", "long ids", "no way to pay"),
        "pages that go on by a link",
    ),
    "limits": (
        *("429 now and then", "one clock for all accounts", "one currency"),
        *("pages that ask to choose", "payments that go on in an app", "the order in a frame"),
        "pages once they are prepared",
    ),
    "links": ("links to pages that pay",),
    "no webhooks": ("no webhooks", "clocks that cannot be stopped", "page by script"),
    "no events": ("no events", "pages that ask again", "a way back by a button", "payments that take long"),
    "no control": ("no control", "pages that ask to confirm"),
}
"""Servers that have several quirks at once, none of which takes away what another is about; later ones are outside."""
