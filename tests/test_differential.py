"""The compiled pipeline against plain Connexion: same documents, same handlers, a corpus of requests.

Both must accept and refuse the same requests. Where they do not, the difference is wanted, has a name, and is listed
here with what either does; a difference that has gone is as much a failure as a new one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline_harness import OPENAPI, CredentialsMissing, Hooks, ask

from qashier_mock.pipeline.app import create_pipeline
from qashier_mock.pipeline.document import Document
from qashier_mock.pipeline.exchange import Call
from qashier_mock.pipeline.framework import METHODS, Resolver
from qashier_mock.pipeline.reply import Reply

KEY = b"Bearer sk_test_a"
GOOD: dict[str, Any] = {
    "line_items": [
        {
            "price_data": {
                "currency": "SGD",
                "product_data": {"name": "Kopi", "description": "black"},
                "unit_amount": 180,
            },
            "quantity": 2,
        }
    ],
    "success_url": "https://shop.example/thanks",
    "return_url": "https://shop.example/order",
    "cancel_url": "https://shop.example/cart",
    "expires_at": 1767225600,
}
SESSIONS = "/checkout/sessions"


class Case(NamedTuple):
    """One request."""

    name: str
    method: str
    target: str
    body: bytes | None = None
    headers: Sequence[tuple[bytes, bytes]] = ()
    key: bytes | None = KEY
    chunks: Sequence[bytes] | None = None


class KeyHooks(Hooks):
    """Hooks that take any bearer token of a test key."""

    def authenticate(self, authorization: Sequence[bytes]) -> Any:
        if len(authorization) != 1 or not authorization[0].startswith(b"Bearer sk_test_"):
            raise CredentialsMissing
        return "acct_1"


def operations(document: dict[str, Any]) -> list[str]:
    return [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method in METHODS
    ]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Both documents in one, so that one corpus covers both."""
    merged: dict[str, Any] = copy.deepcopy(dict(Document.load(OPENAPI / "control.yaml").content))
    public = copy.deepcopy(dict(Document.load(OPENAPI / "qashier.yaml").content))
    merged["paths"].update(public["paths"])
    for section, entries in public["components"].items():
        merged["components"].setdefault(section, {}).update(entries)
    del merged["components"]["securitySchemes"]["basic"]
    merged["security"] = [{"bearer": []}]
    return merged


@pytest.fixture(scope="module")
def ours(document: dict[str, Any]) -> Any:
    async def handler(call: Call, **_: Any) -> Reply:
        return Reply(200, {"operation": call.operation_id})

    return create_pipeline([(Document(document), [""])], dict.fromkeys(operations(document), handler), KeyHooks())


@pytest.fixture(scope="module")
def reference(document: dict[str, Any]) -> Any:
    import connexion  # noqa: PLC0415 - slow to import

    async def handler(**_: Any) -> tuple[dict[str, str], int]:
        return {"operation": "some"}, 200

    changed = copy.deepcopy(document)
    changed["components"]["securitySchemes"]["bearer"]["x-bearerInfoFunc"] = "pipeline_harness.bearer_info"
    app = connexion.AsyncApp(__name__)
    app.add_api(changed, resolver=Resolver(lambda _: handler), base_path="")
    return app


def outcome(app: Any, case: Case) -> str:
    answer = ask(app, case.method, case.target, body=case.body, headers=case.headers, key=case.key, chunks=case.chunks)
    if answer.status >= 500:
        return "fails"
    return "accepts" if answer.status < 400 else "refuses"


def create(name: str, body: Any, *headers: tuple[bytes, bytes]) -> Case:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Case(f"create: {name}", "POST", SESSIONS, raw, headers)


