"""The pipeline: what happens to one request, in which order, and what is refused at load."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_harness import ANSWERS, KEY, OPENAPI, TINY, Answer, Hooks, ask, echo, echoes, tiny

from qashier_mock.pipeline import (
    Call,
    Document,
    Dropped,
    Fault,
    Refused,
    Reply,
    ReplyOutsideDocument,
    Transmit,
    Unsupported,
    create_pipeline,
    precompile,
)
from qashier_mock.pipeline.delays import Delays
from qashier_mock.pipeline.document import PRECOMPILED_SUFFIX
from qashier_mock.pipeline.unknown import MAX_UNKNOWN

GOOD = {"name": "Kopi"}


def build(hooks: Hooks | None = None, handlers: Any = None, document: Any = None, **options: Any) -> Any:
    document = document or tiny()
    return create_pipeline([(document, ["", "/v1"])], handlers or echoes(document), hooks or Hooks(), **options)


@pytest.fixture(scope="module")
def app() -> Any:
    return build()


def replying(reply: Reply | Exception, operation: str = "get_thing") -> dict[str, Any]:
    async def handler(call: Call, **_: Any) -> Reply:
        if isinstance(reply, Exception):
            raise reply
        return reply

    return {**echoes(TINY), operation: handler}


class TestRouting:
    @pytest.mark.parametrize(
        ("target", "operation", "arguments"),
        [
            ("/things/a", "get_thing", {"id": "a"}),
            ("/v1/things/a", "get_thing", {"id": "a"}),
            ("/things/a%2Fclose", "get_thing", {"id": "a/close"}),
            ("/things/%61", "get_thing", {"id": "a"}),
            ("/%74hings/a", "get_thing", {"id": "a"}),
            ("/things/%zz", "get_thing", {"id": "%zz"}),
            ("/things/%ff", "get_thing", {"id": "\ufffd"}),
            ("/things/%00", "get_thing", {"id": "\x00"}),
            ("/things/..", "get_thing", {"id": ".."}),
            ("/things/newest", "get_newest", {}),
            ("/things/newest?", "get_newest", {}),
        ],
    )
    def test_a_path_leads_to_its_operation(
        self, app: Any, target: str, operation: str, arguments: dict[str, Any]
    ) -> None:
        assert ask(app, "GET", target).json == {"operation": operation, "arguments": arguments}

    @pytest.mark.parametrize(
        "target",
        ["/", "", "/nothing", "/things/", "/things//", "/things//close", "/things/a/", "/things/a/b", "//things", "/v1",
         "/v2/things", "/v1%2Fthings", "/things%2Fa", "/THINGS", "/v1/v1/things", "/things;a=1"],
    )  # fmt: skip
    def test_any_other_path_is_not_found(self, app: Any, target: str) -> None:
        answer = ask(app, "GET", target, key=None)
        assert (answer.status, answer.code) == (404, "path_unknown")

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "FOO", "get"])
    def test_another_method_is_told_all_that_are_allowed(self, app: Any, method: str) -> None:
        answer = ask(app, method, "/things", key=None)
        assert (answer.status, answer.code, answer.header("allow")) == (405, "method_not_allowed", "GET, POST")

    def test_a_named_segment_does_not_hide_what_lies_below_a_parameter(self, app: Any) -> None:
        assert ask(app, "POST", "/things/newest/close").json["arguments"] == {"id": "newest"}

    def test_a_server_that_gives_no_raw_path_is_understood(self, app: Any) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/health", "query_string": b"", "headers": []}
        asyncio.run(app(scope, receive, send))
        assert sent[0]["status"] == 200


class TestOrder:
    def test_refusals_come_in_the_order_of_the_contract(self) -> None:
        """Each step takes away the reason for one refusal; the next one then shows."""
        app = build(max_body=10)
        wrong = b"[1,2,3,4,5,6]"
        text = [(b"content-type", b"text/plain"), (b"idempotency-key", b"")]
        steps: list[tuple[str, str, bytes, list[tuple[bytes, bytes]], bytes | None]] = [
            ("PATCH", "/nothing?x=1", wrong, text, None),
            ("PATCH", "/things?x=1", wrong, text, None),
            ("POST", "/things?x=1", wrong, text, None),
            ("POST", "/things?x=1", wrong, text, b"Bearer good"),
            ("POST", "/things?x=1", b"[1]", text, b"Bearer good"),
            ("POST", "/things?x=1", b"[1]", text[1:], b"Bearer good"),
            ("POST", "/things", b"[1]", text[1:], b"Bearer good"),
            ("POST", "/things", b"[1]", [], b"Bearer good"),
            ("POST", "/things", b"{}", [], b"Bearer good"),
        ]
        answers = [
            ask(app, method, target, body=body, headers=headers, key=key)
            for method, target, body, headers, key in steps
        ]
        assert [answer.code for answer in answers] == [
            "path_unknown",
            "method_not_allowed",
            "credentials_missing",
            "body_too_large",
            "media_type_unsupported",
            "parameter_unknown",
            "parameter_invalid",
            "body_invalid",
            "parameter_missing",
        ]

    def test_every_authorization_header_reaches_the_hook(self) -> None:
        hooks = Hooks()
        answer = ask(build(hooks), "GET", "/things/a", headers=[(b"authorization", b"Basic x")])
        assert answer.status == 401
        assert hooks.authorizations == [[b"Basic x", b"Bearer good"]]

    def test_an_open_operation_asks_nobody(self) -> None:
        hooks = Hooks()
        assert ask(build(hooks), "GET", "/health", key=None).status == 200
        assert (hooks.authorizations, hooks.intercepted) == ([], [])
        assert [call.principal for call, _, _ in hooks.seen] == [None]

    def test_what_no_operation_takes_is_told_as_it_came(self) -> None:
        hooks = Hooks()
        app = build(hooks)
        ask(app, "GET", "/nowhere?x=%20", headers=[(b"x-a", b"b")])
        ask(app, "DELETE", "/things", key=None)
        assert (hooks.seen, hooks.authorizations) == ([], [])
        (nowhere, reply, body), (refused, _, _) = hooks.unrouted
        assert (nowhere.method, nowhere.path, nowhere.query) == ("GET", "/nowhere", b"x=%20")
        assert (list(nowhere.authorization), nowhere.headers[b"x-a"]) == ([KEY], b"b")
        assert (reply.status, b"path_unknown" in body, nowhere.request_id) == (404, True, "req_1")
        assert (refused.method, list(refused.authorization)) == ("DELETE", [])

    def test_an_admission_hook_refuses_after_validation(self, app: Any) -> None:
        assert ask(app, "GET", "/things/refused-by-admit").status == 401
        assert ask(app, "GET", "/things/refused-by-admit?x=1").status == 400


QUERIES: list[tuple[str, Any]] = [
    ("", {"limit": 10}),
    ("&", {"limit": 10}),
    ("limit=1", {"limit": 1}),
    ("limit=100&status=open", {"limit": 100, "status": "open"}),
    ("li%6dit=5", {"limit": 5}),
    ("fresh=true", {"limit": 10, "fresh": True}),
    ("cursor=", {"limit": 10, "cursor": ""}),
    ("cursor=a+b%20%E2%82%AC", {"limit": 10, "cursor": "a b €"}),
    ("cursor=%00", {"limit": 10, "cursor": "\x00"}),
    ("cursor=a=b", {"limit": 10, "cursor": "a=b"}),
    ("created[gte]=5", {"limit": 10, "created_gte": 5}),
    ("created%5Bgte%5D=5&created[gt]=0", {"limit": 10, "created_gte": 5, "created_gt": 0}),
    ("limit=0", ("parameter_invalid", "limit")),
    ("limit=101", ("parameter_invalid", "limit")),
    ("limit=", ("parameter_invalid", "limit")),
    ("limit", ("parameter_invalid", "limit")),
    ("limit=abc", ("parameter_invalid", "limit")),
    ("limit=1_0", ("parameter_invalid", "limit")),
    ("limit=%2010", ("parameter_invalid", "limit")),
    ("limit=10%0A", ("parameter_invalid", "limit")),
    ("limit=+10", ("parameter_invalid", "limit")),
    ("limit=%2B10", ("parameter_invalid", "limit")),
    ("limit=010", ("parameter_invalid", "limit")),
    ("limit=1.0", ("parameter_invalid", "limit")),
    ("limit=1e1", ("parameter_invalid", "limit")),
    ("limit=%D9%A1%D9%A0", ("parameter_invalid", "limit")),
    ("limit=" + "9" * 5000, ("parameter_invalid", "limit")),
    ("limit=1&limit=2", ("parameter_invalid", "limit")),
    ("limit=1&limit=1", ("parameter_invalid", "limit")),
    ("status=paid", ("parameter_invalid", "status")),
    ("status=OPEN", ("parameter_invalid", "status")),
    ("fresh=1", ("parameter_invalid", "fresh")),
    ("fresh=True", ("parameter_invalid", "fresh")),
    ("cursor=" + "x" * 21, ("parameter_invalid", "cursor")),
    ("cursor=%zz", ("parameter_invalid", "cursor")),
    ("cursor=%", ("parameter_invalid", "cursor")),
    ("cursor=%ff", ("parameter_invalid", "cursor")),
    ("cursor=%ed%a0%80", ("parameter_invalid", "cursor")),
    ("created=5", ("parameter_invalid", "created")),
    ("created[gte]=abc", ("parameter_invalid", "created[gte]")),
    ("created[gte]=-1", ("parameter_invalid", "created[gte]")),
    ("created[gte]=1&created[gte]=2", ("parameter_invalid", "created[gte]")),
    ("created[foo]=1", ("parameter_unknown", "created[foo]")),
    ("created[gte][x]=1", ("parameter_unknown", "created[gte][x]")),
    ("created[]=1", ("parameter_unknown", "created[]")),
    ("created[gte=1", ("parameter_unknown", "created[gte")),
    ("created]=1", ("parameter_unknown", "created]")),
    ("created[gte]x=1", ("parameter_unknown", "created[gte]x")),
    ("status[a]=1", ("parameter_unknown", "status[a]")),
    ("Limit=1", ("parameter_unknown", "Limit")),
    ("x=1", ("parameter_unknown", "x")),
    ("x%0D%0AEvil=1", ("parameter_unknown", "x\\x0d\\x0aEvil")),
    ("%ff=1", ("parameter_invalid", "%ff")),
    ("=1", ("parameter_unknown", '""')),
    ("&".join(f"a{i}=1" for i in range(5000)), ("parameter_invalid", None)),
]


class TestParameters:
    @pytest.mark.parametrize(("query", "expected"), QUERIES, ids=[query[:40] or "none" for query, _ in QUERIES])
    def test_a_query_is_parsed_strictly(self, app: Any, query: str, expected: Any) -> None:
        answer = ask(app, "GET", f"/things?{query}")
        if isinstance(expected, dict):
            assert answer.json["arguments"] == expected
        else:
            assert (answer.status, (answer.code, answer.param)) == (400, expected)

    def test_an_operation_without_parameters_knows_none(self, app: Any) -> None:
        assert ask(app, "GET", "/things/a?expand=1").code == "parameter_unknown"

    @pytest.mark.parametrize(
        ("sent", "nearest"), [("limt", "limit"), ("Limit", "limit"), ("created[gtee]", "created[gte]")]
    )
    def test_the_nearest_name_is_told(self, app: Any, sent: str, nearest: str) -> None:
        assert f"Did you mean `{nearest}`?" in ask(app, "GET", f"/things?{sent}=1").message

    def test_a_message_says_what_was_wrong_and_what_is_right(self, app: Any) -> None:
        assert ask(app, "GET", "/things?limit=101").message == "`limit` must be an integer from 1 to 100, not 101."
        assert ask(app, "GET", "/things?status=paid").message == (
            '`status` must be one of "open", "complete", not "paid".'
        )

    @given(query=st.binary(max_size=80))
    @settings(derandomize=True, max_examples=300, deadline=None)
    def test_any_query_is_answered(self, query: bytes) -> None:
        answer = ask(SHARED, "GET", b"/things?" + query)
        assert answer.status in {200, 400}
        assert len(answer.body) < 1000

    @given(query=st.text(alphabet="limtsauceredgf[]=&%+0123456789-x", max_size=40))
    @settings(derandomize=True, max_examples=300, deadline=None)
    def test_any_near_miss_is_answered(self, query: str) -> None:
        assert ask(SHARED, "GET", f"/things?{query}").status in {200, 400}

    @pytest.mark.parametrize(
        ("values", "status"),
        [
            ([], 200),
            ([b"k"], 200),
            ([b"k" * 255], 200),
            ([b"k" * 256], 400),
            ([b""], 400),
            ([b"a b"], 400),
            ([b"k", b"k"], 400),
            ([b"k", b"l"], 400),
            ([b"\xc3\xa9"], 400),
            ([b"\xff"], 400),
        ],
    )
    def test_a_header_parameter_is_checked(self, app: Any, values: list[bytes], status: int) -> None:
        answer = ask(app, "POST", "/things", body=GOOD, headers=[(b"idempotency-key", value) for value in values])
        assert answer.status == status
        if status == 200:
            key = answer.json["arguments"].get("idempotency_key")
            assert key == (values[0].decode() if values else None)
        else:
            assert (answer.code, answer.param) == ("parameter_invalid", "Idempotency-Key")

    def test_headers_that_nobody_declared_may_come_twice(self, app: Any) -> None:
        assert ask(app, "POST", "/things", body=GOOD, headers=[(b"x-a", b"1"), (b"x-a", b"2")]).status == 200


class TestRequiredAndDefault:
    """What the served documents do not use today, and the pipeline claims to know."""

    @pytest.fixture
    def app(self) -> Any:
        def change(document: dict[str, Any]) -> None:
            parameter(document, 1)["required"] = True
            operation(document, "/things/{id}")["parameters"] += [
                {"name": "X-Must", "in": "header", "required": True, "schema": {"type": "integer"}},
                {"name": "X-May", "in": "header", "schema": {"type": "integer", "default": 5}},
            ]

        return build(document=tiny(change))

    def test_a_required_query_parameter(self, app: Any) -> None:
        assert ask(app, "GET", "/things?status=open").status == 200
        for query in ("", "?limit=1"):
            answer = ask(app, "GET", f"/things{query}")
            assert (answer.code, answer.param) == ("parameter_missing", "status")
            assert answer.message == '`status` is required: send one of "open", "complete".'

    def test_a_required_header_and_a_default(self, app: Any) -> None:
        answer = ask(app, "GET", "/things/a", headers=[(b"x-must", b"7")])
        assert answer.json["arguments"] == {"id": "a", "x_must": 7, "x_may": 5}
        answer = ask(app, "GET", "/things/a")
        assert (answer.code, answer.param) == ("parameter_missing", "X-Must")


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "string", "nullable": True, "enum": ["a", "b"]}, "c", 'one of "a", "b", null, not "c"'),
        ({"type": "string", "enum": ["a"]}, 5, '"a", not 5'),
        ({"enum": list("abcdefghij"), "type": "string"}, "x", "one of 10 known values"),
        (
            {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
            0,
            "an integer at least 0 (that itself excluded)",
        ),
        ({"type": "integer", "maximum": 5}, 6, "an integer at most 5, not 6"),
        ({"type": "number", "multipleOf": 0.5}, 0.3, "a number, not 0.3"),
        ({"type": "array", "items": {}, "uniqueItems": True}, [1, 1], "all different, not one with equal elements"),
        ({"type": "array", "items": {}, "minItems": 1}, [], "an array of 1 or more elements, not one of 0"),
        ({"type": "object", "minProperties": 1}, {}, "an object with 1 or more properties, not one with 0 properties"),
        ({"type": "object", "maxProperties": 1}, {"a": 1, "b": 2}, "at most 1 properties"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, [], "a string or an integer, not an array of 0"),
        ({"allOf": [{"type": "integer"}, {"maximum": 5}]}, 6, "an integer at most 5, not 6"),
        ({"not": {"type": "string"}}, "x", 'something else, not "x"'),
        ({"type": "string", "pattern": "^a+$"}, "b", 'a string that matches ^a+$, not "b"'),
        ({"type": "string", "pattern": "^a$", "x-must-be": "an a"}, "b", 'an a, not "b"'),
        ({"type": "boolean"}, {}, "true or false, not an empty object"),
        ({"type": "boolean"}, {"a": 1}, "true or false, not an object"),
        ({"type": "integer"}, None, "an integer, not null"),
        ({"type": "integer"}, "x\r\ny", 'not the string "x\\x0d\\x0ay"'),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            {"a\nb": "c"},
            "`x.a\\x0ab` must be an integer",
        ),
    ],
)
def test_a_schema_says_what_it_takes(schema: dict[str, Any], value: Any, message: str) -> None:
    from qashier_mock.pipeline.schemas import Schema, translate

    compiled = Schema(translate(schema, "here", request=True))
    assert not compiled.is_valid(value)
    assert message in compiled.refusal(value, "x").message


BODIES: list[tuple[bytes, Any]] = [
    (b'{"name": "a"}', {"name": "a"}),
    (b' {"name": "a", "note": null} ', {"name": "a", "note": None}),
    (b'{"name": "a", "name": "b"}', {"name": "b"}),
    (b'{"name": "\\u0000"}', {"name": "\x00"}),
    (b'{"name": "\\ud83d\\ude00"}', {"name": "😀"}),
    (b'{"name": "a", "free": {"b": [[[1.5]]]}}', {"name": "a", "free": {"b": [[[1.5]]]}}),
    (b"", ("body_invalid", None)),
    (b" ", ("body_invalid", None)),
    (b"null", ("body_invalid", None)),
    (b"true", ("body_invalid", None)),
    (b'"x"', ("body_invalid", None)),
    (b"[]", ("body_invalid", None)),
    (b"{", ("body_invalid", None)),
    (b'{"name": "a"} x', ("body_invalid", None)),
    (b"{'name': 'a'}", ("body_invalid", None)),
    (b'{"name": NaN}', ("body_invalid", None)),
    (b'{"name": Infinity}', ("body_invalid", None)),
    (b'{"name": 1e400}', ("body_invalid", None)),
    (b'\xef\xbb\xbf{"name": "a"}', ("body_invalid", None)),
    ('{"name": "a"}'.encode("utf-16"), ("body_invalid", None)),
    (b'{"name": "\xff"}', ("body_invalid", None)),
    (b'{"name": "\\ud800"}', ("body_invalid", None)),
    (b'{"name": "a\nb"}', ("body_invalid", None)),
    (b'{"name": "a", "free": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ("body_invalid", None)),
    (b'{"name": "a", "free": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}", ("body_invalid", None)),
    (b'{"name": "a", "free": {"x": ' + b"[" * 260 + b"]" * 260 + b"}}", ("body_invalid", None)),
    (b"{}", ("parameter_missing", "name")),
    (b'{"name": null}', ("parameter_invalid", "name")),
    (b'{"name": ""}', ("parameter_invalid", "name")),
    (b'{"name": "abcdef"}', ("parameter_invalid", "name")),
    (b'{"name": 1}', ("parameter_invalid", "name")),
    (b'{"name": "a", "lines": {}}', ("parameter_invalid", "lines")),
    (b'{"name": "a", "lines": [{}]}', ("parameter_missing", "lines[0].quantity")),
    (b'{"name": "a", "lines": [{"quantity": 1}, 5]}', ("parameter_invalid", "lines[1]")),
    (b'{"name": "a", "lines": [{"quantity": "1"}]}', ("parameter_invalid", "lines[0].quantity")),
    (b'{"name": "a", "lines": [{"quantity": true}]}', ("parameter_invalid", "lines[0].quantity")),
    (b'{"name": "a", "lines": [{"quantity": 1.0}]}', ("parameter_invalid", "lines[0].quantity")),
    (b'{"name": "a", "lines": [{"quantity": 1e0}]}', ("parameter_invalid", "lines[0].quantity")),
    (b'{"name": "a", "lines": [{"quantity": 0}]}', ("parameter_invalid", "lines[0].quantity")),
    (b'{"name": "a", "lines": [{"quantity": ' + b"9" * 20 + b"}]}", ("parameter_invalid", "lines[0].quantity")),
    (b'{"name": "a", "lines": [{"quantity": ' + b"9" * 5001 + b"}]}", ("body_invalid", None)),
    (b'{"name": "a", "lines": [1,2,3,4]}', ("parameter_invalid", "lines")),
    (b'{"name": "a", "closed": {"color": "red"}}', ("parameter_unknown", "closed.color")),
    (b'{"name": "a", "either": {"delay": 9}}', ("parameter_invalid", "either.delay")),
    (b'{"name": "a", "either": {"drop": 1}}', ("parameter_invalid", "either.drop")),
    (b'{"name": "a", "either": {"delay": 1, "drop": true}}', ("parameter_unknown", None)),
    (b'{"name": "a", "either": 5}', ("parameter_invalid", "either")),
]


class TestBodies:
    @pytest.mark.parametrize(("raw", "expected"), BODIES, ids=[str(raw[:50]) for raw, _ in BODIES])
    def test_a_body_is_validated(self, app: Any, raw: bytes, expected: Any) -> None:
        answer = ask(app, "POST", "/things", body=raw)
        if isinstance(expected, dict):
            assert answer.json["arguments"]["body"] == expected
        else:
            assert (answer.status, answer.code) == (400, expected[0])
            assert expected[1] is None or answer.param == expected[1]
            assert len(answer.message) <= 300

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (b"", "The body is empty; send a JSON object."),
            (b"[1]", "The body must be an object, not an array of 1."),
            (b"{}", "`name` is required: send a string of 1 to 5 characters."),
            (b'{"name": 5}', "`name` must be a string of 1 to 5 characters, not 5."),
            (b'{"name": "abcdef"}', "`name` must be a string of 1 to 5 characters, not one of 6 characters."),
            (
                b'{"name": "a", "lines": [{"quantity": "1"}]}',
                '`lines[0].quantity` must be an integer from 1 to 9, not the string "1".',
            ),
            (
                b'{"name": "a", "closed": {"color": "red"}}',
                "`closed.color` is unknown. Did you mean `colour`?",
            ),
        ],
    )
    def test_a_message_says_what_was_wrong_and_what_is_right(self, app: Any, raw: bytes, message: str) -> None:
        assert ask(app, "POST", "/things", body=raw).message == message

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ([], 200),
            ([(b"content-type", b"")], 200),
            ([(b"content-type", b"application/json")], 200),
            ([(b"content-type", b"application/JSON; charset=bogus")], 200),
            ([(b"content-type", b"application/json ;")], 200),
            ([(b"content-encoding", b"identity")], 200),
            ([(b"content-type", b"text/plain")], 415),
            ([(b"content-type", b"application/jsonx")], 415),
            ([(b"content-type", b"application/x-www-form-urlencoded")], 415),
            ([(b"content-type", b"\xff\r\n")], 415),
            ([(b"content-type", b"application/json"), (b"content-type", b"application/json")], 415),
            ([(b"content-encoding", b"gzip")], 415),
            ([(b"content-encoding", b"identity, gzip")], 415),
        ],
    )
    def test_the_media_type_is_json(self, app: Any, headers: list[tuple[bytes, bytes]], status: int) -> None:
        assert ask(app, "POST", "/things", body=GOOD, headers=headers).status == status

    def test_a_body_in_pieces_is_put_together(self, app: Any) -> None:
        answer = ask(app, "POST", "/things", chunks=[b'{"na', b"", b'me":', b'"a"}', b""])
        assert answer.json["arguments"] == {"body": {"name": "a"}}

    def test_a_body_in_pieces_is_counted(self) -> None:
        app = build(max_body=20)
        assert ask(app, "POST", "/things", chunks=[b'{"name": "a"}', b" " * 7]).status == 200
        assert ask(app, "POST", "/things", chunks=[b'{"name": "a"}', b" " * 8]).status == 413
        assert ask(app, "POST", "/things", chunks=[b" " * 21]).status == 413

    def test_an_operation_may_have_a_limit_of_its_own(self) -> None:
        document = tiny(lambda d: operation(d, "/things", "post").update({"x-max-body": 20}))
        app = create_pipeline([(document, [""])], echoes(TINY), Hooks(), max_body=10)
        assert ask(app, "POST", "/things", body=b'{"name": "a"}'.ljust(20)).status == 200
        refused = ask(app, "POST", "/things", body=b'{"name": "a"}'.ljust(21))
        assert (refused.status, refused.code) == (413, "body_too_large")

    @pytest.mark.parametrize("declared", [b"21", b"9" * 400])
    def test_a_body_announced_as_too_large_is_not_read(self, declared: bytes) -> None:
        answer = ask(build(max_body=20), "POST", "/things", headers=[(b"content-length", declared)], chunks=[])
        assert (answer.status, answer.code) == (413, "body_too_large")

    @pytest.mark.parametrize("body", [b"garbage", b"x" * 3_000_000, b"{}"])
    def test_an_operation_without_a_body_does_not_look_at_one(self, app: Any, body: bytes) -> None:
        headers = [(b"content-type", b"text/plain"), (b"content-encoding", b"gzip")]
        assert ask(app, "POST", "/things/a/close", body=body, headers=headers).json["arguments"] == {"id": "a"}

    def test_an_optional_body_may_be_left_out(self, app: Any) -> None:
        form = [(b"content-type", b"application/x-www-form-urlencoded")]
        assert ask(app, "PUT", "/settings", headers=form).json["arguments"] == {}
        assert ask(app, "PUT", "/settings", body={"on": True}).json["arguments"] == {"body": {"on": True}}
        assert ask(app, "PUT", "/settings", body={"on": 1}).status == 400
        assert ask(app, "PUT", "/settings", body={}, headers=form).status == 415

    def test_a_client_that_goes_away_gets_no_answer(self, app: Any) -> None:
        with pytest.raises(IndexError):  # nothing was sent
            ask(app, "POST", "/things", chunks=[])

    @pytest.mark.parametrize(
        ("body", "unknown"),
        [
            ({"name": "a"}, []),
            ({"name": "a", "nmae": 1}, [("nmae", "name")]),
            ({"name": "a", "zzz": 1, "Lines": 2}, [("Lines", "lines"), ("zzz", None)]),
            ({"name": "a", "lines": [{"quantity": 1}, {"quantity": 1, "qty": 1}]}, [("lines[1].qty", None)]),
            (
                {"name": "a", "lines": [{"quantity": 1, "data": {"lable": 1}}]},
                [("lines[0].data.lable", "label")],
            ),
            ({"name": "a", "free": {"anything": {"goes": 1}}}, []),
            ({"name": "a", "either": {"delay": 1}}, []),
        ],
    )
    def test_unknown_fields_are_reported_to_the_handler(self, body: Any, unknown: list[Any]) -> None:
        hooks = Hooks()
        ask(build(hooks), "POST", "/things", body=body)
        assert [(field.path, field.nearest) for field in hooks.seen[0][0].unknown_fields] == unknown

    def test_a_flood_of_unknown_fields_is_cut(self) -> None:
        hooks = Hooks()
        ask(build(hooks), "POST", "/things", body={"name": "a", **{f"{i}" * 500: 1 for i in range(500)}})
        fields = hooks.seen[0][0].unknown_fields
        assert len(fields) == MAX_UNKNOWN
        assert all(len(field.path) <= 64 for field in fields)

    @given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                              lambda s: st.lists(s) | st.dictionaries(st.text() | st.sampled_from(
                                  ["name", "note", "lines", "quantity", "closed", "either", "delay", "data"]), s),
                              max_leaves=12))  # fmt: skip
    @settings(derandomize=True, max_examples=300, deadline=None)
    def test_any_json_is_answered(self, value: Any) -> None:
        try:
            answer = ask(SHARED, "POST", "/things", body=value)
        except TypeError:  # an integer that orjson does not write
            return
        assert answer.status in {200, 400}
        assert answer.status == 200 or len(answer.message) <= 300

    @given(raw=st.binary(max_size=60))
    @settings(derandomize=True, max_examples=300, deadline=None)
    def test_any_bytes_are_answered(self, raw: bytes) -> None:
        assert ask(SHARED, "POST", "/things", body=raw).status in {200, 400}


class TestReplies:
    def test_a_reply_has_its_headers_and_a_fresh_request_id(self, app: Any) -> None:
        first, second = ask(app, "GET", "/things/a"), ask(app, "GET", "/things/a")
        assert first.header("content-type") == "application/json"
        assert first.header("content-length") == str(len(first.body))
        assert first.header("x-observed") == "yes"
        ids = [first.header("request-id"), second.header("request-id")]
        assert len(set(ids)) == 2

    def test_a_handler_adds_headers_and_may_have_encoded_itself(self) -> None:
        app = build(handlers=replying(Reply(200, b'{"a":1}', ((b"retry-after", b"1"),))))
        answer = ask(app, "GET", "/things/a")
        assert (answer.body, answer.header("retry-after")) == (b'{"a":1}', "1")

    def test_a_reply_without_content_says_nothing_of_it(self) -> None:
        answer = ask(build(handlers=replying(Reply(204), "delete_thing")), "DELETE", "/things/a")
        assert (answer.status, answer.body) == (204, b"")
        assert answer.header("content-type") is None
        assert answer.header("content-length") is None
        assert answer.header("request-id")

    def test_the_observer_sees_what_is_sent(self) -> None:
        hooks = Hooks()
        answer = ask(build(hooks), "POST", "/things?x=1", body=GOOD)
        [(call, reply, body)] = hooks.seen
        assert (reply.status, body) == (400, answer.body)
        assert call.principal == "acct_1"
        assert call.raw_body == b'{"name":"Kopi"}'
        assert (call.method, call.path, call.query) == ("POST", "/things", b"x=1")
        assert call.request_id == answer.header("request-id")

    def test_a_call_knows_its_operation(self) -> None:
        hooks = Hooks()
        app = build(hooks, timer=lambda: 12.5)
        ask(app, "GET", "/v1/things")
        ask(app, "POST", "/things", body=GOOD)
        listing, create = (call.operation for call, _, _ in hooks.seen)
        assert (listing.method, listing.path, listing.tags) == ("GET", "/things", ("Things",))
        assert listing.extensions == {"x-clauses": ["LIS-1"]}
        assert (listing.writes_secret, create.writes_secret) == (False, True)
        assert hooks.seen[0][0].started == 12.5

    @pytest.mark.parametrize(
        "handler",
        [RuntimeError("boom\r\nERROR forged"), Reply(200, {"never": object()}), Reply(200, {"a": "\ud800"})],
        ids=["raises", "unknown type", "surrogate"],
    )
    def test_what_nobody_expected_is_a_500_that_tells_nothing(
        self, handler: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.ERROR):
            answer = ask(build(handlers=replying(handler)), "GET", "/things/a")
        assert (answer.status, answer.code) == (500, "internal_error")
        assert "boom" not in answer.message
        assert (answer.header("request-id") or "none") in caplog.text
        [record] = caplog.records
        assert "\n" not in record.getMessage()
        assert record.exc_info is None

    def test_an_error_door_that_fails_itself_is_no_way_out(self, caplog: pytest.LogCaptureFixture) -> None:
        class Broken(Hooks):
            def render_error(self, error: Exception, call: Call | None) -> Reply:
                raise KeyError(str(error), call)

        answer = ask(build(Broken()), "GET", "/nothing")
        assert (answer.status, answer.code) == (500, "internal_error")
        assert len(caplog.records) == 2

    def test_what_a_handler_raises_goes_through_the_error_door(self) -> None:
        answer = ask(build(handlers=replying(PermissionError("no"))), "GET", "/things/a")
        assert answer.status == 500


class TestFaults:
    def test_a_fault_answers_without_performing(self) -> None:
        done: list[str] = []

        async def handler(call: Call, **_: Any) -> Reply:
            done.append(call.request_id)
            return Reply(200, {})

        fault = Fault(reply=Reply(503, {"error": {"code": "unavailable", "message": "later"}}), perform=False)
        hooks = Hooks(fault)
        answer = ask(build(hooks, {**echoes(TINY), "create_thing": handler}), "POST", "/things", body=b"not read")
        assert (answer.status, done) == (503, [])
        assert hooks.intercepted == [{}]
        assert hooks.seen[0][1].status == 503

    def test_a_fault_may_perform_and_answer_otherwise(self) -> None:
        hooks = Hooks(Fault(reply=Reply(429, {"error": {"code": "rate_limited", "message": "later"}})))
        handlers = replying(Reply(200, {"done": True}))
        assert ask(build(hooks, handlers), "GET", "/things/a").status == 429
        assert ask(build(hooks, replying(RuntimeError())), "GET", "/things/a").status == 429

    def test_a_client_that_goes_away_from_a_fault_gets_no_answer(self) -> None:
        with pytest.raises(IndexError):  # nothing was sent
            ask(build(Hooks(Fault(delay_s=0.001))), "POST", "/things", chunks=[])

    def test_of_very_many_delayed_calls_the_longest_held_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its client may be gone: a closed connection looks like one on which nothing more is sent."""
        monkeypatch.setattr("qashier_mock.pipeline.delays.MOST_HELD", 2)

        async def hold() -> list[bool]:
            delays = Delays()
            held = [asyncio.create_task(delays.hold(3_600)) for _ in range(5)]
            await asyncio.gather(*held[:3])
            waiting = [not each.done() for each in held[3:]]
            for each in held:
                each.cancel()
            return waiting

        assert asyncio.run(hold()) == [True, True]

    def test_delayed_calls_hold_half_of_the_connections_at_most(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("qashier_mock.pipeline.delays.most_connections", lambda: 6)
        assert Delays()._most == 3

    def test_a_delay_lets_the_request_through(self) -> None:
        assert ask(build(Hooks(Fault(delay_s=0.001))), "GET", "/things/a").status == 200

    @pytest.mark.parametrize("perform", [True, False])
    def test_a_dropped_connection_is_aborted(self, perform: bool) -> None:  # noqa: FBT001
        calls: list[str] = []
        extensions = {"qashier_mock.abort": lambda: calls.append("abort")}
        app = build(Hooks(Fault(transmit=Transmit.DROPPED, perform=perform)))
        with pytest.raises(IndexError):
            ask(app, "GET", "/things/a", extensions=extensions)
        assert calls == ["abort"]

    @pytest.mark.parametrize("transmit", Transmit)
    def test_the_observer_is_told_how_much_is_sent(self, transmit: Transmit) -> None:
        hooks = Hooks(Fault(transmit=transmit))
        extensions = {"qashier_mock.abort": lambda: None, "qashier_mock.close": lambda: None}
        with contextlib.suppress(IndexError):
            ask(build(hooks), "GET", "/things/a", extensions=extensions)
        assert [reply.transmit for _, reply, _ in hooks.seen] == [transmit]

    def test_a_handler_may_leave_something_for_the_observer(self) -> None:
        async def handler(call: Call, **_: Any) -> Reply:
            call.context = call.headers[b"x-mood"]
            raise LookupError

        hooks = Hooks()
        ask(build(hooks, {**echoes(TINY), "get_thing": handler}), "GET", "/things/a", headers=[(b"x-mood", b"good")])
        assert [call.context for call, _, _ in hooks.seen] == [b"good"]

    def test_a_truncated_reply_has_half_its_body(self) -> None:
        whole = ask(build(), "GET", "/things/a")
        calls: list[str] = []
        extensions = {
            "qashier_mock.abort": lambda: calls.append("abort"),
            "qashier_mock.close": lambda: calls.append("close"),
        }
        answer = ask(build(Hooks(Fault(transmit=Transmit.TRUNCATED))), "GET", "/things/a", extensions=extensions)
        assert answer.header("content-length") == str(len(whole.body))
        assert answer.body == whole.body[: len(whole.body) // 2]
        assert calls == ["close"]

    def test_a_handler_may_ask_for_it_too(self) -> None:
        app = build(handlers=replying(Reply(200, {}, transmit=Transmit.DROPPED)))
        with pytest.raises(Dropped):
            ask(app, "GET", "/things/a")

    def test_a_fault_that_does_nothing_at_all_is_refused(self) -> None:
        with pytest.raises(ValueError, match="must drop"):
            Fault(perform=False)


async def page(scope: Any, receive: Any, send: Any) -> None:
    """A foreign app."""
    if scope["path"].endswith("/broken"):
        raise RuntimeError("boom")
    await receive()
    await send({"type": "http.response.start", "status": 418, "headers": [(b"content-type", b"text/html")]})
    if scope["path"].endswith("/half"):
        raise RuntimeError("boom")
    await send({"type": "http.response.body", "body": scope["path"].encode()})


class TestPages:
    @pytest.mark.parametrize(
        ("path", "status"),
        [("/pay", 418), ("/pay/", 418), ("/pay/a", 418), ("/payable", 404), ("/v1/pay", 404), ("/p", 404)],
    )
    def test_a_page_has_what_lies_below_its_prefix(self, path: str, status: int) -> None:
        answer = ask(build(pages={"/pay": page}), "GET", path, key=None)
        assert answer.status == status
        assert answer.header("request-id") == "req_1"

    def test_documents_come_first(self) -> None:
        app = build(pages={"": page})
        assert ask(app, "GET", "/health").status == 200
        assert ask(app, "POST", "/health").status == 405
        assert ask(app, "GET", "/anything").status == 418
        assert ask(app, "GET", "/v1/anything").status == 404

    def test_a_slash_stands_for_that_path_alone_and_none_for_nobody(self) -> None:
        app = build(pages={"/": page, "/pay": page, "/pay/v1": None})
        paths = ("/", "/anything", "/pay/a", "/pay/v1/a")
        browser = [(b"accept", b"text/html,*/*;q=0.8")]
        assert [ask(app, "GET", path, headers=browser).status for path in paths] == [418, 404, 418, 404]
        assert ask(app, "GET", "/").code == "path_unknown"

    def test_a_page_that_fails_gets_the_envelope(self, caplog: pytest.LogCaptureFixture) -> None:
        app = build(pages={"/pay": page})
        answer = ask(app, "GET", "/pay/broken")
        assert (answer.status, answer.code, answer.header("request-id")) == (500, "internal_error", "req_1")
        assert ask(app, "GET", "/pay/half").body == b""
        assert len(caplog.records) == 2


class TestShell:
    def test_the_lifespan_surrounds_the_app(self) -> None:
        story: list[str] = []

        @contextlib.asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            story.append("start")
            yield
            story.append("stop")

        assert run_lifespan(build(lifespan=lifespan)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert story == ["start", "stop"]

    def test_an_app_without_a_lifespan_starts_too(self) -> None:
        assert run_lifespan(build()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    def test_a_websocket_is_refused(self, app: Any) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(app({"type": "websocket", "path": "/things", "headers": []}, receive, send))
        assert [message["type"] for message in sent] == ["websocket.close"]


def run_lifespan(app: Any) -> list[str]:
    incoming = ["lifespan.startup", "lifespan.shutdown"]
    sent: list[str] = []

    async def receive() -> Any:
        return {"type": incoming.pop(0)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(app({"type": "lifespan"}, receive, send))
    return sent


def operation(document: dict[str, Any], path: str = "/things", method: str = "get") -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]
    return found


def body_schema(document: dict[str, Any]) -> dict[str, Any]:
    content = operation(document, "/things", "post")["requestBody"]["content"]
    schema: dict[str, Any] = content["application/json"]["schema"]
    return schema


def parameter(document: dict[str, Any], index: int) -> dict[str, Any]:
    found: dict[str, Any] = operation(document)["parameters"][index]
    return found


UNSUPPORTED: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("no OpenAPI document", lambda d: d.update(openapi="3.1.0"), "3.1.0"),
    ("invalid document", lambda d: d.pop("info"), "info"),
    ("a cookie", lambda d: parameter(d, 1).update({"in": "cookie"}), "cookie"),
    ("an array parameter", lambda d: parameter(d, 1).update(schema={"type": "array", "items": {}}), "array"),
    ("a number parameter", lambda d: parameter(d, 1).update(schema={"type": "number"}), "number"),
    ("a blank in a path", lambda d: d["paths"].update(
        {"/a%20b": {"get": {**operation(d, "/things/newest"), "operationId": "x"}}}), "whole segment"),
    (
        "a nullable parameter",
        lambda d: parameter(d, 1).update(schema={"type": "string", "nullable": True}),
        "null",
    ),
    ("another style", lambda d: parameter(d, 1).update(style="pipeDelimited"), "pipeDelimited"),
    ("allowReserved", lambda d: parameter(d, 1).update(allowReserved=True), "allowReserved"),
    ("a deepObject", lambda d: parameter(d, 1).update(style="deepObject"), "deepObject"),
    ("a reserved header", lambda d: parameter(d, 1).update({"in": "header", "name": "Accept"}), "ignores"),
    ("two arguments of one name", lambda d: parameter(d, 1).update(name="Limit"), "limit"),
    ("an argument named body", lambda d: parameter(d, 1).update(name="body"), "body"),
    ("another media type", lambda d: operation(d, "/things", "post")["requestBody"]["content"].update(
        {"text/plain": {}}), "text/plain"),
    ("an encoding", lambda d: operation(d, "/things", "post")["requestBody"]["content"]["application/json"].update(
        encoding={}), "encoding"),
    ("an answer that is no JSON", lambda d: operation(d).update(
        responses={"200": {"description": "", "content": {"text/html": {}}}}), "text/html"),
    ("a format", lambda d: body_schema(d)["properties"].update(when={"type": "string", "format": "date"}), "date"),
    ("a discriminator", lambda d: body_schema(d).update(discriminator={"propertyName": "x"}), "discriminator"),
    ("readOnly", lambda d: body_schema(d)["properties"].update(when={"type": "string", "readOnly": True}), "readOnly"),
    ("nullable without a type", lambda d: body_schema(d)["properties"].update(when={"nullable": True}), "nullable"),
    ("parameters of a path", lambda d: d["paths"]["/things"].update(parameters=[]), "parameters"),
    ("servers of a path", lambda d: d["paths"]["/things"].update(servers=[]), "servers"),
    ("servers of an operation", lambda d: operation(d).update(servers=[{"url": "/x"}]), "servers"),
    ("a parameter within a segment", lambda d: d["paths"].update(
        {"/x-{id}": {"get": {**operation(d, "/things/{id}"), "operationId": "x"}}}), "'id'"),
    ("an undeclared path parameter", lambda d: operation(d, "/things/{id}").update(parameters=[]), "'id'"),
    ("an apiKey", lambda d: d["components"]["securitySchemes"].update(
        key={"type": "apiKey", "in": "header", "name": "X-Key"}), "Authorization"),
    ("optional security", lambda d: operation(d).update(security=[{"key": []}, {}]), "optional security"),
    ("no operationId", lambda d: operation(d).pop("operationId"), "operationId"),
    ("a limit that is no number", lambda d: operation(d, "/things", "post").update({"x-max-body": "1 MiB"}), "x-max-"),
    ("a limit for a body that is not there", lambda d: operation(d).update({"x-max-body": 1}), "x-max-body"),
    ("two operations of one place", lambda d: d["paths"].update(
        {"/things/{other}": {"get": {**operation(d, "/things/{id}"), "operationId": "twice", "parameters": [
            {"name": "other", "in": "path", "required": True, "schema": {"type": "string"}}]}}}), "twice"),
]  # fmt: skip


class TestLoading:
    @pytest.mark.parametrize(("change", "told"), [case[1:] for case in UNSUPPORTED], ids=[c[0] for c in UNSUPPORTED])
    def test_what_is_not_supported_is_refused(self, change: Callable[[dict[str, Any]], object], told: str) -> None:
        document = tiny(change)
        handlers = {**echoes(TINY), "x": echo, "twice": echo}
        with pytest.raises(Unsupported, match=told):
            create_pipeline([(document, [""])], handlers, Hooks())

    def test_a_recursive_schema_is_refused(self) -> None:
        """References are resolved by then: the schema contains itself."""
        from qashier_mock.pipeline.schemas import translate

        schema: dict[str, Any] = {"type": "object", "properties": {}}
        schema["properties"]["again"] = schema
        with pytest.raises(Unsupported, match="contains itself"):
            translate(schema, "here", request=True)

    def test_a_schema_that_is_none_is_refused(self) -> None:
        from qashier_mock.pipeline.schemas import translate

        with pytest.raises(Unsupported, match="must be an object, not true"):
            translate(True, "here", request=True)

    def test_handlers_may_be_a_module(self) -> None:
        import types

        module = types.ModuleType("handlers_of_a_test")
        exec("async def get_thing(call, id): ...\nasync def _hidden(): ...", module.__dict__)  # noqa: S102
        module.__dict__["imported"] = echo
        rest = {name: handler for name, handler in echoes(TINY).items() if name != "get_thing"}
        build(handlers=[module, rest])
        exec("async def get_nothing(call): ...", module.__dict__)  # noqa: S102
        with pytest.raises(Unsupported, match="'get_nothing'"):
            build(handlers=[module, rest])

    def test_a_missing_handler_is_told(self) -> None:
        handlers = echoes(TINY)
        del handlers["get_thing"]
        with pytest.raises(Unsupported, match="no handler is named 'get_thing'"):
            build(handlers=handlers)

    def test_a_handler_without_an_operation_is_told(self) -> None:
        with pytest.raises(Unsupported, match="'get_thingy'"):
            build(handlers={**echoes(TINY), "get_thingy": echo})

    def test_handlers_may_be_objects_and_only_their_coroutines_count(self) -> None:
        class Half:
            async def get_thing(self, call: Call, id: str) -> Reply:  # noqa: A002, ARG002
                return Reply(200, {"half": id})

            def helper(self) -> None: ...

        rest = {name: handler for name, handler in echoes(TINY).items() if name != "get_thing"}
        assert ask(build(handlers=[Half(), rest]), "GET", "/things/a").json == {"half": "a"}

        class Idle(Half):
            async def get_nothing(self, call: Call) -> None: ...

        with pytest.raises(Unsupported, match="'get_nothing'"):
            build(handlers=[Idle(), rest])

    @pytest.mark.parametrize(
        ("handler", "told"),
        [
            (lambda call, id: Reply(200), "async"),  # noqa: A006, ARG005
            ("async def f(call): ...", "does not take 'id'"),
            ("async def f(call, id, other): ...", "asks for 'other'"),
        ],
    )
    def test_a_handler_takes_what_the_document_gives(self, handler: Any, told: str) -> None:
        if isinstance(handler, str):
            scope: dict[str, Any] = {}
            exec(handler, scope)  # noqa: S102
            handler = scope["f"]
        with pytest.raises(Unsupported, match=told):
            build(handlers={**echoes(TINY), "get_thing": handler})

    def test_a_handler_has_a_default_for_what_is_optional(self) -> None:
        async def create_thing(call: Call, body: Any, idempotency_key: str) -> None: ...

        with pytest.raises(Unsupported, match="no default"):
            build(handlers={**echoes(TINY), "create_thing": create_thing})

    @pytest.mark.parametrize("name", ["qashier", "control"])
    def test_the_served_documents_are_supported(self, name: str) -> None:
        document = Document.load(OPENAPI / f"{name}.yaml")
        create_pipeline([(document, ["", "/v3/payment/qpay"])], echoes(document.content), Hooks())

    def test_a_document_is_loaded_from_json(self, tmp_path: Path) -> None:
        import orjson

        path = tmp_path / "tiny.json"
        path.write_bytes(orjson.dumps(TINY))
        assert ask(build(document=None, handlers=echoes(TINY)), "GET", "/health").status == 200
        app = create_pipeline([(path, [""])], echoes(TINY), Hooks())
        assert ask(app, "GET", "/health").status == 200

    @pytest.mark.parametrize("text", ["- a\n", "5\n"])
    def test_a_file_that_holds_no_document_is_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "tiny.yaml"
        path.write_text(text)
        with pytest.raises(Unsupported, match="an OpenAPI document is an object"):
            Document.load(path)


class TestPrecompiled:
    @pytest.fixture
    def yaml(self, tmp_path: Path) -> Path:
        for name in ("qashier.yaml", "control.yaml"):
            (tmp_path / name).write_bytes((OPENAPI / name).read_bytes())
        return tmp_path / "control.yaml"

    def test_a_fresh_one_is_the_same_document(self, yaml: Path) -> None:
        slow = Document.load(yaml)
        assert precompile(yaml) == yaml.with_suffix(PRECOMPILED_SUFFIX)
        fast = Document.load(yaml)
        assert (slow.proven, fast.proven) == (False, True)
        assert fast.content == slow.content
        assert dict(fast.specification()) == dict(slow.specification())

    @pytest.mark.parametrize("changed", ["control.yaml", "qashier.yaml"])
    def test_a_stale_one_is_not_used(self, yaml: Path, changed: str) -> None:
        precompile(yaml)
        with yaml.with_name(changed).open("a") as file:
            file.write("# changed\n")
        assert not Document.load(yaml).proven

    def test_an_invalid_document_is_not_precompiled(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.yaml"
        path.write_text("openapi: 3.0.3\npaths: {}\n")
        with pytest.raises(Unsupported, match="info"):
            precompile(path)


class TestJudgement:
    def test_a_reply_within_the_document_passes(self) -> None:
        assert ask(build(validate_responses=True), "GET", "/things/a").status == 200

    @pytest.mark.parametrize(
        ("reply", "told"),
        [
            (Reply(202, {}), "no such status"),
            (Reply(200, []), "not of type"),
            (Reply(200), "has a body for it"),
            (Reply(204), "no such status"),
        ],
    )
    def test_a_reply_outside_the_document_fails_the_test_that_caused_it(self, reply: Reply, told: str) -> None:
        with pytest.raises(ReplyOutsideDocument, match=told):
            ask(build(handlers=replying(reply), validate_responses=True), "GET", "/things/a")

    def test_a_body_where_none_is_documented_fails(self) -> None:
        def change(document: dict[str, Any]) -> None:
            document["paths"]["/things/{id}"]["get"]["responses"] = {**ANSWERS, "200": {"description": "empty"}}

        with pytest.raises(ReplyOutsideDocument, match="no body"):
            ask(build(document=tiny(change), validate_responses=True), "GET", "/things/a")

    @pytest.mark.parametrize(("sent", "fine"), [(b"5", True), (b"x", False), (None, False)])
    def test_documented_headers_are_judged(self, sent: bytes | None, fine: bool) -> None:  # noqa: FBT001
        def change(document: dict[str, Any]) -> None:
            header = {"required": True, "schema": {"type": "integer", "minimum": 1}}
            answer = {**ANSWERS["200"], "headers": {"Retry-After": header}}
            document["paths"]["/things/{id}"]["get"]["responses"] = {**ANSWERS, "2XX": answer, "200": answer}

        headers = () if sent is None else ((b"retry-after", sent),)
        app = build(document=tiny(change), handlers=replying(Reply(200, {}, headers)), validate_responses=True)
        if fine:
            assert ask(app, "GET", "/things/a").status == 200
        else:
            with pytest.raises(ReplyOutsideDocument, match="Retry-After"):
                ask(app, "GET", "/things/a")


def test_importing_the_nouns_does_not_import_the_framework() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from qashier_mock.pipeline import Call, Refused, Reply; "
        "assert not {'connexion', 'uvicorn', 'jsonschema_rs'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_an_unknown_name_is_no_attribute() -> None:
    import qashier_mock.pipeline

    with pytest.raises(AttributeError, match="nothing_of_ours"):
        qashier_mock.pipeline.nothing_of_ours  # noqa: B018


SHARED = build()


def test_refused_is_bounded() -> None:
    """Whatever is quoted, a message stays short."""
    answer: Answer = ask(SHARED, "POST", "/things", body={"name": "x" * 1_000_000})
    assert len(answer.body) < 400
    assert isinstance(Refused.__doc__, str)
