"""Replies of the pipeline: how they are written, judged, and go wrong on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from judgement import Judge, ReplyOutsideDocument
from pipeline_harness import ANSWERS, GOOD, TINY, Hooks, ask, build, echoes, replying, tiny

from qashier_mock.pipeline.delays import Delays
from qashier_mock.pipeline.exchange import Call, Fault
from qashier_mock.pipeline.reply import Reply, Transmit
from qashier_mock.pipeline.sending import PIECE


@pytest.fixture(scope="module")
def app() -> Any:
    return build()


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

    def test_a_large_body_is_sent_in_pieces(self) -> None:
        for size in (PIECE, PIECE + 1, 2 * PIECE):
            body = b'"%b"' % (b"x" * (size - 2))
            answer = ask(build(handlers=replying(Reply(200, body))), "GET", "/things/a")
            assert (answer.body, answer.header("content-length")) == (body, str(size))

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
        assert (call.method, call.path, call.query) == ("POST", b"/things", b"x=1")
        assert call.request_id == answer.header("request-id")

    def test_a_call_knows_its_operation(self) -> None:
        hooks = Hooks()
        app = build(hooks, timer=lambda: 12.5)
        ask(app, "GET", "/v1/things")
        ((call, _, _),) = hooks.seen
        assert (call.operation_id, call.template) == ("list_things", "/things")
        assert call.started == 12.5

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
        with pytest.raises(ConnectionError):
            ask(app, "GET", "/things/a")

    def test_a_fault_that_does_nothing_at_all_is_refused(self) -> None:
        with pytest.raises(ValueError, match="must drop"):
            Fault(perform=False)


class TestJudgement:
    def test_a_reply_within_the_document_passes(self) -> None:
        assert ask(build(judge=Judge()), "GET", "/things/a").status == 200

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
            ask(build(handlers=replying(reply), judge=Judge()), "GET", "/things/a")

    def test_a_body_where_none_is_documented_fails(self) -> None:
        def change(document: dict[str, Any]) -> None:
            document["paths"]["/things/{id}"]["get"]["responses"] = {**ANSWERS, "200": {"description": "empty"}}

        with pytest.raises(ReplyOutsideDocument, match="no body"):
            ask(build(document=tiny(change), judge=Judge()), "GET", "/things/a")

    @pytest.mark.parametrize(("sent", "fine"), [(b"5", True), (b"x", False), (None, False)])
    def test_documented_headers_are_judged(self, sent: bytes | None, fine: bool) -> None:  # noqa: FBT001
        def change(document: dict[str, Any]) -> None:
            header = {"required": True, "schema": {"type": "integer", "minimum": 1}}
            answer = {**ANSWERS["200"], "headers": {"Retry-After": header}}
            document["paths"]["/things/{id}"]["get"]["responses"] = {**ANSWERS, "2XX": answer, "200": answer}

        headers = () if sent is None else ((b"retry-after", sent),)
        app = build(document=tiny(change), handlers=replying(Reply(200, {}, headers)), judge=Judge())
        if fine:
            assert ask(app, "GET", "/things/a").status == 200
        else:
            with pytest.raises(ReplyOutsideDocument, match="Retry-After"):
                ask(app, "GET", "/things/a")
