"""JSON schemas of a document, compiled: is a value valid, and if not, what is wrong in plain words.

OpenAPI 3.0 schemas are Draft 4 plus `nullable`. Whether a value is valid, jsonschema-rs says. What is wrong
with it is said here, in words that quote no more of what was sent than a person wants to read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jsonschema_rs

from qashier_mock.pipeline import wording
from qashier_mock.pipeline.refusal import Reason, Refused
from qashier_mock.pipeline.violations import Violation, violations

JSON = dict[str, Any]

ASSERTIONS: Final = frozenset(
    {
        "type", "enum", "nullable", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
        "minLength", "maxLength", "pattern", "items", "minItems", "maxItems", "uniqueItems", "properties", "required",
        "additionalProperties", "minProperties", "maxProperties", "allOf", "anyOf", "oneOf", "not",
    }
)  # fmt: skip
ANNOTATIONS: Final = frozenset(
    {"title", "description", "default", "example", "deprecated", "readOnly", "writeOnly", "externalDocs", "format"}
)
FORMATS: Final = frozenset({"int32", "int64", "float", "double", "password"})
"""Formats that say how to store or show a value. One that says which values are valid would need enforcing."""

KINDS: Final = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


class Unsupported(ValueError):
    """A document uses something that this pipeline would silently get wrong."""


def translate(schema: Any, where: str, above: tuple[int, ...] = ()) -> JSON:
    """Return the Draft 4 schema of what is sent to us, from an OpenAPI 3.0 schema whose references have been resolved.

    Messages say `where` it stands; `above` are the schemas around it.

    Raises:
        Unsupported: A keyword or format that is not enforced here, or a schema that contains itself.
    """
    if not isinstance(schema, dict):
        raise Unsupported(f"{where}: a schema must be an object, not {wording.quote(schema)}")
    if id(schema) in above:
        raise Unsupported(f"{where}: a schema that contains itself is not supported")
    above = (*above, id(schema))
    out: JSON = {}
    for key, value in schema.items():
        _check_keyword(key, value, f"{where}.{key}")
        if key in ASSERTIONS and key != "nullable":
            out[key] = _translate_value(key, value, f"{where}.{key}", above)
        elif key == "x-must-be":
            out[key] = value
    if schema.get("nullable"):
        _admit_null(out, where)
    return out


def _translate_value(key: str, value: Any, at: str, above: tuple[int, ...]) -> Any:
    if key == "properties":
        return {name: translate(sub, f"{at}.{name}", above) for name, sub in value.items()}
    if key in {"allOf", "anyOf", "oneOf"}:
        return [translate(sub, f"{at}[{i}]", above) for i, sub in enumerate(value)]
    if key in {"items", "not"} or (key == "additionalProperties" and isinstance(value, dict)):
        return translate(value, at, above)
    return value


def _check_keyword(key: str, value: Any, at: str) -> None:
    if key not in ASSERTIONS and key not in ANNOTATIONS and not key.startswith("x-"):
        raise Unsupported(f"{at}: the keyword {key!r} is not supported")
    if key == "format" and value not in FORMATS:
        raise Unsupported(f"{at}: the format {value!r} is not enforced; write a pattern instead")
    if key == "readOnly" and value:
        raise Unsupported(f"{at}: readOnly is not supported in what is sent to the server")


def _admit_null(out: JSON, where: str) -> None:
    if "type" not in out:
        raise Unsupported(f"{where}: nullable needs a type beside it")
    out["type"] = [out["type"], "null"]
    if "enum" in out:
        out["enum"] = [*out["enum"], None]


class Schema:
    """One compiled schema; `is_valid` raises ValueError for a value that is nested too deeply to be judged."""

    __slots__ = ("is_valid", "source")

    def __init__(self, source: JSON) -> None:
        self.source = source
        self.is_valid: Callable[[Any], bool] = jsonschema_rs.Draft4Validator(source, validate_formats=False).is_valid

    def refusal(self, value: Any, name: str = "", *, at: tuple[str | int, ...] = ()) -> Refused:
        """Say what is wrong with an invalid value: the first violation, which is the same every time.

        The value came in the parameter `name`, or stands in the body at `at`.
        """
        violation = next(violations(self.source, value, at), None)
        if violation is None:  # the two engines differ
            reason = Reason.PARAMETER_INVALID if name else Reason.BODY_INVALID
            text = f"{f'`{name}`' if name else 'The body'} must be {describe(self.source)}."
            return Refused(reason, text, param=name or None)
        return _describe_violation(violation, name)


def _describe_violation(violation: Violation, name: str) -> Refused:
    if violation.kind in {"anyOf", "oneOf"}:
        nearest = min(violation.branches, key=lambda each: (-_reach(each), _is_another(each), len(each)), default=None)
        if nearest is not None and _reach(nearest) > len(violation.path):
            # Of an alternative, what is missing tells more than what belongs to another one.
            chosen = max(nearest, key=lambda each: (len(_blamed(each)), each.kind != "additionalProperties"))
            described = _describe_violation(chosen, name)
            whole = violation.schema.get("x-must-be")
            is_misspelt = [each.kind for each in nearest] == ["additionalProperties"]
            if whole is None or is_misspelt or _reach(nearest) > len(violation.path) + 1:
                return described
            place = wording.path(violation.path, prefix=name)
            text = f"{f'`{place}`' if place else 'The body'} must be {whole}."
            return Refused(described.reason, text, param=described.param)
    at = _blamed(violation)
    param = wording.path(at, prefix=name)
    if violation.kind == "required":
        text = f"`{param}` is required: {_expected(violation.schema, at[-1])}."
        return Refused(Reason.PARAMETER_MISSING, text, param=param)
    if violation.kind == "additionalProperties":
        known = violation.schema.get("properties", {})
        hint = wording.did_you_mean(str(at[-1]), known) or f" Known here: {wording.listing(known)}."
        return Refused(Reason.PARAMETER_UNKNOWN, f"`{param}` is unknown.{hint}", param=param)
    subject = f"`{param}`" if param else "The body"
    reason = Reason.PARAMETER_INVALID if param else Reason.BODY_INVALID
    text = f"{subject} must be {describe(violation.schema)}, not {_shown(violation.kind, violation.value)}."
    return Refused(reason, text, param=param or None)


def _reach(branch: Sequence[Violation]) -> int:
    """Return how deep into the value a branch of alternatives got: the deepest is the one that was meant."""
    return max(len(_blamed(violation)) for violation in branch)


def _is_another(branch: Sequence[Violation]) -> bool:
    """Whether a branch of alternatives is about something else: a word that tells them apart is not its own."""
    return any(violation.kind == "enum" for violation in branch)


def _blamed(violation: Violation) -> tuple[str | int, ...]:
    return violation.path if violation.name is None else (*violation.path, violation.name)


def _expected(schema: JSON, name: str | int) -> str:
    wanted = schema.get("properties", {}).get(name, {})
    return f"send {describe(wanted)}" if wanted else "send it"


def _shown(kind: str, value: Any) -> str:
    match kind:
        case "minLength" | "maxLength":
            return f"one of {len(value)} characters"
        case "minItems" | "maxItems":
            return f"one of {len(value)}"
        case "uniqueItems":
            return "one with equal elements"
        case "minProperties" | "maxProperties":
            return f"one with {len(value)} properties"
        case "type" if isinstance(value, str):
            return f"the string {wording.quote(value)}"
    return wording.quote(value)


def describe(schema: Mapping[str, Any]) -> str:
    """Say in words which values a schema takes. The document may put its own words in `x-must-be`."""
    own = schema.get("x-must-be")
    if own:
        return str(own)
    if "enum" in schema:
        values = schema["enum"]
        shown = ", ".join(wording.quote(value) for value in values[:8])
        if len(values) > 8:  # noqa: PLR2004
            return f"one of {len(values)} known values ({shown}, …)"
        return shown if len(values) == 1 else f"one of {shown}"
    if "allOf" in schema:
        merged: JSON = {key: value for key, value in schema.items() if key != "allOf"}
        for sub in schema["allOf"]:
            merged = {**sub, **merged}
        return describe(merged)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(describe(sub) for sub in schema[key]))
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(KINDS[kind] + _bounds(schema, kind) for kind in kinds) or "something else"


def _bounds(schema: Mapping[str, Any], kind: str) -> str:
    match kind:
        case "string":
            length = _between(schema.get("minLength"), schema.get("maxLength"))
            pattern = schema.get("pattern")
            matching = f" that matches {wording.shorten(pattern, 80)}" if pattern else ""
            return (f" of {length} characters" if length else "") + matching
        case "integer" | "number":
            low, high = schema.get("minimum"), schema.get("maximum")
            above = (
                " (that itself excluded)" if schema.get("exclusiveMinimum") or schema.get("exclusiveMaximum") else ""
            )
            if low is not None and high is not None:
                return f" from {low} to {high}{above}"
            return f" {_between(low, high)}{above}" if low is not None or high is not None else ""
        case "array":
            size = _between(schema.get("minItems"), schema.get("maxItems"))
            return (f" of {size} elements" if size else "") + (", all different" if schema.get("uniqueItems") else "")
        case "object":
            size = _between(schema.get("minProperties"), schema.get("maxProperties"))
            return f" with {size} properties" if size else ""
    return ""


def _between(low: Any, high: Any) -> str:
    if low is not None and high is not None:
        return f"{low} to {high}"
    if low is not None:
        return f"at least {low}" if low != 1 else "1 or more"
    return f"at most {high}" if high is not None else ""
