"""Routing on the raw path: an encoded slash never crosses a segment, a trailing slash is another path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from qashier_mock.pipeline.schemas import Unsupported

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from qashier_mock.pipeline.operations import CompiledOperation


class Route:
    """One path.

    Attributes:
        operations: By method.
        allow: The value of Allow, every method of the path.
        template: For messages.
    """

    __slots__ = ("allow", "operations", "template")

    def __init__(self, template: str) -> None:
        self.template = template
        self.operations: dict[str, CompiledOperation] = {}
        self.allow = b""

    def add(self, operation: CompiledOperation) -> None:
        """Add the operation of one method."""
        self.operations[operation.method] = operation
        self.allow = ", ".join(sorted(self.operations)).encode()


class _Node:
    __slots__ = ("any", "route", "static")

    def __init__(self) -> None:
        self.static: dict[bytes, _Node] = {}
        self.any: _Node | None = None
        self.route: Route | None = None


class Router:
    """All paths of all documents, under their base paths.

    Attributes:
        static: Routes without parameters, by raw path.
    """

    __slots__ = ("_last", "_root", "static")

    def __init__(self) -> None:
        self.static: dict[bytes, Route] = {}
        self._root = _Node()
        self._last: dict[bytes, Route] = {}  # routes whose only parameter is their last segment, by what is before it

    def add(self, base_path: str, operation: CompiledOperation) -> None:
        """Add an operation under a base path.

        Raises:
            Unsupported: The method of that path is taken, or a parameter is not a whole segment.
        """
        template = base_path.rstrip("/") + operation.path
        segments = template.split("/")[1:]
        node = self._root
        for segment in segments:
            if segment.startswith("{") and segment.endswith("}") and segment.count("{") == 1:
                node.any = node.any or _Node()
                node = node.any
            elif "{" in segment or "}" in segment or "%" in segment:
                raise Unsupported(f"{template}: a parameter must be a whole segment of the path")
            else:
                node = node.static.setdefault(segment.encode(), _Node())
        route = node.route = node.route or Route(template)
        if operation.method in route.operations:
            raise Unsupported(f"{operation.method} {template} is described twice")
        route.add(operation)
        before, _, last = template.rpartition("/")
        if "{" not in template:
            self.static[template.encode()] = route
        elif "{" not in before and last.startswith("{"):
            self._last[before.encode()] = route

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
        values: list[bytes] = []
        return self._descend(self._root, segments, 0, values), values

    def _descend(self, node: _Node, segments: list[bytes], i: int, values: list[bytes]) -> Route | None:
        if i == len(segments):
            return node.route
        segment = segments[i]
        below = node.static.get(segment)
        if below is not None:
            found = self._descend(below, segments, i + 1, values)
            if found is not None:
                return found
        if node.any is None or not segment:
            return None
        values.append(segment)
        found = self._descend(node.any, segments, i + 1, values)
        if found is None:
            values.pop()
        return found


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
