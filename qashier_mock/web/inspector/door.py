"""The door of the inspector: who may come in, and how refusals look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hmac import compare_digest
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from qashier_mock.address import is_loopback
from qashier_mock.core.errors import ApiError, RequestInvalid
from qashier_mock.pipeline.refusal import Refused
from qashier_mock.stores.base import StoreUnavailable
from qashier_mock.web.inspector.parts import PREFIX, InspectorParts, path_of, problem
from qashier_mock.web.origin import check_origin

COOKIE: Final = "qashier-mock-inspector"

Handler = Callable[[Request], Awaitable[Response]]


class _NotFromHere(Exception):
    """A request that the inspector does not answer; the message says why."""


class Door:
    """One address and its methods. Whoever may not come in, and whatever goes wrong, leaves through here as a page."""

    def __init__(self, parts: InspectorParts, get: Handler | None, post: Handler | None) -> None:
        handlers = {"GET": get, "HEAD": get, "POST": post}
        self._parts = parts
        self._handlers = {method: handler for method, handler in handlers.items() if handler is not None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except _NotFromHere as error:
            response = problem(HTTPStatus.FORBIDDEN, "Access refused", str(error))
        except (ApiError, Refused) as error:
            response = problem(HTTPStatus.UNPROCESSABLE_ENTITY, "That did not work", str(error))
        except StoreUnavailable as error:
            response = problem(HTTPStatus.SERVICE_UNAVAILABLE, "The store does not answer", str(error))
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        given = request.query_params.get("token") or request.cookies.get(COOKIE)
        if not self._has_token(given):
            self._check_where_from(request)
        if not self._handlers:
            return problem(HTTPStatus.NOT_FOUND, "There is no such page", "The inspector begins at /_mock/.")
        handler = self._handlers.get(request.method)
        if handler is None:
            takes = f"It takes {', '.join(self._handlers)}."
            response = problem(HTTPStatus.METHOD_NOT_ALLOWED, "This page cannot be used that way", takes)
            response.headers["allow"] = ", ".join(self._handlers)
            return response
        if "token" in request.query_params:
            return self._welcome(request)
        return await handler(request)

    def _has_token(self, given: str | None) -> bool:
        token = self._parts.token
        return token is not None and given is not None and compare_digest(token.encode(), given.encode())

    def _check_where_from(self, request: Request) -> None:
        """Answer this machine alone, under its own names, and no form of a stranger's page.

        A link may lead here from anywhere: opening a page changes nothing.

        Raises:
            _NotFromHere: It may not come in.
        """
        client = request.client
        if client is not None and not is_loopback(client.host):
            raise _NotFromHere(
                "The inspector answers this machine alone. Serve with --inspector-token-file to open it here."
            )
        reads = request.method in {"GET", "HEAD"}
        headers = {name: value for name, value in request.headers.raw if not reads or name == b"host"}
        try:
            check_origin(headers, is_local=True, public_host=self._parts.public_host)
        except RequestInvalid as error:
            raise _NotFromHere(str(error)) from None

    def _welcome(self, request: Request) -> Response:
        """Keep the token in a cookie, and get it out of the address: addresses are shown and remembered."""
        rest = [pair for pair in parse_qsl(request.scope["query_string"].decode("latin-1")) if pair[0] != "token"]
        response = RedirectResponse(f"{path_of(request)}?{urlencode(rest)}".rstrip("?"), HTTPStatus.SEE_OTHER)
        response.set_cookie(COOKIE, request.query_params["token"], httponly=True, samesite="strict", path=PREFIX)
        return response
