"""EXP and PAY: how a session ends, and what its page says."""

from __future__ import annotations

from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from qashier_contract import oracle
from qashier_contract.clauses.events import event_ids
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, Findings, broken, clause, kept_if
from qashier_contract.history import Capability, Exchange, History, Json, Operation
from qashier_contract.ledger import ObservedSession, act_of, differences, entries_of, lasting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAY, CLOCK, PAGE = Capability.PAY, Capability.CLOCK, Capability.PAGE


def _writes(
    history: History, operation: Operation, *statuses: str, act: oracle.Act | None = None
) -> Iterator[tuple[ObservedSession, Exchange, oracle.State]]:
    """The writes of one kind to sessions of a known status, with it. Replays and other accounts' tries left out."""
    ledger = history.ledger
    for observed in ledger.sessions.values():
        for write in observed.writes:
            if write.operation is not operation or write.account != observed.account or write.is_lost:
                continue
            if ledger.key_was_seen(write) or (act is not None and act_of(write) is not act):
                continue
            state = ledger.state_before(observed, write)
            if state is not None and state.status in statuses:
                yield observed, write, state


def _before(observed: ObservedSession, write: Exchange) -> tuple[Exchange, ...]:
    """The story of a session up to a write."""
    return (observed.born, *(earlier for earlier in observed.writes if earlier.number <= write.number), write)


def _unchanged(history: History, observed: ObservedSession, write: Exchange, state: oracle.State) -> Findings:
    read = history.ledger.following_read(observed, write)
    if read is not None:
        seen = oracle.State(str(read.object.get("status")), str(read.object.get("payment_status")))
        yield kept_if(
            seen == state,
            f"still {state.status}, {state.payment_status}",
            f"{seen.status}, {seen.payment_status}",
            *_before(observed, write),
            read,
        )


def _nothing_changed(history: History, observed: ObservedSession, write: Exchange, state: oracle.State) -> Findings:
    """What was refused left the session as it was shown before."""
    yield from _unchanged(history, observed, write, state)
    read, before = history.ledger.following_read(observed, write), history.ledger.preceding_view(observed, write)
    if read is not None and before is not None:
        yield from _same_session(before, read.object, *_before(observed, write), read)


def _same_session(before: Mapping[str, Json], shown: Mapping[str, Json], *story: Exchange) -> Findings:
    """What never changes is as it was."""
    first, now = lasting(before), lasting(shown)
    differing = differences(first, now)
    wanted = {name: first.get(name) for name in differing}
    yield kept_if(not differing, f"{wanted}", {name: now.get(name) for name in differing}, *story)


@clause("EXP-1", source=DOCUMENTED)
def an_open_session_can_be_expired(history: History) -> Findings:
    """Expiring an open session returns it with `status` `expired`."""
    for observed, write, state in _writes(history, Operation.EXPIRE, "open"):
        story = _before(observed, write)
        yield kept_if(write.succeeded, "success for an open session", write.status, *story)
        if write.succeeded:
            seen = (write.object.get("id"), write.object.get("status"))
            yield kept_if(seen == (observed.id, "expired"), f"{observed.id}, expired", f"{seen}", *story)
            yield from _same_session(observed.first, write.object, *story)
            expected = state.payment_status
            yield kept_if(
                write.object.get("payment_status") == expected, expected, write.object.get("payment_status"), *story
            )
            read = history.ledger.following_read(observed, write)
            if read is not None:
                status = read.object.get("status")
                yield kept_if(status == "expired", "expired from then on", status, *story, read)


@clause("EXP-2", source=DOCUMENTED)
def an_expired_session_cannot_be_expired(history: History) -> Findings:
    """Expiring an expired session is refused with 4xx, and nothing changes."""
    for observed, write, state in _writes(history, Operation.EXPIRE, "expired"):
        yield kept_if(
            write.refused and _by_policy(history, write), _not_open(history), write.status, *_before(observed, write)
        )
        if write.refused:
            yield from _nothing_changed(history, observed, write, state)


