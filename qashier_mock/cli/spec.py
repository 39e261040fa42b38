"""`qashier-mock spec`: the OpenAPI documents."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from qashier_mock.cli import DONE
from qashier_mock.cli.options import Flag, one_of, parse

OPTIONS: Final = (
    one_of("format", "yaml", "json", help="how it is written"),
    one_of("openapi", "3.0", "3.1", help="the version of OpenAPI"),
    Flag(name="control", help="the control API instead of the public contract"),
)


def run(_name: str, arguments: Sequence[str]) -> int:
    """Print a document."""
    options = parse("spec", "Print the OpenAPI document of the contract, or of the control API.", OPTIONS, arguments)
    import yaml  # noqa: PLC0415 - only here

    from qashier_mock.documents import documents_folder  # noqa: PLC0415
    from qashier_mock.pipeline.export import bundle, to_openapi31  # noqa: PLC0415

    folder = documents_folder()
    name = "control.yaml" if options.control else "qashier.yaml"
    text = (folder / name).read_text("utf-8")
    if options.format == "yaml" and options.openapi == "3.0" and not options.control:
        sys.stdout.write(text)  # as written by hand, comments included
        return DONE

    def load(reference: str) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.safe_load((folder / reference).read_text("utf-8"))
        return loaded

    document = bundle(yaml.safe_load(text), load)
    if options.openapi == "3.1":
        document = to_openapi31(document)
    if options.format == "json":
        import json  # noqa: PLC0415

        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        yaml.safe_dump(document, sys.stdout, sort_keys=False, allow_unicode=True, width=120)
    return DONE
