"""Bodies at request time: what is taken, and what a refusal blames."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_harness import GOOD, Hooks, ask, build, limited

from qashier_mock.pipeline.schemas import Schema
from qashier_mock.pipeline.unknown import MAX_UNKNOWN, close

SHARED = build()


@pytest.fixture(scope="module")
def app() -> Any:
    return build()


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
        app = build(document=limited(20))
        assert ask(app, "POST", "/things", chunks=[b'{"name": "a"}', b" " * 7]).status == 200
        assert ask(app, "POST", "/things", chunks=[b'{"name": "a"}', b" " * 8]).status == 413
        assert ask(app, "POST", "/things", chunks=[b" " * 21]).status == 413

    def test_an_operation_may_have_a_limit_of_its_own(self) -> None:
        app = build(document=limited(3_000_000))
        assert ask(app, "POST", "/things", body=b'{"name": "a"}'.ljust(3_000_000)).status == 200
        refused = ask(app, "POST", "/things", body=b'{"name": "a"}'.ljust(3_000_001))
        assert (refused.status, refused.code) == (413, "body_too_large")

    @pytest.mark.parametrize("declared", [b"21", b"9" * 400])
    def test_a_body_announced_as_too_large_is_not_read(self, declared: bytes) -> None:
        answer = ask(build(document=limited(20)), "POST", "/things", headers=[(b"content-length", declared)], chunks=[])
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


LINE: dict[str, Any] = {"type": "object", "properties": {"quantity": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "value", "is_taken"),
    [
        (
            {"type": "object", "properties": {"lines": {"type": "array", "items": LINE}}},
            {"lines": [{"quantity": 1}]},
            True,
        ),
        ({"type": "object", "properties": {"lines": {"type": "array", "items": LINE}}}, {"lines": [{"qty": 1}]}, False),
        ({"type": "object", "properties": {"line": LINE}}, {"lien": {}}, False),
        ({"type": "object", "properties": {"free": {"type": "object"}}}, {"free": {"any": 1}}, True),
        ({"type": "object", "additionalProperties": LINE}, {"any": {"quantity": 1, "more": 2}}, True),
        ({"type": "object", "properties": {"name": {"allOf": [{"maxLength": 1}]}}}, {"name": "a"}, True),
        ({"type": "object", "properties": {"name": {"allOf": [{"maxLength": 1}]}}}, {"name": "ab"}, False),
    ],
)
def test_a_closed_schema_takes_what_is_valid_and_has_no_unknown_field(
    schema: dict[str, Any], value: Any, *, is_taken: bool
) -> None:
    closed = close(schema)
    assert closed is not None
    assert Schema(closed).is_valid(value) is is_taken


@pytest.mark.parametrize("key", ["allOf", "anyOf", "oneOf"])
def test_a_schema_whose_alternatives_have_fields_cannot_be_closed(key: str) -> None:
    assert close({"type": "object", "properties": {"lines": {"type": "array", "items": {key: [LINE]}}}}) is None