@clause("EXP-3", source=DOCUMENTED, needs=(PAY,))
def a_complete_session_cannot_be_expired(history: History) -> Findings:
    """Expiring a complete session is refused with 4xx, and nothing changes."""
    for observed, write, state in _writes(history, Operation.EXPIRE, "complete"):
        yield kept_if(
            write.refused and _by_policy(history, write), _not_open(history), write.status, *_before(observed, write)
        )
        yield from _nothing_changed(history, observed, write, state)


def _not_open(history: History) -> str:
    return f"{history.terms.policy.status_not_open or '4xx'} for a session that is not open"


def _by_policy(history: History, write: Exchange) -> bool:
    return history.terms.policy.status_not_open in {None, write.status}


@clause("EXP-4", source=ASSUMED)
def an_unknown_session_cannot_be_expired(history: History) -> Findings:
    """Expiring an unknown id answers 404."""
    known = set(history.ledger.sessions)
    for exchange in history.of(Operation.LIST):
        known.update(str(entry.get("id")) for entry in entries_of(exchange))
    for exchange in history.of(Operation.EXPIRE):
        if (
            exchange.request.session_id not in known
            and not exchange.is_lost
            and not history.ledger.key_was_seen(exchange)
        ):
            yield kept_if(exchange.status == 404, "404 for an unknown id", exchange.status, exchange)


@clause("EXP-5", source=DOCUMENTED, needs=(PAY,))
def an_expired_session_cannot_be_paid(history: History) -> Findings:
    """An expired session cannot be paid."""
    for observed, write, state in _writes(history, Operation.PAY, "expired", act=oracle.Act.PAYMENT_SUCCEEDED):
        yield kept_if(not write.succeeded, "the payment refused", write.status, *_before(observed, write))
        yield from _nothing_changed(history, observed, write, state)
    for observed, press, state in presses(history, "expired"):
        deceived = press.page_act == "pay-card" and history.ledger.leads_on(observed, press)
        yield kept_if(not deceived, "the payment refused", "the customer at success_url", *_before(observed, press))
        yield from _nothing_changed(history, observed, press, state)


@clause("EXP-6", source=DOCUMENTED, needs=(PAGE,))
def the_page_of_an_expired_session_says_so(history: History) -> Findings:
    """The hosted page of an expired session says that it is expired, and has no form to pay."""
    yield from _ended_pages(history, "expired", "expired")
    for exchange in history.exchanges:
        observed = history.ledger.sessions.get(exchange.page_of or "")
        if observed is None or exchange.page_act not in _VIEWS or exchange.reply is None:
            continue
        state = history.ledger.state_before(observed, exchange)
        away = exchange.reply.header("location") if 300 <= exchange.reply.status < 400 else None
        if state is not None and state.status == "expired" and away is not None and _is_of_shop(observed, away):
            yield broken(
                "a page that says expired", f"the customer at {away}", *_before_page(observed, exchange), exchange
            )


def _is_of_shop(observed: ObservedSession, url: str) -> bool:
    """Whether a URL leads to the shop."""
    body = observed.born.request.json
    given = [body.get(name) for name in ("success_url", "return_url", "cancel_url")] if isinstance(body, dict) else []
    hosts = {urlsplit(one).netloc.lower() for one in given if isinstance(one, str)}
    return urlsplit(url).netloc.lower() in hosts


def _ended_pages(history: History, status: str, word: str) -> Findings:
    for observed, exchange, page in views(history, failed=True):
        state = history.ledger.state_before(observed, exchange)
        if state is None or state.status != status:
            continue
        story = (*_before_page(observed, exchange), exchange)
        if state.payment_status != "no_payment_required" or status == "expired":  # what is free is not "paid"
            yield kept_if(word in page.text.lower(), f"the word {word!r} on the page", page.text[:120], *story)
        found = page.forms_to_pay(observed.id)
        yield kept_if(not found, "no form to pay", f"a form to {found[0]['action'] if found else ''}", *story)


def _before_page(observed: ObservedSession, exchange: Exchange) -> tuple[Exchange, ...]:
    return (observed.born, *(write for write in observed.writes if write.is_before(exchange)))


