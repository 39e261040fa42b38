"""Bodies that are large, broken or hostile: what they may cost, and that what is said of them is right."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import time
import tracemalloc
from typing import Any

import jsonschema_rs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qashier_mock.app import MockApp, Settings
from qashier_mock.pipeline import pieces as module
from qashier_mock.pipeline.garbage import garbage_left
from qashier_mock.pipeline.pieces import MAX_ELEMENT, PieceReader
from qashier_mock.pipeline.refusal import Refused
from qashier_mock.pipeline.violations import violations

THING = {"type": "object", "required": ["a"], "additionalProperties": False, "properties": {"a": {"type": "integer"}}}
THINGS: dict[str, Any] = {
    "type": "object",
    "required": ["version"],
    "additionalProperties": False,
    "properties": {
        "version": {"type": "integer"},
        "things": {"type": "array", "items": THING},
        "names": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
        "free": {},
    },
}
READER = PieceReader(THINGS)


def read(raw: bytes) -> Any:
    return asyncio.run(READER.read(raw))


def refusal(raw: bytes) -> Refused:
    with pytest.raises(Refused) as refused:
        read(raw)
    return refused.value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab"\\{[,é', max_size=3), inner, max_size=4),
)


@given(
    things=st.lists(st.fixed_dictionaries({"a": st.integers(-9, 9)})),
    names=st.lists(st.text('a"\\,]}é\n'), unique=True),
    free=JSON,
    indent=st.sampled_from([None, 1]),
    order=st.permutations(["version", "things", "names", "free"]),
    piece=st.integers(1, 40),
)
def test_a_body_in_pieces_is_what_it_is_as_a_whole(
    *, things: Any, names: Any, free: Any, indent: int | None, order: list[str], piece: int
) -> None:
    values = {"version": 1, "things": things, "names": names, "free": free}
    body = {name: values[name] for name in order}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)
        assert read(json.dumps(body, indent=indent).encode()) == body


@given(raw=st.text('[]{},:"\\1a ', max_size=12).map(str.encode), piece=st.integers(1, 5))
def test_what_is_not_json_is_refused(raw: bytes, piece: int) -> None:
    for body in (raw, b'{"version":1,"things":[' + raw, b'{"version":1,"names":["a",' + raw + b"]}", b'{"free":' + raw):
        try:
            whole = orjson.loads(body)
        except orjson.JSONDecodeError:
            whole = None
        is_valid = whole is not None and jsonschema_rs.Draft4Validator(THINGS).is_valid(whole)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "PIECE", piece)
            if is_valid:
                assert read(body) == whole
            else:
                refusal(body)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"version":1,"things":[{"a":1},{"a":"x"}]}', "things[1].a"),
        (b'{"version":1,"things":[{"a":1},{}]}', "things[1].a"),
        (b'{"things":[]}', "version"),
        (b'{"version":1,"things":{}}', "things"),
        (b'{"version":1,"names":["a","a"]}', "names"),
        (b'{"version":1,"other":[]}', "other"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(raw: bytes, param: str) -> None:
    assert refusal(raw).param == param


def many(element: bytes, size: int = 3_000_000) -> bytes:
    return b",".join([element] * (size // (len(element) + 1)))


HOSTILE = {
    "nested arrays": b'{"version":1,"things":[' + many(b"[[[]]]") + b"]}",
    "small objects": b'{"version":1,"things":[' + many(b'{"b":1}') + b"]}",
    "strings": b'{"version":1,"things":[' + many(b'"ab"') + b"]}",
    "one element of many": b'{"version":1,"things":[[' + many(b"[[[]]]") + b"]]}",
    "deep": b'{"version":1,"things":' + b"[" * 3_000_000,
    "deep and free": b'{"version":1,"free":' + b"[" * 3_000_000,
    "free arrays": b'{"version":1,"free":[' + many(b"[[[]]]") + b"]}",
    "an endless string": b'{"version":1,"things":["' + b"a" * 3_000_000,
    "quotes": b'{"version":1,"things":[' + b'\\"' * 1_500_000,
    "an endless number": b'{"version":' + b"1" * (MAX_ELEMENT + 1),
    "many properties": b"{" + b",".join(b'"k%d":1' % i for i in range(200_000)) + b"}",
    "an element of many properties": b'{"things":[{' + b",".join(b'"k%d":1' % i for i in range(200_000)) + b"}]}",
    "a property of many values": b'{"free":[' + many(b"1") + b"]}",
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_a_refused_body_costs_no_more_than_ten_times_its_bytes(raw: bytes) -> None:
    tracemalloc.start()
    try:
        refusal(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(raw) + 32_000_000


@pytest.mark.parametrize("name", ["many properties", "an element of many properties", "a property of many values"])
def test_others_have_their_turn_until_a_body_is_refused(name: str) -> None:
    async def longest_turn() -> float:
        reading = asyncio.ensure_future(READER.read(HOSTILE[name]))
        longest, before = 0.0, time.thread_time()
        while not reading.done():
            await asyncio.sleep(0)
            longest, before = max(longest, time.thread_time() - before), time.thread_time()
        assert isinstance(reading.exception(), Refused)
        return longest

    assert asyncio.run(longest_turn()) < 0.05


def test_a_text_may_be_made_of_brackets_and_commas() -> None:
    text = "[{," * 100_000
    assert read(b'{"version":1,"free":' + json.dumps(text).encode() + b"}")["free"] == text


def test_others_have_their_turn_while_a_large_body_is_read() -> None:
    raw = b'{"version":1,"things":[' + many(b'{"a":1}', 1_000_000) + b"]}"

    async def story() -> int:
        reading = asyncio.ensure_future(READER.read(raw))
        turns = 0
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        assert len((await reading)["things"]) == 125_000
        return turns

    assert asyncio.run(story()) > len(raw) / module.PIECE


@pytest.mark.parametrize("owns_process", [True, False])
def test_the_collector_rests_while_many_objects_are_made(monkeypatch: pytest.MonkeyPatch, owns_process: bool) -> None:  # noqa: FBT001
    done: list[str] = []
    monkeypatch.setattr("gc.get_freeze_count", lambda: int(owns_process))
    monkeypatch.setattr("gc.freeze", lambda: done.append("set aside"))
    with garbage_left(1_000_000):
        assert gc.isenabled()
    assert done == []
    with garbage_left(2_000_000):
        assert not gc.isenabled()
    assert gc.isenabled()
    assert done == ["set aside"] * owns_process


# the two engines


@pytest.fixture(scope="module")
def operations() -> dict[str, Any]:
    app: Any = MockApp(Settings()).asgi
    return {each.operation_id: each for each in app.operations}


BODIES = {
    "create_checkout_session": {
        "line_items": [
            {"price_data": {"currency": "SGD", "product_data": {"name": "a"}, "unit_amount": 5}, "quantity": 2}
        ],
        "success_url": "https://shop.example/a",
        "return_url": "https://shop.example/b",
        "expires_at": 1_800_000_000,
    },
    "create_fault": {"operation": "*", "action": "delay", "seconds": 1},
    "create_webhook_endpoint": {"url": "https://shop.example/h", "types": ["checkout.session.completed"]},
    "put_clock": {"now": 5, "frozen": True},
}
OTHERS: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    10**18,
    "",
    "x" * 3_000,
    [],
    [1, 1],
    {},
    {"unit_amount": 1},
    "https://a.b/c\n",
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a value, with each of its keys."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@pytest.mark.parametrize("operation", BODIES)
def test_both_engines_agree_on_what_is_valid(operations: dict[str, Any], operation: str) -> None:
    """One says whether a value is valid, the other what is wrong with it."""
    schema = operations[operation].body._schema
    body: Any = BODIES[operation]
    assert schema.is_valid(body)
    for number in range(len(places(body))):
        for other in (..., *OTHERS):
            changed = copy.deepcopy(body)
            container, key = places(changed)[number]
            if other is ...:
                del container[key]
            else:
                container[key] = other
            found = next(violations(schema.source, changed, ()), None)
            assert schema.is_valid(changed) == (found is None), (changed, found)
