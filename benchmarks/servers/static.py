"""The limit and the baseline, a fixed body of SIZE bytes: python static.py raw|starlette PORT SIZE."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

from benchmarks.servers.settings import UVICORN


def raw(body: bytes) -> Any:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return app


def starlette(body: bytes) -> Any:
    from starlette.applications import Starlette  # noqa: PLC0415 - one of two
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    async def answer(_request: Request) -> Response:
        return Response(body, media_type="application/json")

    paths = ("/checkout/sessions", "/checkout/sessions/{id}")
    return Starlette(routes=[Route(path, answer, methods=["GET", "POST"]) for path in paths])


if __name__ == "__main__":
    kind, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    content = b'{"id":"' + b"x" * (size - 9) + b'"}'
    app = raw(content) if kind == "raw" else starlette(content)
    uvicorn.run(app, host="127.0.0.1", port=port, **UVICORN)