@clause("EXP-7", source=DOCUMENTED, needs=(CLOCK,))
def a_session_expires_on_time(history: History) -> Findings:
    """At `expires_at` an open session is expired, without any request; one second earlier it is not."""
    ledger = history.ledger
    for observed in ledger.sessions.values():
        moves = [e for e in history.clock_calls(observed.account) if e.request.method != "GET"]
        for exchange in observed.reads:
            yield from _on_time(history, observed, exchange, exchange.object.get("status"), moves)
        yield from _ended_on_time(history, observed, moves)
    for exchange in history.of(Operation.LIST):
        for entry in entries_of(exchange):
            named = ledger.sessions.get(str(entry.get("id")))
            if named is not None and named.account == exchange.account:
                yield from _on_time(history, named, exchange, entry.get("status"), [])


def _ended_on_time(history: History, observed: ObservedSession, moves: list[Exchange]) -> Findings:
    """Judge the first write to a session, which nothing but the clock can have ended before."""
    ledger = history.ledger
    for write in observed.writes:
        state = ledger.state_before(observed, write)
        passed = ledger.deadline_passed(observed, write)
        if state is None or ledger.key_was_seen(write) or any(w.is_before(write) for w in observed.writes):
            continue
        if write.account != observed.account:
            continue  # another account's try is AUTH-5; what its page answers tells nothing yet
        if passed and write.succeeded:
            yield broken(
                f"expired at {observed.expires_at}",
                f"{write.request.path} still succeeds",
                observed.born,
                *moves[-1:],
                write,
            )
        near = passed is False and (ledger.clock_of(observed, write)[0] or 0) >= observed.expires_at - 60
        if near and write.refused and act_of(write) is not None:
            yield broken(
                f"open until {observed.expires_at}", f"{write.request.path} refused", observed.born, *moves[-1:], write
            )


def _on_time(
    history: History, observed: ObservedSession, exchange: Exchange, seen: object, moves: list[Exchange]
) -> Findings:
    """Judge a view of a session that nothing but the clock can have ended."""
    ledger = history.ledger
    if any(
        not exchange.is_before(write) and not (write.refused or act_of(write) in _HARMLESS) for write in observed.writes
    ):
        return
    least, most = ledger.clock_of(observed, exchange)
    if least is not None and least >= observed.expires_at:
        recent = [move for move in moves if move.is_before(exchange)][-1:]
        yield kept_if(
            seen == "expired", f"expired at {observed.expires_at}, now {least}", seen, observed.born, *recent, exchange
        )
    elif most is not None and observed.expires_at - 60 <= most < observed.expires_at:
        recent = [move for move in moves if move.is_before(exchange)][-1:]
        yield kept_if(
            seen == "open", f"open until {observed.expires_at}, now {most}", seen, observed.born, *recent, exchange
        )


_HARMLESS = frozenset({oracle.Act.PAYMENT_FAILED, oracle.Act.PAYMENT_CANCELED})


@clause("EXP-8", source=ASSUMED)
def expiring_early_does_not_touch_the_deadline(history: History) -> Findings:
    """Expiring early does not touch `expires_at`."""
    for observed, write, _ in _writes(history, Operation.EXPIRE, "open"):
        if not write.succeeded:
            continue
        expected = observed.first.get("expires_at")
        yield kept_if(
            write.object.get("expires_at") == expected,
            f"expires_at {expected}",
            write.object.get("expires_at"),
            *_before(observed, write),
        )
        for read in observed.reads:
            if write.is_before(read):
                seen = read.object.get("expires_at")
                yield kept_if(seen == expected, f"expires_at {expected}", seen, *_before(observed, write), read)
                break


@clause("PAY-1", source=DOCUMENTED)
def paying_completes(history: History) -> Findings:
    """A successful payment makes an open session `complete` and `paid` (with nothing to pay it stays
    `no_payment_required`); after paying on the page itself the customer goes to `success_url`.
    """
    for observed, write, state in _writes(history, Operation.PAY, "open", act=oracle.Act.PAYMENT_SUCCEEDED):
        after = oracle.step(state, oracle.Act.PAYMENT_SUCCEEDED)
        assert after is not None
        yield kept_if(write.succeeded, "an open session can be paid", write.status, *_before(observed, write))
        if write.succeeded:
            yield from _unchanged(history, observed, write, after)
    yield from paid_on_page(history, "pay-card")