def at(document: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        document = document[step]
    return document


def mutations(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every value of a body once left out, once repeated as a list, once replaced by each of the usual suspects."""
    suspects: list[Any] = [
        None, True, False, 0, 1, -1, 1.5, 2.0, 10**20, "", " ", "x", "x" * 300, "x" * 3000, [], [1], {}, {"a": 1},
        "SGD", "SG", "sgd", "XYZ", "https://a.example", "http://a", "ftp://a.example", "https://", "//a.example",
        "javascript:alert(1)", "https://a.example/ b", "https://a.example/é", "HTTPS://A.EXAMPLE:1/{x}", "é",
        100, 10_000, 10_001, 99_999_999, 100_000_000, 4102444800, 4102444801, "2", "1767225600", "😀" * 250,
    ]  # fmt: skip
    if path:
        label = ".".join(map(str, path))
        for suspect in suspects:
            changed = copy.deepcopy(GOOD)
            at(changed, path[:-1])[path[-1]] = suspect
            yield f"{label} = {json.dumps(suspect)[:20]}", changed
        changed = copy.deepcopy(GOOD)
        del at(changed, path[:-1])[path[-1]]
        yield f"{label} left out", changed
        changed = copy.deepcopy(GOOD)
        at(changed, path[:-1])[path[-1]] = [value, value]
        yield f"{label} twice", changed
    if isinstance(value, dict):
        for key, sub in value.items():
            yield from mutations(sub, (*path, key))
        changed = copy.deepcopy(GOOD)
        at(changed, path)["unknown"] = 1
        yield f"{'.'.join(map(str, path))}.unknown", changed
    elif isinstance(value, list):
        yield from mutations(value[0], (*path, 0))


QUERIES = [
    "", "limit=1", "limit=100", "limit=0", "limit=101", "limit=-1", "limit=", "limit=abc", "limit=1.0", "limit=1e1",
    "limit=99999999999999999999", "status=open", "status=complete", "status=expired", "status=paid", "status=",
    "created[gte]=1", "created[gt]=1&created[lt]=2", "created%5Blte%5D=4102444800", "created[gte]=abc",
    "created[gte]=-1", "created[gte]=", "created[gte]=4102444801",
    "starting_after=cs_test_a", "ending_before=cs_test_b", "starting_after=a&ending_before=b", "starting_after=",
    "starting_after=%00", "limit=5&status=open&created[gte]=1&starting_after=x",
]  # fmt: skip
KEYS = [b"a", b"a" * 255, b"a" * 256, b"a b", b"~!", b"\x7f"]
CONTROL: list[tuple[str, str, Any]] = [
    ("POST", "/_mock/v1/sessions/a/pay", {"outcome": "succeeded"}),
    ("POST", "/_mock/v1/sessions/a/pay", {"outcome": "stolen"}),
    ("POST", "/_mock/v1/sessions/a/pay", {}),
    ("POST", "/_mock/v1/sessions/a/pay", []),
    ("PUT", "/_mock/v1/clock", {"now": 1767225600}),
    ("PUT", "/_mock/v1/clock", {"frozen": True}),
    ("PUT", "/_mock/v1/clock", {"frozen": "yes"}),
    ("PUT", "/_mock/v1/clock", {"now": 1.5}),
    ("POST", "/_mock/v1/clock/advance", {"seconds": 1}),
    ("POST", "/_mock/v1/clock/advance", {"seconds": -1}),
    ("POST", "/_mock/v1/clock/advance", {"seconds": "1"}),
    ("POST", "/_mock/v1/webhook-endpoints", {"url": "http://127.0.0.1:1/hook"}),
    ("POST", "/_mock/v1/webhook-endpoints", {"url": "nowhere"}),
    ("POST", "/_mock/v1/webhook-endpoints", {"url": "http://a.example", "secret": "", "types": ["x"]}),
    ("PUT", "/_mock/v1/settings", {"strict": True, "seed": 5}),
    ("PUT", "/_mock/v1/settings", {"strict": 1}),
    ("PUT", "/_mock/v1/settings", {"seed": None}),
    ("POST", "/_mock/v1/faults", {}),
    ("POST", "/_mock/v1/faults", {"times": 0}),
    ("GET", "/_mock/v1/health", None),
    ("GET", "/_mock/v1/clock", None),
    ("GET", "/_mock/v1/events", None),
    ("GET", "/_mock/v1/events?session=cs_test_a", None),
    ("GET", "/_mock/v1/events?type=checkout.session.expired", None),
    ("GET", "/_mock/v1/events?type=checkout.session.paid", None),
    ("DELETE", "/_mock/v1/faults", None),
    ("DELETE", "/_mock/v1/webhook-endpoints/we_1", None),
    ("POST", "/_mock/v1/deliveries/flush", None),
    ("POST", "/_mock/v1/events/evt_1/deliver", None),
    ("POST", "/_mock/v1/reset", None),
    ("GET", "/_mock/v1/snapshot", None),
    ("PUT", "/_mock/v1/snapshot", {}),
]
ENCODED = json.dumps(GOOD).encode()
JSON_HEADER = (b"content-type", b"application/json")

CORPUS: list[Case] = [
    *(create(name, body, JSON_HEADER) for name, body in mutations(GOOD)),
    *(Case(f"list: {query}", "GET", f"{SESSIONS}?{query}") for query in QUERIES),
    *(Case(f"key: {key[:9]!r}, {len(key)}", "POST", SESSIONS, ENCODED, [JSON_HEADER, (b"idempotency-key", key)])
      for key in KEYS),
    *(Case(f"{method} {path} {json.dumps(body)}", method, path, None if body is None else json.dumps(body).encode(),
           () if body is None else [JSON_HEADER]) for method, path, body in CONTROL),
    create("as it is", GOOD, JSON_HEADER),
    create("null", b"null", JSON_HEADER),
    create("not JSON", b"{", JSON_HEADER),
    create("NaN", ENCODED.replace(b"180", b"NaN"), JSON_HEADER),
    create("1e400", ENCODED.replace(b"180", b"1e400"), JSON_HEADER),
    create("byte order mark", b"\xef\xbb\xbf" + ENCODED, JSON_HEADER),
    create("duplicate keys", ENCODED[:-1] + b',"success_url":"https://b.example"}', JSON_HEADER),
    create("text", ENCODED, (b"content-type", b"text/plain")),
    create("charset", ENCODED, (b"content-type", b"application/json; charset=utf-8")),
    Case("retrieve", "GET", f"{SESSIONS}/cs_test_a"),
    Case("retrieve: encoded slash", "GET", f"{SESSIONS}/a%2Fb"),
    Case("expire", "POST", f"{SESSIONS}/cs_test_a/expire"),
    Case("expire: a body", "POST", f"{SESSIONS}/a/expire", b'{"a":1}', [JSON_HEADER]),
    Case("expire: a body that is no JSON", "POST", f"{SESSIONS}/a/expire", b"x", [(b"content-type", b"text/plain")]),
    Case("unknown path", "GET", "/nothing"),
    Case("unknown method", "DELETE", SESSIONS),
    Case("no credentials", "GET", SESSIONS, key=None),
    Case("wrong key", "GET", SESSIONS, key=b"Bearer sk_wrong"),
    Case("another scheme", "GET", SESSIONS, key=b"Digest sk_test_a"),
    Case("one word", "GET", SESSIONS, key=b"Bearer"),
    Case("open to all", "GET", "/_mock/v1/health", key=None),
]  # fmt: skip

# Name of the difference, what Connexion does, the requests that show it. We do the other thing: refuse what it accepts
# or fails at, accept what it refuses.
DIFFERENCES: list[tuple[str, str, list[Case]]] = [
    (
        "integers are written as in JSON, not as in Python",
        "accepts",
        [
            Case("underscore", "GET", f"{SESSIONS}?limit=1_0"),
            Case("plus", "GET", f"{SESSIONS}?limit=%2B10"),
            Case("blank", "GET", f"{SESSIONS}?limit=%2010"),
            Case("Arabic", "GET", f"{SESSIONS}?limit=%D9%A1"),
            Case("leading zero", "GET", f"{SESSIONS}?limit=010"),
            Case("within created", "GET", f"{SESSIONS}?created[gte]=1_0"),
        ],
    ),
    (
        "a parameter comes once",
        "accepts",
        [
            Case("twice", "GET", f"{SESSIONS}?limit=1&limit=2"),
            Case("twice, the first one wrong", "GET", f"{SESSIONS}?limit=x&limit=2"),
            Case("a bound twice", "GET", f"{SESSIONS}?created[gte]=x&created[gte]=1"),
            Case("a key twice", "POST", f"{SESSIONS}/a/expire",
                 headers=[(b"idempotency-key", b"a"), (b"idempotency-key", b"b")]),
        ],
    ),
    (
        "an unknown query parameter is refused",
        "accepts",
        [
            Case("unknown", "GET", f"{SESSIONS}?x=1"),
            Case("on an operation without any", "GET", f"{SESSIONS}/a?expand=1"),
            Case("brackets where none belong", "GET", f"{SESSIONS}?limit[a]=1"),
            Case("three hundred", "GET", f"{SESSIONS}?" + "&".join(f"a{i}=1" for i in range(300))),
        ],
    ),
    (
        "of `created[…]` the four bounds are known, written exactly so",
        "accepts",
        [
            Case("no bound", "GET", f"{SESSIONS}?created=5"),
            Case("an empty bound", "GET", f"{SESSIONS}?created[]=1"),
            Case("an unknown bound", "GET", f"{SESSIONS}?created[foo]=1"),
            Case("bracket too early", "GET", f"{SESSIONS}?created]=1"),
            Case("text after the bracket", "GET", f"{SESSIONS}?created[gte]x=1"),
            Case("name too long", "GET", f"{SESSIONS}?createdX[gte]=1"),
            Case("a bracket within", "GET", f"{SESSIONS}?created[gte][x]=1"),
        ],
    ),
    (
        "a query is percent-encoded UTF-8",
        "accepts",
        [
            Case("broken percent", "GET", f"{SESSIONS}?starting_after=%zz"),
            Case("no UTF-8", "GET", f"{SESSIONS}?starting_after=%ff"),
        ],
    ),
    ("a HEAD request is refused", "accepts", [Case("HEAD", "HEAD", SESSIONS)]),
    ("a trailing slash is another path", "accepts", [Case("slash", "GET", f"{SESSIONS}/")]),
    (
        "a string is Unicode",
        "accepts",
        [create("lone surrogate", ENCODED.replace(b"Kopi", b"\\ud800"), JSON_HEADER)],
    ),
    (
        "a body that cannot be decoded is refused",
        "fails",
        [
            create("no UTF-8", ENCODED.replace(b"Kopi", b"\xff"), JSON_HEADER),
            create("UTF-16", ENCODED.decode().encode("utf-16"), JSON_HEADER),
            create("5001 digits", ENCODED.replace(b"180", b"9" * 5001), JSON_HEADER),
            create("100,000 deep", b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON_HEADER),
        ],
    ),
    (
        "a URL ends where it ends, not before a line feed",
        "accepts",
        [create("line feed", {**GOOD, "success_url": "https://a.example\n"}, JSON_HEADER)],
    ),
    (
        "a body is sent as it is, and its size is bounded",
        "accepts",
        [
            create("gzip announced", ENCODED, JSON_HEADER, (b"content-encoding", b"gzip")),
            create("3 MB", ENCODED.ljust(3_000_000), JSON_HEADER),
            create("its media type twice", ENCODED, JSON_HEADER, JSON_HEADER),
        ],
    ),
    (
        "a body in chunks is a body",
        "refuses",
        [Case("chunked", "POST", SESSIONS, chunks=[ENCODED[:50], ENCODED[50:]],
              headers=[JSON_HEADER, (b"transfer-encoding", b"chunked")])],
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CORPUS, ids=[case.name for case in CORPUS])
def test_both_agree(ours: Any, reference: Any, case: Case) -> None:
    assert outcome(ours, case) == outcome(reference, case)


@pytest.mark.parametrize(
    ("theirs", "case"),
    [(theirs, case) for _, theirs, cases in DIFFERENCES for case in cases],
    ids=[f"{difference}: {case.name}" for difference, _, cases in DIFFERENCES for case in cases],
)
def test_a_wanted_difference_is_still_there(ours: Any, reference: Any, theirs: str, case: Case) -> None:
    wanted = "accepts" if theirs == "refuses" else "refuses"
    assert (outcome(ours, case), outcome(reference, case)) == (wanted, theirs)


LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9) | st.sampled_from(["SGD", "https://a.example", 1, 100])
)  # fmt: skip
FIELDS = ["line_items", "price_data", "product_data", "currency", "unit_amount", "quantity", "name", "success_url"]
VALUES = st.recursive(
    LEAVES, lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), deeper, max_size=4)
)


@given(field=st.sampled_from(FIELDS), value=VALUES)
@settings(derandomize=True, max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_both_agree_on_any_value(ours: Any, reference: Any, field: str, value: Any) -> None:
    case = create("any", {**GOOD, field: value}, JSON_HEADER)
    assert outcome(ours, case) == outcome(reference, case)
    line = {**GOOD["line_items"][0], field: value}
    case = create("any", {**GOOD, "line_items": [line]}, JSON_HEADER)
    assert outcome(ours, case) == outcome(reference, case)


def test_the_corpus_has_both_kinds(ours: Any) -> None:
    """A corpus that is all refused would prove nothing."""
    outcomes = [outcome(ours, case) for case in CORPUS]
    assert outcomes.count("accepts") > 60
    assert outcomes.count("refuses") > 300
