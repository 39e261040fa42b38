"""The reference model, written from the documents and not from any implementation.

Three questions, each a pure function:

- `step`: what may become of a session's status, and what is refused;
- `mistakes`: what is wrong with a request to create one, and which clause says so;
- `features_of`: what is special about a request that has nothing wrong with it, and which clause allows it.

What the documents leave open is *open* here too: such a request is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from qashier_contract.document import currencies
from qashier_contract.values import NOT_JSON, Json, as_words

LATEST: Final = 4_102_444_800
"""The last time that the document takes, epoch seconds."""
SHORTEST_LIFE: Final = 1_800
"""Seconds from creation to the earliest `expires_at` (CRE-7)."""
LONGEST_LIFE: Final = 86_400
"""Seconds from creation to the latest `expires_at`, which is also the default (CRE-5, CRE-7)."""
KEY_MEMORY: Final = 86_400
"""Seconds from the first answer until an idempotency key is forgotten (IDM-4)."""
KEY_LENGTH: Final = 255
UNKNOWN_FIELD: Final = "a field that no document names, which is ignored or refused"
NOT_JUDGED: Final = "`customer_email`, which a target takes, ignores or refuses"
UNIT_AMOUNT_MOST: Final = 99_999_999
QUANTITY_MOST: Final = 10_000
LINES_MOST: Final = 100
NAME_MOST: Final = 250
DESCRIPTION_MOST: Final = 1_000
URL_MOST: Final = 2_048
BODY_MOST: Final = 2 * 1024 * 1024
LIMIT_MOST: Final = 100
LIMIT_DEFAULT: Final = 10

URL: Final = re.compile(
    r"[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?([/?#][!-\[\]-~]*)?"
)
_PLAIN_URL: Final = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+/[A-Za-z0-9/_.-]*")

# ── lifecycle ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Act(StrEnum):
    """What can happen to a session."""

    PAYMENT_SUCCEEDED = "payment_succeeded"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_CANCELED = "payment_canceled"
    EXPIRE_REQUESTED = "expire_requested"
    DEADLINE_PASSED = "deadline_passed"


class State(NamedTuple):
    """The two properties of a session that can change."""

    status: str
    payment_status: str


def opened(total: int) -> State:
    """How a session begins (CRE-3, AMT-6)."""
    return State("open", "unpaid" if total else "no_payment_required")


def step(state: State, act: Act) -> State | None:
    """What an act makes of a session, or None where it is refused and nothing changes (EXP-1 to 5, PAY-1 to 3)."""
    if state.status != "open":
        return None
    if act is Act.PAYMENT_SUCCEEDED:
        free = state.payment_status == "no_payment_required"
        return State("complete", "no_payment_required" if free else "paid")
    if act in {Act.PAYMENT_FAILED, Act.PAYMENT_CANCELED}:
        return state
    return State("expired", state.payment_status)


EVENTS_OF: Final = {"complete": "checkout.session.completed", "expired": "checkout.session.expired"}
"""The type of the event that a session sends when it becomes so (EVT-2); no other change sends one (EVT-5)."""


# ── requests to create ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a request: the clause that says so, the path of the field, and why.

    `breaks_schema` says whether a schema of the document refuses it besides the clause, so that either status is right.
    """

    clause: str
    path: str
    reason: str
    breaks_schema: bool = False


class Open(Exception):
    """The documents do not say whether this request is right."""