@clause("PAY-2", source=ASSUMED)
def a_complete_session_cannot_be_paid_again(history: History) -> Findings:
    """A complete session cannot be paid again; its hosted page says so."""
    for observed, write, state in _writes(history, Operation.PAY, "complete"):
        yield kept_if(not write.succeeded, "the second payment refused", write.status, *_before(observed, write))
        yield from _nothing_changed(history, observed, write, state)
    for observed, press, state in presses(history, "complete"):
        yield from _nothing_changed(history, observed, press, state)
    yield from _ended_pages(history, "complete", "paid")
    yield from _paid_twice(history)


def _paid_twice(history: History) -> Findings:
    """A session that was pressed to pay twice was paid once: more than one event of it tells otherwise."""
    told = event_ids(history)
    for observed, press, _ in presses(history, "complete"):
        events = told.get(observed.id)
        if events:
            yield kept_if(len(events) == 1, "paid once", f"{len(events)} events", *_before(observed, press))


@clause("PAY-3", source=ASSUMED)
def a_payment_that_fails_leaves_it_open(history: History) -> Findings:
    """A failed or cancelled payment leaves a session `open` and unpaid, and it can be tried again."""
    for act in sorted(_HARMLESS):
        for observed, write, state in _writes(history, Operation.PAY, "open", act=act):
            yield kept_if(write.succeeded, "a payment that may fail", write.status, *_before(observed, write))
            yield from _unchanged(history, observed, write, state)
    for observed, write, _ in _writes(history, Operation.PAY, "open", act=oracle.Act.PAYMENT_SUCCEEDED):
        failed = [w for w in observed.writes if w.is_before(write) and act_of(w) in _HARMLESS]
        if failed:
            yield kept_if(write.succeeded, "success at another try", write.status, *_before(observed, write))
    for observed, press, state in presses(history, "open"):
        if act_of(press) in _HARMLESS:
            yield from _nothing_changed(history, observed, press, state)
    yield from _another_try(history)


def _another_try(history: History) -> Findings:
    """After a failed payment the page still has what it had to pay with, and it works."""
    ledger = history.ledger
    whole: dict[str, Page] = {}
    for observed, exchange, page in views(history, failed=True):
        state = ledger.state_before(observed, exchange)
        if state is None or state.status != "open":
            continue
        failed = [w for w in observed.writes if w.is_before(exchange) and act_of(w) in _HARMLESS]
        before = whole.setdefault(observed.id, page)
        if failed and before is not page and "pay-card" in before.tests:
            story = (observed.born, *failed, exchange)
            yield kept_if("pay-card" in page.tests, "a page to try again at", page.text[:120], *story)
    works = any(ledger.leads_on(observed, p) for observed, p, _ in presses(history, "open") if p.page_act == "pay-card")
    for observed, press, _ in presses(history, "open"):
        failed = [w for w in observed.writes if w.is_before(press) and act_of(w) in _HARMLESS]
        if failed and works and press.page_act == "pay-card":
            led = ledger.leads_on(observed, press)
            yield kept_if(led, "success at another try", ledger.end_of(press).status, *_before(observed, press))


@clause("PAY-4", source=DOCUMENTED, needs=(PAGE,))
def the_open_page_has_a_way_back(history: History) -> Findings:
    """The open page has a way back, to `cancel_url`, exactly when `cancel_url` was given; otherwise it has no link to
    the shop.
    """
    for observed, exchange, page in views(history):
        state = history.ledger.state_before(observed, exchange)
        body = observed.born.request.json
        if state is None or state.status != "open" or not isinstance(body, dict):
            continue
        cancel = body.get("cancel_url")
        shop = [body.get("success_url"), body.get("return_url")]
        hosts = {urlsplit(url).netloc.lower() for url in [cancel, *shop] if isinstance(url, str)}
        back = [link for link in page.links if urlsplit(link).netloc.lower() in hosts]
        if cancel is None:
            yield kept_if(not back, "no link to the shop", back[:1], observed.born, exchange)
        else:
            yield kept_if(cancel in back, f"a link to {cancel}", back[:3] or "none", observed.born, exchange)


