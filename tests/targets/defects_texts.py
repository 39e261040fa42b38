"""Defects of texts: keys, filters and addresses that are cut, stripped or taken for others, and what is not escaped."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from tests.targets.defects_states import drawn
from tests.targets.tampering import Defect, Inner, Tampering, both, request, result, wrapped
from tests.targets.values import Account, Answer, HangUp, Request, Session, invalid

Change = Callable[[str], str]


def key_as(change: Change) -> Tampering:
    """Idempotency keys are taken for what is left of them; one of which nothing is left, as it is."""
    return wrapped("checked_key", lambda inner, key: inner(change(key) or key))


def without_key(sign: str) -> Tampering:
    """Idempotency keys with a sign are refused."""

    def checked(inner: Inner, key: str) -> str:
        if sign in key:
            raise invalid("Idempotency-Key has a sign that is not allowed.", "Idempotency-Key")
        return str(inner(key))

    return wrapped("checked_key", checked)


def filters_as(change: Change, *, of: str) -> Tampering:
    """The filters whose names begin so are taken for others."""
    return wrapped(
        "filters",
        lambda inner, query: inner(
            {name: change(value) if name.startswith(of) else value for name, value in query.items()}
        ),
    )


def asked_as(change: Change, *, of: str) -> Tampering:
    """The parameters of a list whose names begin so are taken for others."""
    return wrapped(
        "list",
        lambda inner, account, query: inner(
            account, {name: change(value) if name.startswith(of) else value for name, value in query.items()}
        ),
    )


def beginning(status: str) -> str:
    return next((word for word in ("open", "complete", "expired") if status and word.startswith(status)), status)


def epoch_of(moment: str) -> str:
    if "T" in moment:
        with suppress(ValueError):
            return str(int(datetime.fromisoformat(moment).timestamp()))
    return moment


def acts_by_get(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Any:
    act = dict(parse_qsl(seen.query)).get("act")
    if seen.method == "GET" and act and session["status"] == "open":
        return Answer(303, {"Location": inner.server.pressed(account, session, act)}, "")
    return inner(account, session, step, seen)


def hrefs(quote: str) -> Tampering:
    """Links stand between such quotes, and quotes in them are not escaped."""

    def written(found: re.Match[str]) -> str:
        return f"href={quote}{html.escape(html.unescape(found[1]), quote=False)}{quote}"

    return result("drawn", lambda text: re.sub('href="([^"]*)"', written, text))


def titled(quote: str) -> Tampering:
    """Each line has its description once more in an attribute, between quotes that are not escaped there."""

    def drawn(inner: Inner, session: Session, step: str) -> str:
        text = str(inner(session, step))
        for line in session["line_items"]["data"]:
            shown = html.escape(line["description"])
            title = shown.replace(html.escape(quote), quote)
            item = f"{line['quantity']} x {shown}</li>"
            text = text.replace(f"<li>{item}", f"<li title={quote}{title}{quote}>{item}")
        return text

    return wrapped("drawn", drawn)


def with_next(inner: Inner, session: Session, step: str) -> str:
    """The forms hold where to go next, which is not escaped."""
    field = f'<input type=hidden name=next value="{session["success_url"]}">'
    return str(inner(session, step)).replace("<input type=hidden name=act", f"{field}<input type=hidden name=act")


def to_next(inner: Inner, account: Account, session: Session, step: str, seen: Request) -> Answer:
    answer: Answer = inner(account, session, step, seen)
    given = dict(parse_qsl(seen.body.decode())).get("next")
    leads_there = answer.headers.get("Location") == session["success_url"]
    return replace(answer, headers={"Location": given}) if given and leads_there else answer


def no_https(inner: Inner, url: str, name: str) -> bool:
    return bool(inner(url, name)) and not (name == "cancel_url" and url.lower().startswith("https:"))


def no_two_alike(inner: Inner, account: Account, body: Any) -> Session:
    if isinstance(body, dict) and body.get("cancel_url") in {body.get("return_url"), body.get("success_url")} - {None}:
        raise invalid("cancel_url must differ from the other URLs.", "cancel_url")
    return dict(inner(account, body))


def hangs_up_above(size: int) -> Tampering:
    def change(_: object, seen: Request) -> Request:
        if len(seen.body) > size:
            raise HangUp
        return seen

    return request(change)


def described_as(change: Change) -> Tampering:
    """The descriptions on a page."""
    return drawn(
        lambda session: {
            "line_items": {
                "data": [{**line, "description": change(line["description"])} for line in session["line_items"]["data"]]
            }
        }
    )


def odd_brackets(_: object, seen: Request) -> Request:
    if any(unquote(name).count("[") != unquote(name).count("]") for name, _ in parse_qsl(seen.query)):
        raise KeyError(seen.query)
    return seen


def beyond_ascii(_: object, seen: Request) -> Request:
    (seen.headers["Authorization"] or "").encode("ascii")
    return seen


def without_signs(sign: str) -> Callable[..., bool]:
    """Whether a URL fits, whose host may have a sign."""

    def fits(inner: Inner, url: str, name: str) -> bool:
        start, slashes, rest = url.partition("://")
        host, slash, path = rest.partition("/")
        return bool(inner(f"{start}{slashes}{host.replace(sign, 'x')}{slash}{path}", name))

    return fits


def one_of_json(inner: Inner, body: Any) -> Any:
    if isinstance(body.get("line_items"), str):
        with suppress(ValueError):
            body = {**body, "line_items": json.loads(body["line_items"])}
    return inner(body)


TEXT_DEFECTS: Final = {
    "page with a backslash crashes": Defect("CRE-9", described_as(lambda text: re.sub("x", text, "x"))),
    "escapes on the page resolved": Defect("PAY-7", described_as(lambda text: text.replace(r"\\", "\\"))),
    "percent signs on the page halved": Defect("PAY-7", described_as(lambda text: re.sub("%[sd]", "", text))),
    "braces on the page filled in": Defect("PAY-7", described_as(lambda text: re.sub(r"\{\w*\}", "", text))),
    "dollars on the page filled in": Defect("PAY-7", described_as(lambda text: re.sub(r"\$[&1$]", "", text))),
    "backslash of a key dropped": Defect("IDM-2", key_as(lambda key: key.replace("\\", ""))),
    "slash of a key dropped": Defect("IDM-2", key_as(lambda key: key.replace("/", ""))),
    "500 on a bracket alone": Defect("HTTP-6", request(odd_brackets)),
    "500 on credentials beyond ASCII": Defect("HTTP-6", request(beyond_ascii)),
    "blanks around a limit dropped": Defect("LIS-2", asked_as(str.strip, of="limit")),
    "blanks around bounds dropped": Defect("LIS-15", asked_as(str.strip, of="created")),
    "blanks around cursors dropped": Defect(
        "LIS-13", both(asked_as(str.strip, of="starting"), asked_as(str.strip, of="ending"))
    ),
    "name of a method taken for a currency": Defect(
        "CRE-12", wrapped("currency", lambda inner, code, path: code if code == "constructor" else inner(code, path))
    ),
    "method of an object retrieved": Defect(
        "RET-2",
        wrapped("retrieve", lambda inner, account, wanted: {} if wanted == "constructor" else inner(account, wanted)),
    ),
    "underscore in a host accepted": Defect("CRE-15", wrapped("url_fits", without_signs("_"))),
    "umlaut in a host accepted": Defect("CRE-15", wrapped("url_fits", without_signs("\u00fc"))),
    "line_items as JSON in a text": Defect("CRE-18", wrapped("lines", one_of_json)),
    "extension of an id dropped": Defect(
        "RET-2", wrapped("retrieve", lambda inner, account, wanted: inner(account, wanted.removesuffix(".json")))
    ),
    "path of an endpoint in lower case": Defect(
        "EVT-6",
        wrapped("post", lambda inner, endpoint, told: inner({**endpoint, "url": endpoint["url"].lower()}, told)),
    ),
    "query of an endpoint in lower case": Defect(
        "EVT-6",
        wrapped(
            "post",
            lambda inner, endpoint, told: inner(
                {**endpoint, "url": re.sub(r"\?.*", lambda query: query[0].lower(), endpoint["url"])}, told
            ),
        ),
    ),
    "bodies read as Latin-1": Defect(
        "AMT-5", request(lambda _, seen: replace(seen, body=seen.body.decode("latin-1").encode()))
    ),
    "key cut at an equals sign": Defect("IDM-2", key_as(lambda key: key.partition("=")[0])),
    "key cut at a slash": Defect("IDM-2", key_as(lambda key: key.partition("/")[0])),
    "last of several keys": Defect("IDM-2", key_as(lambda key: key.rpartition(",")[2])),
    "semicolon around a key dropped": Defect("IDM-2", key_as(lambda key: key.strip(";"))),
    "apostrophes around a key dropped": Defect("IDM-2", key_as(lambda key: key.strip("'"))),
    "key with a comma refused": Defect("IDM-2", without_key(",")),
    "beginning of a status": Defect("LIS-15", filters_as(beginning, of="status")),
    "another word for a status": Defect(
        "LIS-15", filters_as(lambda status: status.replace("cancelled", "expired"), of="status")
    ),
    "status with a capital": Defect(
        "LIS-15", filters_as(lambda status: status.lower() if status.istitle() else status, of="status")
    ),
    "dates as bounds": Defect("LIS-15", filters_as(epoch_of, of="created")),
    "get of the page pays": Defect("PAY-6", wrapped("page_of", acts_by_get)),
    "quotes of the way back not escaped": Defect("PAY-4", hrefs('"')),
    "way back between apostrophes": Defect("PAY-4", hrefs("'")),
    "quotes of a title not escaped": Defect("PAY-7", titled('"')),
    "apostrophes of a title not escaped": Defect("PAY-7", titled("'")),
    "success_url in a field not escaped": Defect(
        "PAY-1", both(wrapped("drawn", with_next), wrapped("page_of", to_next))
    ),
    "cancel_url over https refused": Defect("CRE-15", wrapped("url_fits", no_https)),
    "two URLs alike refused": Defect("CRE-15", wrapped("create", no_two_alike)),
    "hangs up above 20 MiB": Defect("HTTP-6", hangs_up_above(20 * 2**20)),
}
