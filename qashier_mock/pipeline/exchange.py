"""What hooks and handlers receive of one request, and the hooks themselves.

Nothing here imports a framework at run time, so that whoever needs a noun does not pay for the pipeline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from qashier_mock.pipeline.reply import Reply, Transmit

if TYPE_CHECKING:
    from qashier_mock.pipeline.unknown import UnknownField


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """What shall go wrong with a call, as `Hooks.intercept` returns it.

    Attributes:
        delay_s: Real seconds to wait before anything is done.
        reply: Answered instead of the handler's own reply; None keeps that one.
        transmit: How much of the reply reaches the client.
        perform: Whether the request is carried out. Without it, there must be a reply or a dropped connection.
    """

    delay_s: float = 0
    reply: Reply | None = None
    transmit: Transmit = Transmit.WHOLE
    perform: bool = True

    def __post_init__(self) -> None:
        if not self.perform and self.reply is None and self.transmit is not Transmit.DROPPED:
            raise ValueError("a fault that neither performs the request nor replies must drop the connection")


@dataclasses.dataclass(slots=True)
class Call:
    """One request.

    Attributes:
        operation_id: Of its operation; empty where no operation takes the path or the method. Then nobody was
            authenticated, and nothing is parsed.
        template: The path of the operation, as in `/things/{id}`; without one, as received.
        request_id: Sent back as Request-Id.
        started: When it came, in seconds of the timer that the pipeline was given.
        principal: What `Hooks.authenticate` returned; None on an operation with `security: []`, and until then.
        method: As received.
        path: As received: not decoded.
        query: As received: not decoded.
        headers: By name in lower case; of one that was sent more than once, the last.
        arguments: Parsed parameters by the snake_case of their name; left out where optional and absent, defaults
            filled in. The body is `body`. Empty until everything is validated.
        raw_body: The bytes that came; None until they are read, and where the operation takes no body.
        unknown_fields: Properties of the body that the schema does not name.
        context: For hooks and handlers to leave each other what they know of the call.
    """

    operation_id: str
    template: str
    request_id: str
    started: float
    principal: Any
    method: str
    path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    arguments: dict[str, Any]
    raw_body: bytes | None = None
    unknown_fields: tuple[UnknownField, ...] = ()
    context: Any = None


class Hooks(Protocol):
    """What the pipeline asks of the app that it is part of."""

    def new_request_id(self) -> str:
        """Return a fresh id of letters, digits and underscores."""

    def authenticate(self, authorization: Sequence[bytes]) -> Any:
        """Return who is calling, never None, from the values of the Authorization headers, in order."""

    def intercept(self, call: Call) -> Awaitable[Fault | None] | None:
        """Run after authentication, before anything is parsed: `call.arguments` is empty.

        None at once where it is certain that nothing is planned, which most calls can be told without waiting.
        """

    def admit(self, call: Call) -> None:
        """Run after validation, before the handler. Whatever it raises goes to `render_error`."""

    def render_error(self, error: Exception, call: Call | None) -> Reply:
        """Turn an error into a reply. Every refusal leaves through here.

        An exception that it does not know it re-raises: that is logged, and comes back as `Refused` with
        `Reason.INTERNAL_ERROR`.
        """

    def observe(self, call: Call, reply: Reply, body: bytes) -> Sequence[tuple[bytes, bytes]]:
        """Run once a request has its reply, before it is sent; return further headers for the reply of an operation.

        `reply.transmit` says how much of it will be sent, and `call.principal` is None where nobody was authenticated.
        """
