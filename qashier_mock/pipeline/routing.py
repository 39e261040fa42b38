"""Routing on the raw path: an encoded slash never crosses a segment, a trailing slash is another path."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from qashier_mock.pipeline.schemas import Unsupported

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from qashier_mock.pipeline.operations import CompiledOperation


@dataclass(slots=True)
class Route:
    """One path: its operations by method, and the value of Allow, every method of the path."""

    operations: dict[str, CompiledOperation] = field(default_factory=dict)
    allow: bytes = b""


Pattern = tuple[bytes | None, ...]
"""The segments of a path; None stands for a parameter."""


class Router:
    """All paths of all documents, under their base paths."""

    __slots__ = ("_last", "_patterns", "_routes", "static")

    def __init__(self) -> None:
        self.static: dict[bytes, Route] = {}  # routes without parameters, by raw path
        self._last: dict[bytes, Route] = {}  # routes whose only parameter is their last segment, by what is before it
        self._routes: dict[Pattern, Route] = {}
        self._patterns: dict[int, list[Pattern]] = {}  # by their length, those with names in front before others

    def add(self, base_path: str, operation: CompiledOperation) -> None:
        """Add an operation under a base path.

        Raises:
            Unsupported: The method of that path is taken, or a parameter is not a whole segment.
        """
        template = base_path.rstrip("/") + operation.path
        pattern = tuple([_named(segment, template) for segment in template.split("/")[1:]])
        if pattern not in self._routes:
            insort(self._patterns.setdefault(len(pattern), []), pattern, key=lambda it: [name is None for name in it])
        route = self._routes.setdefault(pattern, Route())
        if operation.method in route.operations:
            raise Unsupported(f"{operation.method} {template} is described twice")
        route.operations[operation.method] = operation
        route.allow = ", ".join(sorted(route.operations)).encode()
        if None not in pattern:
            self.static[template.encode()] = route
        elif pattern.index(None) == len(pattern) - 1:
            self._last[template.rpartition("/")[0].encode()] = route

    def match(self, raw_path: bytes) -> tuple[Route | None, Sequence[bytes]]:
        """Return the route of a raw path that is none of `static`, and the decoded values of its parameters, in order.

        Named segments win over parameters. An empty segment is no value.
        """
        if b"%" not in raw_path:
            before, _, last = raw_path.rpartition(b"/")
            route = self._last.get(before)
            if route is not None and last:
                return route, (last,)
        segments = [unquote_to_bytes(segment) for segment in raw_path.split(b"/")[1:]]
        for pattern in self._patterns.get(len(segments), ()):
            pairs = list(zip(pattern, segments, strict=True))
            if all(segment if name is None else segment == name for name, segment in pairs):
                return self._routes[pattern], [segment for name, segment in pairs if name is None]
        return None, ()


def _named(segment: str, template: str) -> bytes | None:
    """What a segment of a template is called; None for a parameter."""
    if segment.startswith("{") and segment.endswith("}") and segment.count("{") == 1:
        return None
    if "{" in segment or "}" in segment or "%" in segment:
        raise Unsupported(f"{template}: a parameter must be a whole segment of the path")
    return segment.encode()


class Pages:
    """Foreign apps, each below a prefix. The longest prefix wins, base paths of documents included.

    The prefix `/` stands for that path alone, and for browsers only: any other client has mistyped a path of the API. A
    prefix whose app is None belongs to nobody.
    """

    __slots__ = ("_prefixes", "_root")

    def __init__(self, pages: Mapping[str, ASGIApp | None], base_paths: Iterable[str]) -> None:
        self._root = pages.get("/")
        owners: dict[str, Any] = {base.rstrip("/"): None for base in base_paths if base.rstrip("/")}
        owners.update({prefix.rstrip("/"): app for prefix, app in pages.items() if prefix != "/"})
        longest_first = sorted(owners.items(), key=lambda owner: len(owner[0]), reverse=True)
        self._prefixes: list[tuple[bytes, ASGIApp | None]] = [(p.encode(), app) for p, app in longest_first]

    def find(self, raw_path: bytes, headers: Iterable[tuple[bytes, bytes]]) -> ASGIApp | None:
        """Return the app that a path belongs to; None where it belongs to a document or to nobody."""
        if raw_path == b"/":
            return self._root if any(name == b"accept" and b"text/html" in value for name, value in headers) else None
        for prefix, app in self._prefixes:
            if raw_path.startswith(prefix) and raw_path[len(prefix) : len(prefix) + 1] in {b"", b"/"}:
                return app
        return None
