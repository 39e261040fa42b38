"""A recorded history as a JSON file, and back.

The document carries a version, and the names of its members are those of the dataclasses in `history`. A member that
has its default value is left out. Secrets are never written: neither a webhook secret (a field that does not show
itself) nor a cookie. So a trace that was read back leaves out what only a secret can judge (EVT-7).
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from qashier_contract.history import Delivery, Endpoint, Exchange, History, Terms

FORMAT: Final = "qashier-mock trace"
VERSION: Final = 1
HIDDEN: Final = "***"
_LONG: Final = 1024 * 1024
"""A longer body is packed: what we send of that length is mostly blanks."""
_LONGEST: Final = 64 * _LONG
"""What a packed body is cut at."""
_SECRET_HEADERS: Final = frozenset({"cookie", "set-cookie", "proxy-authorization"})
_PARTS: Final[Mapping[str, type]] = {"endpoints": Endpoint, "exchanges": Exchange, "deliveries": Delivery}


class TraceError(Exception):
    """A file is no trace, or a damaged one. The message names the file and the place in it."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What was recorded of one target. `seed` is what the requests were drawn from, None where nothing was drawn."""

    history: History
    target: str
    seed: int | None = None


def render(trace: Trace) -> str:
    """A trace as the text of a file, one line for each exchange and delivery."""
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION, "target": trace.target}
    if trace.seed is not None:
        head["seed"] = trace.seed
    head["terms"] = _encoded(trace.history.terms)
    parts = [json.dumps(head, ensure_ascii=False)[:-1]]
    for name in _PARTS:
        lines = ",\n".join(json.dumps(_encoded(one), ensure_ascii=False) for one in getattr(trace.history, name))
        parts.append(f'"{name}": [\n{lines}\n]' if lines else f'"{name}": []')
    return ",\n".join(parts) + "}\n"


def is_trace(document: Any) -> bool:
    """Whether a JSON document says that it is a trace."""
    return isinstance(document, dict) and document.get("format") == FORMAT


def load(path: Path) -> Any:
    """The JSON document in a file.

    Raises:
        TraceError: The file cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise TraceError(f"{path} is not a JSON document, or only part of one") from None


def parse(document: Any, name: str) -> Trace:
    """The trace in a JSON document that came from the file `name`.

    Raises:
        TraceError: The document is no whole trace.
    """
    if not is_trace(document):
        raise TraceError(f"{name} is not a trace; `qashier-mock check URL --report trace=FILE` writes one")
    version = document.get("version")
    if version != VERSION:
        raise TraceError(f"{name} is a trace of version {version!r}; this qashier-mock reads version {VERSION}")
    try:
        _refuse_unknown(document, {"format", "version", "target", "seed", "terms", *_PARTS}, "")
        parts = {part: _decoded(tuple[kind, ...], document.get(part), part) for part, kind in _PARTS.items()}  # type: ignore[valid-type]
        return Trace(
            history=History(terms=_decoded(Terms, document.get("terms"), "terms"), **parts),
            target=_decoded(str, document.get("target"), "target"),
            seed=_decoded(int | None, document.get("seed"), "seed"),
        )
    except _Damaged as damage:
        raise TraceError(f"{name} is a damaged trace: {damage}") from None


class _Damaged(Exception):
    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")


def _encoded(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: _encoded(_kept(entry.name, getattr(value, entry.name))) for entry in _written(value)}
    if isinstance(value, bytes):
        if len(value) > _LONG:
            return {"zlib": base64.b64encode(zlib.compress(value)).decode("ascii")}
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_encoded(one) for one in value]
    return value


def _written(value: Any) -> Iterator[Field[Any]]:
    """The fields that a file needs: no secret, and nothing that is as it would be anyway."""
    for entry in fields(value):
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        if entry.repr and getattr(value, entry.name) != default:
            yield entry


def _kept(name: str, value: Any) -> Any:
    return without_secrets(value) if name == "headers" else value


def without_secrets(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Headers as they may be kept: a cookie is as good as a key."""
    return tuple((name, HIDDEN if name.lower() in _SECRET_HEADERS else value) for name, value in headers)


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _decoded(kind: Any, value: Any, where: str) -> Any:
    """A JSON value as a value of a type: a dataclass, or what its fields are made of."""
    arguments = get_args(kind)
    if isinstance(kind, UnionType):
        return None if value is None else _decoded(arguments[0], value, where)
    if get_origin(kind) is tuple:
        return _sequence(arguments, value, where)
    if get_origin(kind) is frozenset:
        return frozenset(_sequence((arguments[0], ...), value, where))
    if is_dataclass(kind) and isinstance(kind, type):
        return _object(kind, value, where)
    if kind is bytes:
        return _body(value, where)
    if issubclass(kind, StrEnum):
        if value not in {member.value for member in kind}:
            raise _Damaged(where, f"must be one of {', '.join(kind)}")
        return kind(value)
    if type(value) is not kind:
        raise _Damaged(where, "missing" if value is None else f"must be {_WORDS[kind]}")
    return value


_WORDS: Final[Mapping[type, str]] = {str: "text", int: "an integer", bool: "true or false"}


def _sequence(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _Damaged(where, "must be a list")
    if kinds[-1] is ...:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise _Damaged(where, f"must have {len(kinds)} members")
    return tuple(_decoded(kind, one, f"{where}[{n}]") for n, (kind, one) in enumerate(zip(kinds, value, strict=True)))


def _object(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _Damaged(where, "must be an object")
    known = {entry.name: entry for entry in fields(kind) if entry.repr}
    _refuse_unknown(value, known.keys(), f"{where}.")
    hints = _hints(kind)
    for name, entry in known.items():
        if name not in value and entry.default is MISSING and entry.default_factory is MISSING:
            raise _Damaged(f"{where}.{name}", "missing")
    return kind(**{name: _decoded(hints[name], inner, f"{where}.{name}") for name, inner in value.items()})


def _refuse_unknown(value: Mapping[str, Any], known: Collection[str], prefix: str) -> None:
    if unknown := sorted(value.keys() - known):
        raise _Damaged(f"{prefix}{unknown[0]}", "unknown member")


def _body(value: Any, where: str) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError:
            raise _Damaged(where, "must be text, or base64") from None
    for name in ("base64", "zlib"):
        if isinstance(value, dict) and value.keys() == {name} and isinstance(value[name], str):
            try:
                packed = base64.b64decode(value[name], validate=True)
                return packed if name == "base64" else zlib.decompressobj().decompress(packed, _LONGEST)
            except (binascii.Error, ValueError, zlib.error):
                raise _Damaged(where, f"must be valid {name}") from None
    raise _Damaged(where, "must be text, or base64")
