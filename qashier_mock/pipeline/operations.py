"""Operations: Connexion's model of each, compiled once into what a request needs."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from qashier_mock.pipeline.bodies import BodyParser
from qashier_mock.pipeline.framework import OpenAPIOperation, ResolverError
from qashier_mock.pipeline.parameters import QueryParser, Scalar, compile_parameters
from qashier_mock.pipeline.schemas import Unsupported

if TYPE_CHECKING:
    from qashier_mock.pipeline.reply import Reply

OPERATION_KEYS: Final = frozenset(
    {
        "tags", "summary", "description", "externalDocs", "operationId", "parameters", "requestBody", "responses",
        "callbacks", "deprecated", "security", "servers",
    }
)  # fmt: skip


def handlers_by_name(owners: object | Sequence[object]) -> Mapping[str, Any]:
    """Return what mappings hold, and the public coroutine functions of other objects; the first of a name counts."""
    found: dict[str, Any] = {}
    for owner in owners if isinstance(owners, Sequence) else [owners]:
        members = owner if isinstance(owner, Mapping) else dict(inspect.getmembers(owner, inspect.iscoroutinefunction))
        found = {**members, **found}
    return {name: handler for name, handler in found.items() if not name.startswith("_")}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CompiledOperation:
    """One operation of a document.

    Attributes:
        operation_id: Also the name of its handler.
        method: In capitals.
        path: The template, without base path: `/checkout/sessions/{id}`.
        is_secured: Whether a caller must be authenticated.
        max_body: Bytes of a request body at most, where `x-max-body` gives the operation a limit of its own.
        responses: As in the document, by status, references resolved.
    """

    operation_id: str
    method: str
    path: str
    is_secured: bool
    max_body: int | None
    responses: Mapping[str, Any]
    handler: Callable[..., Awaitable[Reply]]
    path_parameters: tuple[Scalar, ...]
    query: QueryParser
    headers: tuple[tuple[bytes, Scalar], ...]
    body: BodyParser | None


def compile_operation(specification: Any, path: str, method: str, resolver: Any) -> CompiledOperation:
    """Compile one operation of Connexion's `Specification`; its `Resolver` finds the handler.

    Raises:
        Unsupported: The document asks for something that is not done here, or there is no handler.
    """
    where = f"{method.upper()} {path}"
    declared = specification["paths"][path]
    _check_path_item(declared, where)
    raw = declared[method]
    unknown = {key for key in raw if key not in OPERATION_KEYS and not key.startswith("x-")}
    if unknown or raw.get("servers"):
        raise Unsupported(f"{where}: {', '.join(sorted(unknown)) or 'servers'} is not supported")
    if not raw.get("operationId"):
        raise Unsupported(f"{where}: an operation needs an operationId")
    try:
        model = OpenAPIOperation.from_spec(specification, path=path, method=method, resolver=resolver)
    except ResolverError as error:
        raise Unsupported(f"{where}: {error}") from error
    path_parameters, query, headers = compile_parameters(model.parameters, where)
    body = BodyParser(model.request_body, where) if model.request_body else None
    segments = [segment[1:-1] for segment in path.split("/") if segment.startswith("{")]
    if sorted(segments) != sorted(path_parameters):
        raise Unsupported(f"{where}: the path names {segments}, the parameters {sorted(path_parameters)}")
    scalars = [*path_parameters.values(), *query.scalars, *headers.values()]
    _check_handler(model.function, scalars, body, where)
    _check_responses(model.responses, where)
    return CompiledOperation(
        operation_id=model.operation_id,
        method=method.upper(),
        path=path,
        is_secured=_is_secured(model, where),
        max_body=_max_body(raw, where),
        responses=model.responses,
        handler=model.function,
        path_parameters=tuple(path_parameters[name] for name in segments),
        query=query,
        headers=tuple(headers.items()),
        body=body,
    )


def _check_path_item(item: Mapping[str, Any], where: str) -> None:
    for key in ("parameters", "servers", "$ref"):
        if key in item:
            raise Unsupported(f"{where}: {key} of a whole path is not supported; write it at each operation")


def _is_secured(model: Any, where: str) -> bool:
    """Whether the document wants a caller for it. Who may call, the hooks decide."""
    requirements = model.security
    if not requirements:
        return False
    for requirement in requirements:
        if not requirement:
            raise Unsupported(f"{where}: optional security is not supported")
        for name in requirement:
            scheme = model.security_schemes.get(name, {})
            if scheme.get("type") != "http":
                raise Unsupported(f"{where}: the security scheme {name!r} is not one of the Authorization header")
    return True


def _max_body(raw: Mapping[str, Any], where: str) -> int | None:
    limit = raw.get("x-max-body")
    if limit is not None and (type(limit) is not int or limit < 1 or "requestBody" not in raw):
        raise Unsupported(f"{where}: x-max-body is a number of bytes, of an operation that has a body")
    return limit


def _check_responses(responses: Mapping[str, Any], where: str) -> None:
    for status, response in responses.items():
        for media_type in response.get("content", {}):
            if media_type != "application/json":
                raise Unsupported(f"{where}, {status}: an answer must be application/json, not {media_type}")


def _check_handler(function: Any, scalars: list[Scalar], body: BodyParser | None, where: str) -> None:
    """Check that a handler takes the arguments of its operation, with and without the optional ones."""
    name = getattr(function, "__name__", repr(function))
    if not inspect.iscoroutinefunction(function):
        raise Unsupported(f"{where}: the handler {name} must be an async function")
    always = {scalar.argument: scalar.required or scalar.has_default for scalar in scalars}
    if body is not None:
        always["body"] = body.required
    for given in (list(always), [argument for argument in always if always[argument]]):
        try:
            inspect.signature(function).bind("the call", **dict.fromkeys(given))
        except TypeError as error:
            raise Unsupported(f"{where}: the handler {name} cannot be called with {given}: {error}") from None