@clause("PAY-5", source=DOCUMENTED, needs=(PAGE,))
def the_customer_comes_back(history: History) -> Findings:
    """From the payment method's own page the customer comes back to `return_url`, after authorising or cancelling."""
    yield from _at_the_method(history)
    yield from paid_on_page(history, "authorise")
    for observed, press, state in presses(history, "open"):
        wanted = observed.first.get("return_url")
        if press.page_act == "cancel" and isinstance(wanted, str):
            end = history.ledger.end_of(press)
            location = _left_to(end, wanted)
            if location is not None:
                yield kept_if(location == wanted, f"the customer at {wanted}", location, observed.born, press, end)
                yield from _unchanged(history, observed, press, state)


def _at_the_method(history: History) -> Findings:
    """What leads to the method's page leads to one. A method elsewhere is not looked at."""
    ledger = history.ledger
    for observed in ledger.sessions.values():
        for press in ledger.journeys.get(observed.id, ()):
            state = ledger.state_before(observed, press) if press.page_act == "pay-redirect" else None
            if state is None or state.status != "open":
                continue
            end = ledger.end_of(press)
            page, story = page_of(end), (*_before_page(observed, press), press, *([end] if end is not press else []))
            if end.status in _NO_PAGE:
                yield broken("the payment method's own page", end.status, *story)
            elif page is not None and not page.has_script and "pay-redirect" in page.tests:
                yield kept_if(
                    _AT_METHOD & page.tests.keys(), "the payment method's own page", "the page before", *story
                )


_NO_PAGE: Final = frozenset({404, 405, 410, 500, 501, 502, 504})
_AT_METHOD: Final = frozenset({"authorise", "cancel"})

# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────────


_ACTS: Final = frozenset({"pay-card", "pay-declined", "pay-redirect", "authorise", "cancel"})
"""The `data-testid` of what a customer presses in a form."""


class Page(HTMLParser):
    """What a hosted page shows without running a script: its visible text, its links and its forms."""

    _SILENT = frozenset({"script", "style", "template", "head", "noscript"})
    _VOID = frozenset(
        {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
    )

    def __init__(self, html: str, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.url = url
        self.links: list[str] = []
        self.forms: list[dict[str, str]] = []
        """Of each form: its `action`, absolute, its `method` and `id`, and what it sends unasked as `field:NAME`."""
        self.tests: dict[str, dict[str, str]] = {}
        """What carries a `data-testid`: its attributes, and `form`, the number of the form it is in."""
        self.has_script = False
        self._words: list[str] = []
        self._hidden = 0
        self._form: int | None = None
        self._stack: list[tuple[str, bool]] = []
        self.feed(html)
        self.close()
        for element in self.tests.values():
            owner = element.pop("form-id", None)
            named = [number for number, form in enumerate(self.forms) if form["id"] == owner]
            if named:
                element["form"] = str(named[0])

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._words).split())

    def forms_to_pay(self, session_id: str) -> list[dict[str, str]]:
        """The forms that act on the session: they post to this page or name it. A search or a language does not."""
        of_acts = {element.get("form") for name, element in self.tests.items() if name in _ACTS}

        def acts(form: dict[str, str]) -> bool:
            path = urlsplit(form["action"]).path
            names_it = session_id in path or session_id in form.values()
            return names_it or (form["method"] == "post" and path == urlsplit(self.url).path)

        return [form for number, form in enumerate(self.forms) if str(number) in of_acts or acts(form)]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        hides = (
            tag in self._SILENT
            or "hidden" in attributes
            or "display:none" in attributes.get("style", "").replace(" ", "")
        )
        self.has_script = self.has_script or tag == "script"
        if tag == "form":
            self._form = len(self.forms)
            action = urljoin(self.url, attributes.get("action", ""))
            method = attributes.get("method", "get").lower()
            self.forms.append({"action": action, "method": method, "id": attributes.get("id", "")})
        if tag in {"a", "area"} and "href" in attributes:
            self.links.append(urljoin(self.url, attributes["href"]))
        if tag == "input" and self._form is not None and _is_sent(attributes):
            self.forms[self._form][f"field:{attributes.get('name', '')}"] = attributes.get("value", "")
        if "data-testid" in attributes:
            owner = {"form": str(self._form)} if self._form is not None else {}
            if "form" in attributes:
                owner = {"form-id": attributes.pop("form")}
            self.tests[attributes["data-testid"]] = {**attributes, **owner}
        if tag not in self._VOID:
            self._stack.append((tag, hides))
            self._hidden += hides

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if any(open_tag == tag for open_tag, _ in self._stack):
            while self._stack:
                open_tag, hides = self._stack.pop()
                self._hidden -= hides
                if open_tag == tag:
                    break

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._words.append(data)


