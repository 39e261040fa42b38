"""Ways to change the reference server from outside: a setting, a request before, an answer after, or one method.

Each gives a `Tampering`, which changes one server and no other. What is wrapped gets the `Inner` method, then what the
method is called with; `inner.server` is the server.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from tests.targets.reference import Reference
from tests.targets.values import Answer, Request, Session

Tampering = Callable[[Reference], None]


@dataclass(frozen=True)
class Defect:
    """The clause that it breaks, and how."""

    clause: str
    tampering: Tampering


@dataclass(frozen=True)
class Inner:
    """The method that was wrapped."""

    server: Reference
    method: Callable[..., Any]

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.method(*args, **named)


def wrapped(name: str, outer: Callable[..., Any]) -> Tampering:
    """One method of the server, which `outer(inner, …)` takes the place of."""

    def tamper(server: Reference) -> None:
        inner = Inner(server, getattr(server, name))
        setattr(server, name, lambda *args, **named: outer(inner, *args, **named))

    return tamper


def replaced(name: str, outer: Callable[..., Any]) -> Tampering:
    """One method of the server, which `outer` takes the place of, with the same arguments."""
    return lambda server: setattr(server, name, outer)


def result(name: str, change: Callable[[Any], Any]) -> Tampering:
    """What one method gives back."""
    return wrapped(name, lambda inner, *args, **named: change(inner(*args, **named)))


def setting(**changes: Any) -> Tampering:
    """Limits, delays and the like."""

    def tamper(server: Reference) -> None:
        server.settings = replace(server.settings, **changes)

    return tamper


def both(*tamperings: Tampering) -> Tampering:
    """Several at once."""

    def tamper(server: Reference) -> None:
        for one in tamperings:
            one(server)

    return tamper


def fresh(make: Callable[[], Tampering]) -> Tampering:
    """A tampering that remembers something: made anew for each server."""

    def tamper(server: Reference) -> None:
        make()(server)

    return tamper


def request(change: Callable[[Reference, Request], Request]) -> Tampering:
    """A request before the server sees it."""
    return wrapped("respond", lambda inner, seen: inner(change(inner.server, seen)))


def answer(change: Callable[[Request, Answer], Answer]) -> Tampering:
    """An answer after the server gave it."""
    return wrapped("respond", lambda inner, seen: change(seen, inner(seen)))


def error(change: Callable[[Answer], Answer], *, code: str | None = None) -> Tampering:
    """An answer that refuses; only with this code, if there is one."""

    def changed(_: Request, given: Answer) -> Answer:
        is_error = given.status >= 400 and isinstance(given.content, dict) and "error" in given.content
        return change(given) if is_error and code in {None, given.content["error"]["code"]} else given

    return answer(changed)


def status(number: int, *, code: str | None = None) -> Tampering:
    """The status of an answer that refuses."""
    return error(lambda given: replace(given, status=number), code=code)


def headers(given: Answer, **changes: str | None) -> Answer:
    """The answer with other headers; None takes one away. Underscores stand for dashes."""
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    left = {name: value for name, value in given.headers.items() if name not in named}
    return replace(given, headers={**left, **{name: value for name, value in named.items() if value is not None}})


def built(change: Callable[[Session], Any]) -> Tampering:
    """A new session, which `change` gives other values or changes itself."""

    def changed(session: Session) -> Session:
        return {**session, **(change(session) or {})}

    return result("built", changed)


def shown(change: Callable[[Session], Any], *, where: str = "shown") -> Tampering:
    """A session as it is sent."""
    return result(where, lambda session: {**session, **(change(session) or {})})


def without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What leaves some names out."""
    return lambda holder: {name: value for name, value in holder.items() if name not in names}


def unlocked(server: Reference) -> None:
    """Requests run side by side."""
    server.lock = nullcontext()
