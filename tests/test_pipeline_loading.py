"""Loading a document: what the pipeline refuses to serve, and what it keeps compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from pipeline_harness import OPENAPI, TINY, Hooks, ask, body_schema, build, echo, echoes, operation, parameter, tiny

from qashier_mock.pipeline.app import create_pipeline
from qashier_mock.pipeline.document import PRECOMPILED_SUFFIX, Document, precompile
from qashier_mock.pipeline.exchange import Call
from qashier_mock.pipeline.reply import Reply
from qashier_mock.pipeline.schemas import Unsupported, translate


@pytest.fixture(scope="module")
def app() -> Any:
    return build()


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
            create_pipeline([(Document(document), [""])], handlers, Hooks())

    def test_a_recursive_schema_is_refused(self) -> None:
        """References are resolved by then: the schema contains itself."""
        schema: dict[str, Any] = {"type": "object", "properties": {}}
        schema["properties"]["again"] = schema
        with pytest.raises(Unsupported, match="contains itself"):
            translate(schema, "here")

    def test_a_schema_that_is_none_is_refused(self) -> None:
        with pytest.raises(Unsupported, match="must be an object, not true"):
            translate(True, "here")

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
            ("async def f(call): ...", "unexpected keyword argument 'id'"),
            ("async def f(call, id, other): ...", "missing a required (keyword-only )?argument: 'other'"),
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

        with pytest.raises(Unsupported, match=r"missing a required (keyword-only )?argument: 'idempotency_key'"):
            build(handlers={**echoes(TINY), "create_thing": create_thing})

    @pytest.mark.parametrize("name", ["qashier", "control"])
    def test_the_served_documents_are_supported(self, name: str) -> None:
        document = Document.load(OPENAPI / f"{name}.yaml")
        create_pipeline([(document, ["", "/v3/payment/qpay"])], echoes(document.content), Hooks())

    def test_a_document_is_loaded_from_json(self, tmp_path: Path) -> None:
        path = tmp_path / "tiny.json"
        path.write_bytes(orjson.dumps(TINY))
        assert ask(build(document=None, handlers=echoes(TINY)), "GET", "/health").status == 200
        app = create_pipeline([(Document.load(path), [""])], echoes(TINY), Hooks())
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