def _is_sent(attributes: Mapping[str, str]) -> bool:
    """Whether a browser sends an input with its form, though the customer did nothing to it."""
    kind = attributes.get("type", "text").lower()
    if kind in {"checkbox", "radio"}:
        return "checked" in attributes
    return bool(attributes.get("name")) and kind not in {"submit", "button", "image", "reset", "file"}


def page_of(exchange: Exchange) -> Page | None:
    """The page that an exchange shows, None if it is no HTML."""
    reply = exchange.reply
    if reply is None or "html" not in reply.media_type:
        return None
    return Page(reply.body.decode("utf-8", "replace"), exchange.request.path)


_VIEWS: Final = frozenset({"view", "view, led on"})


def views(history: History, *, failed: bool = False) -> Iterator[tuple[ObservedSession, Exchange, Page]]:
    """The hosted pages that were opened, error pages only if `failed`.

    A page that a script has to draw first cannot be judged without a browser.
    """
    if PAGE not in history.terms.capabilities:
        return
    for exchange in history.exchanges:
        observed = history.ledger.sessions.get(exchange.page_of or "")
        if observed is None or exchange.page_act not in _VIEWS or exchange.reply is None:
            continue
        page = None if 300 <= exchange.reply.status < 400 else page_of(exchange)
        if page is not None and (exchange.succeeded or (failed and not exchange.is_lost)):
            yield observed, exchange, page


def presses(history: History, *statuses: str) -> Iterator[tuple[ObservedSession, Exchange, oracle.State]]:
    """What was pressed on the pages of sessions of a known status, with it."""
    for observed in history.ledger.sessions.values():
        for press in observed.writes:
            if press.operation is not Operation.PAGE or act_of(press) is None or press.is_lost:
                continue
            state = history.ledger.state_before(observed, press)
            if state is not None and state.status in statuses:
                yield observed, press, state


def paid_on_page(history: History, act: str) -> Findings:
    """Judge what comes of paying an open session on its page, or on the payment method's.

    That nothing comes of it is a fault only where the same has worked: a page may ask for more than a form.
    """
    ledger = history.ledger
    name = "success_url" if act == "pay-card" else "return_url"
    tries = [(observed, press, state) for observed, press, state in presses(history, "open") if press.page_act == act]
    works = any(ledger.leads_on(observed, press) for observed, press, _ in tries)
    for observed, press, state in tries:
        end, wanted = ledger.end_of(press), observed.first.get(name)
        location = _left_to(end, wanted) if isinstance(wanted, str) else None
        story = (*_before(observed, press), *([end] if end is not press else []))
        if location is not None:
            yield kept_if(location == wanted, f"the customer at {wanted}", location, *story)
        elif works and end.refused:
            yield broken(f"the customer at {wanted}", end.status, *story)
        after = oracle.step(state, oracle.Act.PAYMENT_SUCCEEDED)
        if location is not None and after is not None:
            yield from _unchanged(history, observed, press, after)


def _left_to(end: Exchange, wanted: str) -> str | None:
    """Where a journey leads: by a redirect, or by what the page at its end holds; None if that cannot be told."""
    location = end.reply.header("location") if end.reply is not None else None
    page = page_of(end)
    if location is not None or page is None or not end.succeeded or page.has_script:
        return location
    # No redirect: then the page itself must send the customer on, by whatever means.
    words = unescape(end.reply.body.decode("utf-8", "replace")) if end.reply is not None else ""
    return wanted if wanted in words else f"nowhere: {page.text[:80]!r}"
