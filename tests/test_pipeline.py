"""The pipeline: what happens to one request, in which order, and what is refused at load."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_harness import KEY, Answer, Hooks, ask, build, limited

from qashier_mock.pipeline.refusal import Refused


@pytest.fixture(scope="module")
def app() -> Any:
    return build()


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
        app = build(document=limited(10))
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
        assert (nowhere.method, nowhere.path, nowhere.query) == ("GET", b"/nowhere", b"x=%20")
        assert (nowhere.headers[b"authorization"], nowhere.headers[b"x-a"]) == (KEY, b"b")
        assert (reply.status, b"path_unknown" in body, nowhere.request_id) == (404, True, "req_1")
        assert (refused.method, b"authorization" in refused.headers) == ("DELETE", False)

    def test_an_admission_hook_refuses_after_validation(self, app: Any) -> None:
        assert ask(app, "GET", "/things/refused-by-admit").status == 401
        assert ask(app, "GET", "/things/refused-by-admit?x=1").status == 400


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


def test_importing_the_nouns_does_not_import_the_framework() -> None:
    code = (
        "import sys; from qashier_mock.pipeline import exchange, refusal, reply; "
        "assert not {'connexion', 'uvicorn', 'jsonschema_rs'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


SHARED = build()


def test_refused_is_bounded() -> None:
    """Whatever is quoted, a message stays short."""
    answer: Answer = ask(SHARED, "POST", "/things", body={"name": "x" * 1_000_000})
    assert len(answer.body) < 400
    assert isinstance(Refused.__doc__, str)