def mistakes(
    body: Json, *, earliest: int | None = None, latest: int | None = None, unknown_fields: str | None = None
) -> tuple[Mistake, ...]:
    """Everything that is wrong with a body for create.

    Args:
        body: The parsed body, `NOT_JSON` if it is none.
        earliest: The least that the server's clock can have shown, epoch seconds; None if unknown.
        latest: The most that it can have shown.
        unknown_fields: What becomes of a field that no document names: `ignore`, `reject`; None if that is open.

    Raises:
        Open: It may be right or wrong: the documents, or our knowledge of the server's clock, leave it open.
    """
    found = list(_body_mistakes(body, earliest, latest))
    if unknown_fields is not None:
        unknown = [mistake for mistake in found if mistake.reason == UNKNOWN_FIELD]
        found = [mistake for mistake in found if mistake not in unknown]
        if unknown_fields == "reject":
            found += [replace(mistake, clause="CRE-1") for mistake in unknown]
    real = tuple(mistake for mistake in found if mistake.clause)
    if not real and found:
        raise Open(found[0].reason)
    return real


def leaves_open(body: Json, *reasons: str) -> bool:
    """Whether a body has something that is left open for one of these reasons: `UNKNOWN_FIELD`, `NOT_JUDGED`."""
    return any(mistake.reason in reasons for mistake in _body_mistakes(body, None, None))


def _open(path: str, reason: str) -> Mistake:
    """A mistake against no clause marks what is left open."""
    return Mistake("", path, reason)


def _body_mistakes(body: Json, earliest: int | None, latest: int | None) -> Iterator[Mistake]:
    if body is NOT_JSON:
        yield Mistake("HTTP-4", "", "the body is not JSON")
        return
    if not isinstance(body, dict):
        yield Mistake("CRE-18", "", "the body is not an object")
        return
    for name in ("line_items", "success_url", "return_url"):
        if name not in body:
            yield Mistake("CRE-2", name, f"{name} is missing")
    for name in ("success_url", "return_url", "cancel_url"):
        if name in body:
            yield from _url_mistakes(name, body[name])
    if "expires_at" in body:
        yield from _expiry_mistakes(body["expires_at"], earliest, latest)
    if "line_items" in body:
        yield from _lines_mistakes(body["line_items"])
    if "customer_email" in body:
        yield _open("customer_email", NOT_JUDGED)
    known = {"line_items", "success_url", "return_url", "cancel_url", "expires_at", "customer_email"}
    yield from _unknown(body, known, "")


def _url_mistakes(path: str, url: Json) -> Iterator[Mistake]:
    if not isinstance(url, str):
        yield Mistake("CRE-18", path, "not a string")
        return
    if not url or len(url) > URL_MOST:
        yield Mistake("CRE-19", path, f"{len(url)} characters")
    if not URL.fullmatch(url):
        yield Mistake("CRE-15", path, f"{as_words(url, most=60)} is not an absolute http(s) URL")


def _expiry_mistakes(expires_at: Json, earliest: int | None, latest: int | None) -> Iterator[Mistake]:
    if isinstance(expires_at, float) and expires_at.is_integer():
        yield _open("expires_at", "whether 2.0 is an integer")
        return
    if isinstance(expires_at, bool) or not isinstance(expires_at, int):
        yield Mistake("CRE-18", "expires_at", "not an integer")
        return
    is_no_time = not 0 <= expires_at <= LATEST
    # With the server's now somewhere in [earliest, latest], only what holds at both ends is certain.
    if earliest is None or latest is None:
        if expires_at < 10**9 or expires_at > LATEST:
            yield Mistake("CRE-7", "expires_at", "years away from any clock", is_no_time)
        else:
            yield _open("expires_at", "the server's clock is not known")
        return
    if expires_at < earliest + SHORTEST_LIFE or expires_at > latest + LONGEST_LIFE:
        yield Mistake("CRE-7", "expires_at", f"{expires_at - earliest} s after creation", is_no_time)
    elif expires_at < latest + SHORTEST_LIFE or expires_at > earliest + LONGEST_LIFE:
        yield _open("expires_at", "the server's clock is not known to the second")


