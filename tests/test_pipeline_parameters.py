"""Parameters at request time: what a path, a query and a header may be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_harness import GOOD, ask, build, operation, parameter, tiny

from qashier_mock.pipeline.schemas import Schema, translate

SHARED = build()


@pytest.fixture(scope="module")
def app() -> Any:
    return build()


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
    compiled = Schema(translate(schema, "here"))
    assert not compiled.is_valid(value)
    assert message in compiled.refusal(value, "x").message
