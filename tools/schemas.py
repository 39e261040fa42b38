"""Write the JSON Schemas of `qashier-mock.toml` and of a policy file, for editors.

    python tools/schemas.py           write docs/schemas/
    python tools/schemas.py --check   exit 1 if a file there is not what the code says

An editor that knows TOML (Taplo, Even Better TOML) takes one with `#:schema URL` on the first line of a file.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from qashier_mock.cli import COMMANDS
from qashier_mock.cli.options import Option
from qashier_mock.core.policy import CHOICES, Policy

FOLDER: Final = Path(__file__).parent.parent / "docs" / "schemas"
DIALECT: Final = "http://json-schema.org/draft-07/schema#"


def option_schema(option: Option) -> dict[str, Any]:
    described: dict[str, Any] = {"description": option.help}
    if option.is_flag:
        return {**described, "type": "boolean"}
    if option.is_repeatable:
        return {**described, "type": "array", "items": {"type": ["string", "number"]}}
    return {**described, "type": ["string", "number"]}


def table_schema(options: Sequence[Option]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {option.name: option_schema(option) for option in options},
        "additionalProperties": False,
    }


def configuration() -> dict[str, Any]:
    tables = {}
    for name, (module, what) in COMMANDS.items():
        options: Sequence[Option] = getattr(import_module(f"qashier_mock.cli.{module}"), "OPTIONS", ())
        if options:
            tables[name] = {"description": what, **table_schema(options)}
    ours = {"type": "object", "properties": tables, "additionalProperties": False}
    tool = {"type": "object", "properties": {"qashier-mock": ours}, "additionalProperties": False}
    return {
        "$schema": DIALECT,
        "title": "qashier-mock.toml",
        "description": "Options of qashier-mock, a table for each command.",
        "type": "object",
        "properties": {"tool": tool},
        "additionalProperties": False,
    }


def policy() -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for field in fields(Policy):
        if field.name.startswith("status_"):
            properties[field.name] = {"type": "integer", "minimum": 400, "maximum": 499}
        elif field.name in CHOICES:
            properties[field.name] = {"enum": list(CHOICES[field.name])}
        elif field.name == "currencies":
            properties[field.name] = {"type": "array", "items": {"type": "string", "pattern": "^[A-Z]{3}$"}}
        else:
            properties[field.name] = {"type": "string", "pattern": "^[A-Za-z0-9-]+$"}
        default = field.default
        properties[field.name]["default"] = list(default) if isinstance(default, tuple) else default
    return {
        "$schema": DIALECT,
        "title": "qashier-mock policy",
        "description": "What the mock does, and the checker expects, where Qashier's documentation is silent.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the JSON Schemas of the configuration files.")
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    options = parser.parse_args()
    stale = []
    for name, schema in (("qashier-mock", configuration()), ("policy", policy())):
        path = FOLDER / f"{name}.schema.json"
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        if not options.check:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            stale.append(path.name)
    for name in stale:
        print(f"docs/schemas/{name} is not what the code says; run python tools/schemas.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