def _lines_mistakes(lines: Json) -> Iterator[Mistake]:
    if not isinstance(lines, list):
        yield Mistake("CRE-18", "line_items", "not an array")
        return
    if not 1 <= len(lines) <= LINES_MOST:
        yield Mistake("CRE-14", "line_items", f"{len(lines)} lines")
    codes: list[str] = []
    for index, line in enumerate(lines):
        path = f"line_items[{index}]"
        if not isinstance(line, dict):
            yield Mistake("CRE-18", path, "not an object")
            continue
        yield from _integer_mistakes(line, "quantity", path, 1, QUANTITY_MOST)
        yield from _unknown(line, {"price_data", "quantity"}, path)
        price = line.get("price_data")
        if "price_data" not in line:
            yield Mistake("CRE-16", f"{path}.price_data", "missing")
        elif not isinstance(price, dict):
            yield Mistake("CRE-18", f"{path}.price_data", "not an object")
        else:
            yield from _price_mistakes(price, f"{path}.price_data")
            if isinstance(price.get("currency"), str):
                codes.append(price["currency"])
    if len(set(codes)) > 1:
        yield Mistake("CRE-13", "line_items", f"currencies {as_words(sorted(set(codes)))}")


def _price_mistakes(price: Mapping[str, Json], path: str) -> Iterator[Mistake]:
    yield from _unknown(price, {"currency", "product_data", "unit_amount"}, path)
    yield from _integer_mistakes(price, "unit_amount", path, 0, UNIT_AMOUNT_MOST)
    if "currency" not in price:
        yield Mistake("CRE-16", f"{path}.currency", "missing")
    elif not isinstance(price["currency"], str):
        yield Mistake("CRE-18", f"{path}.currency", "not a string")
        if price["currency"] is not None:
            yield Mistake("CRE-12", f"{path}.currency", "not a string")
    elif price["currency"] not in currencies():
        yield Mistake("CRE-12", f"{path}.currency", f"{as_words(price['currency'], most=20)} is no ISO 4217 code")
    product = price.get("product_data")
    path = f"{path}.product_data"
    if "product_data" not in price:
        yield Mistake("CRE-16", path, "missing")
    elif not isinstance(product, dict):
        yield Mistake("CRE-18", path, "not an object")
    else:
        yield from _unknown(product, {"name", "description"}, path)
        yield from _text_mistakes(product, "name", path, NAME_MOST)
        if "name" not in product:
            yield Mistake("CRE-16", f"{path}.name", "missing")
        yield from _text_mistakes(product, "description", path, DESCRIPTION_MOST)


def _integer_mistakes(holder: Mapping[str, Json], name: str, path: str, least: int, most: int) -> Iterator[Mistake]:
    path = f"{path}.{name}"
    if name not in holder:
        yield Mistake("CRE-16", path, "missing")
        return
    value = holder[name]
    if value is None:
        yield Mistake("CRE-18", path, "null")
    elif isinstance(value, float) and value.is_integer() and least <= value <= most:
        yield _open(path, "whether 2.0 is an integer")
    elif isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        yield Mistake("CRE-11", path, f"{as_words(value, most=40)} is not an integer from {least} to {most}")


def _text_mistakes(holder: Mapping[str, Json], name: str, path: str, most: int) -> Iterator[Mistake]:
    if name not in holder:
        return
    text = holder[name]
    if not isinstance(text, str):
        yield Mistake("CRE-18", f"{path}.{name}", "not a string")
    elif not 1 <= len(text) <= most:
        yield Mistake("CRE-19", f"{path}.{name}", f"{len(text)} characters")
    elif any(
        "\ud800" <= character <= "\udfff" or (character < " " and character not in "\t\n\r") for character in text
    ):
        yield _open(f"{path}.{name}", "half a surrogate pair, or a control character that is no white space")


def _unknown(holder: Mapping[str, Json], known: set[str], path: str) -> Iterator[Mistake]:
    for name in holder:
        if name not in known:
            yield _open(f"{path}.{name}".removeprefix("."), UNKNOWN_FIELD)


