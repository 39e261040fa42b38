"""Our own handlers and document behind Connexion's own request pipeline: python plain_connexion.py PORT."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import connexion
import uvicorn
from connexion.resolver import Resolver
from connexion.security import BasicSecurityHandler

from benchmarks.servers.settings import UVICORN
from qashier_mock.app import MockApp, Settings
from qashier_mock.core.credentials import account_of
from qashier_mock.documents import documents_folder
from qashier_mock.web.api import ApiHandlers


@dataclass
class Operation:
    """What the handlers ask of an operation."""

    operation_id: str


@dataclass
class PlainCall:
    """What the handlers ask of a call."""

    operation: Operation
    request_id: str
    principal: Any
    unknown_fields: tuple[Any, ...] = ()


def make_app() -> Any:
    mock = MockApp(Settings())
    handlers = ApiHandlers(mock.service)

    def resolve(operation_id: str) -> Any:
        function = getattr(handlers, operation_id)

        async def handler(body: Any = None, user: Any = None, **parameters: Any) -> Any:
            call = PlainCall(Operation(operation_id), mock.hooks.new_request_id(), user)
            arguments = dict(parameters) if body is None else {**parameters, "body": body}
            arguments.pop("token_info", None)
            reply = await function(call, **arguments)
            return reply.payload, reply.status, {"Request-Id": call.request_id}

        return handler

    class KeyHandler(BasicSecurityHandler):  # type: ignore[misc]  # Connexion ships no types
        def get_fn(self, _security_scheme: Any, _required_scopes: Any) -> Any:
            return self._get_verify_func(lambda key, _password: {"sub": account_of(key)})

    app = connexion.AsyncApp(__name__, specification_dir=str(documents_folder()))
    app.add_api("qashier.yaml", resolver=Resolver(function_resolver=resolve), security_map={"basic": KeyHandler})
    return app


if __name__ == "__main__":
    uvicorn.run(make_app(), host="127.0.0.1", port=int(sys.argv[1]), **UVICORN)
