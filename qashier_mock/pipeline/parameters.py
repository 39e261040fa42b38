"""Parameters, parsed strictly.

What Python's own conversions would wave through (`1_0`, ` 10`, Arabic digits, the last one of two) is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from qashier_mock.pipeline import wording
from qashier_mock.pipeline.refusal import Reason, Refused
from qashier_mock.pipeline.schemas import Schema, Unsupported, describe, translate

INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})\Z")
BAD_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
BOOLEANS: Final = {"true": True, "false": False}
MAX_PARAMETERS: Final = 100
"""Query parameters of one request."""

PARAMETER_KEYS: Final = frozenset(
    {"name", "in", "required", "schema", "description", "example", "examples", "deprecated", "style", "explode"}
)
STYLES: Final = {"path": "simple", "header": "simple", "query": "form"}
RESERVED_HEADERS: Final = frozenset({"accept", "content-type", "authorization"})


def argument_name(name: str) -> str:
    """Return the handler's argument for a parameter: `Idempotency-Key` is `idempotency_key`."""
    return re.sub(r"[^0-9a-zA-Z]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).strip("_").lower()


class Scalar:
    """One value in text form: a path segment, a header or a query parameter."""

    __slots__ = ("_is_bounded", "argument", "default", "has_default", "kind", "label", "required", "schema")

    def __init__(self, name: str, schema: Mapping[str, Any], *, where: str, required: bool) -> None:
        """Compile the schema of a parameter; messages of the loader say `where` it stands."""
        source = translate(schema, where)
        self.kind = source.get("type")
        if self.kind not in ("string", "integer", "boolean"):
            raise Unsupported(f"{where}: a parameter must be a string, an integer or a boolean, not {self.kind!r}")
        self.label = name
        self.argument = argument_name(name)
        self.required = required
        self.schema = Schema(source)
        self._is_bounded = source.keys() > {"type"}
        self.has_default = "default" in schema
        self.default = schema.get("default")

    def parse(self, text: str) -> Any:
        """Return the value, or raise `Refused`."""
        value: Any = text
        if self.kind == "integer":
            value = int(text) if INTEGER.match(text) else None
        elif self.kind == "boolean":
            value = BOOLEANS.get(text)
        if value is None:
            raise self._wrong(f"must be {describe(self.schema.source)}, not {wording.quote(text)}")
        if self._is_bounded and not self.schema.is_valid(value):
            raise self.schema.refusal(value, self.label)
        return value

    def parse_header(self, values: Sequence[bytes], arguments: dict[str, Any]) -> None:
        """Add the value of a header to the arguments, its default if there is none, or raise `Refused`."""
        if len(values) == 1:
            value = values[0].rstrip(b" \t")  # white space around a value is no part of it; the parser leaves this end
            if not value.isascii():
                raise self._wrong(f"holds a byte that is not ASCII: it must be {describe(self.schema.source)}")
            arguments[self.argument] = self.parse(value.decode("ascii"))
        elif values:
            raise self.repeated()
        elif self.has_default:
            arguments[self.argument] = self.default
        elif self.required:
            raise self.missing()

    def missing(self) -> Refused:
        """Say that it is required."""
        text = f"`{self.label}` is required: send {describe(self.schema.source)}."
        return Refused(Reason.PARAMETER_MISSING, text, param=self.label)

    def repeated(self) -> Refused:
        """Say that it came more than once."""
        return self._wrong("was sent more than once: send it once")

    def _wrong(self, what: str) -> Refused:
        return Refused(Reason.PARAMETER_INVALID, f"`{self.label}` {what}.", param=self.label)


class QueryParser:
    """The query of one operation. Every name that it can have is known beforehand, `created[gte]` included."""

    __slots__ = ("_defaults", "_known", "_required", "scalars")

    def __init__(self, scalars: Iterable[Scalar]) -> None:
        self.scalars = tuple(scalars)
        self._known = {scalar.label: scalar for scalar in self.scalars}
        self._required = tuple(scalar for scalar in self.scalars if scalar.required)
        self._defaults = {s.argument: s.default for s in self.scalars if s.has_default}

    def parse(self, query: bytes, arguments: dict[str, Any]) -> None:
        """Add the query's values to the arguments, defaults filled in.

        Raises:
            Refused: Not well encoded, too many, unknown, repeated, missing or invalid parameters.
        """
        arguments.update(self._defaults)
        if query:
            seen = self._parse(query, arguments)
            for scalar in self._required:
                if scalar.label not in seen:
                    raise scalar.missing()
        elif self._required:
            raise self._required[0].missing()

    def _parse(self, query: bytes, arguments: dict[str, Any]) -> set[str]:
        pieces = query.split(b"&", MAX_PARAMETERS)
        if len(pieces) > MAX_PARAMETERS:
            text = f"The query has more than {MAX_PARAMETERS} parameters; send fewer."
            raise Refused(Reason.PARAMETER_INVALID, text)
        seen: set[str] = set()
        for piece in pieces:
            if not piece:
                continue
            raw_name, _, raw_value = piece.partition(b"=")
            name = decode(raw_name, None)
            scalar = self._known.get(name)
            if scalar is None:
                raise self._unknown(name)
            if name in seen:
                raise scalar.repeated()
            seen.add(name)
            arguments[scalar.argument] = scalar.parse(decode(raw_value, scalar.label))
        return seen

    def _unknown(self, name: str) -> Refused:
        shown = wording.name(name)
        bracketed = [label for label in self._known if label.startswith(f"{name}[")]
        if bracketed:
            text = f"`{shown}` needs a key in brackets: send {wording.listing(bracketed)}."
            return Refused(Reason.PARAMETER_INVALID, text, param=shown)
        hint = wording.did_you_mean(name, self._known)
        if not hint:
            hint = f" Known here: {wording.listing(self._known)}." if self._known else " This operation knows none."
        return Refused(Reason.PARAMETER_UNKNOWN, f"The query parameter `{shown}` is unknown.{hint}", param=shown)


def decode(raw: bytes, label: str | None) -> str:
    """Return the text of a percent-encoded name (no label) or value in a query, as HTML forms write it.

    Raises:
        Refused: A percent sign without two hexadecimal digits, or bytes that are no UTF-8.
    """
    data = raw
    if b"%" in raw or b"+" in raw:
        if BAD_PERCENT.search(raw):
            raise _undecodable(raw, label, "has a percent sign that two hexadecimal digits do not follow")
        data = unquote_to_bytes(raw.replace(b"+", b" "))
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _undecodable(raw, label, "is not UTF-8") from None


def _undecodable(raw: bytes, label: str | None, what: str) -> Refused:
    shown = wording.shorten(raw[: 2 * wording.VALUE_LIMIT].decode("latin-1"), wording.VALUE_LIMIT)
    subject = f"`{label}`" if label else f'The query parameter "{shown}"'
    return Refused(Reason.PARAMETER_INVALID, f"{subject} {what}. Percent-encode UTF-8.", param=label or (shown or None))


def compile_parameters(
    parameters: Iterable[Mapping[str, Any]], where: str
) -> tuple[dict[str, Scalar], QueryParser, dict[bytes, Scalar]]:
    """Return the path parameters by name, the query, and the header parameters by lower-case name.

    Raises:
        Unsupported: What is not parsed here: cookies, arrays, `content`, other styles.
    """
    found: dict[str, dict[str, Scalar]] = {location: {} for location in STYLES}
    arguments: set[str] = set()
    for parameter in parameters:
        name, location = parameter["name"], parameter["in"]
        at = f"{where}, {location} parameter {name!r}"
        unknown = {key for key in parameter if key not in PARAMETER_KEYS and not key.startswith("x-")}
        if unknown or location not in STYLES:
            raise Unsupported(f"{at}: {', '.join(sorted(unknown)) or location} is not supported")
        if parameter.get("style", STYLES[location]) != STYLES[location]:
            raise Unsupported(f"{at}: the style {parameter['style']!r} is not supported")
        if location == "header" and name.lower() in RESERVED_HEADERS:
            raise Unsupported(f"{at}: OpenAPI ignores a parameter of that name")
        scalar = Scalar(name, parameter["schema"], where=at, required=bool(parameter.get("required", False)))
        if scalar.argument in arguments or scalar.argument == "body":
            raise Unsupported(f"{at}: another argument has the name {scalar.argument!r} already")
        arguments.add(scalar.argument)
        found[location][name] = scalar
    headers = {name.lower().encode(): scalar for name, scalar in found["header"].items()}
    return found["path"], QueryParser(found["query"].values()), headers