def features_of(body: Mapping[str, Json], *, key: str | None = None, earliest: int | None = None) -> dict[str, str]:
    """What is special about a body without mistakes: each feature, and the clause that allows it.

    A refusal breaks the clauses of those features that the target accepts in no other request.
    """
    features: dict[str, str] = {}
    lines: Sequence[Json] = body["line_items"]
    if len(lines) > 1:
        features["several lines"] = "CRE-14"
    if len(lines) == LINES_MOST:
        features[f"{LINES_MOST} lines"] = "CRE-14"
    total = sum(line["price_data"]["unit_amount"] * line["quantity"] for line in lines)
    if total == 0:
        features["total 0"] = "AMT-6"
    for line in lines:
        features.update(_line_features(line))
    if total >= 2**31:
        features["total above 31 bits"] = "AMT-7"
    urls = {name: body[name] for name in ("success_url", "return_url", "cancel_url") if name in body}
    for name, url in urls.items():
        features.update(_url_features(name, url))
        features.update((f"{name} like {other}", "CRE-15") for other in urls if name < other and urls[other] == url)
    features["cancel_url" if "cancel_url" in body else "no cancel_url"] = "CRE-17"
    if "expires_at" in body:
        observed = body["expires_at"] - (body["expires_at"] if earliest is None else earliest)
        bound = {SHORTEST_LIFE: "expires_at at its lower bound", LONGEST_LIFE: "expires_at at its upper bound"}.get(
            observed
        )
        features[bound or "expires_at"] = "CRE-7" if bound else "CRE-6"
    if key is not None:
        is_longest = len(key) == KEY_LENGTH
        features[f"key of {KEY_LENGTH} characters" if is_longest else "key"] = "IDM-3" if is_longest else "IDM-2"
        features.update((f"key with {sign}", "IDM-2") for sign in set(key) if not sign.isalnum())
    return features


def _line_features(line: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    price, product = line["price_data"], line["price_data"]["product_data"]
    if price["unit_amount"] in {0, UNIT_AMOUNT_MOST}:
        yield f"unit_amount {price['unit_amount']}", "CRE-11"
    if line["quantity"] == QUANTITY_MOST:
        yield f"quantity {QUANTITY_MOST}", "CRE-11"
    if "description" not in product:
        yield "no description", "CRE-16"
    else:
        yield "description", "CRE-16"
    for name, most in (("name", NAME_MOST), ("description", DESCRIPTION_MOST)):
        text = product.get(name, "")
        if len(text) in {1, most}:
            yield f"{name} of {len(text)} characters", "CRE-19"
        if any(ord(character) > 0xFFFF for character in text) and len(text) == most:
            yield f"{name} of {most} characters beyond the basic plane", "CRE-19"
        if not text.isascii():
            yield f"{name} beyond ASCII", "CRE-19"


def _url_features(name: str, url: str) -> Iterator[tuple[str, str]]:
    if name == "cancel_url":  # the others are in every request
        yield f"{name} by {url.partition(':')[0].lower()}", "CRE-15"
    if len(url) == URL_MOST:
        yield f"{name} of {URL_MOST} characters", "CRE-19"
    elif not _PLAIN_URL.fullmatch(url):
        yield f"{name} like {url[:80]}", "CRE-15"


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of list. `created` maps gt, gte, lt, lte to epoch seconds."""

    limit: int = LIMIT_DEFAULT
    starting_after: str | None = None
    ending_before: str | None = None
    status: str | None = None
    created: tuple[tuple[str, int], ...] = ()

    @property
    def cursor(self) -> str | None:
        return self.ending_before if self.starting_after is None else self.starting_after

    def keeps(self, created: int) -> bool:
        """Whether the interval holds a creation time (LIS-9)."""
        compare = {"gt": int.__gt__, "gte": int.__ge__, "lt": int.__lt__, "lte": int.__le__}
        return all(compare[bound](created, epoch) for bound, epoch in self.created)
