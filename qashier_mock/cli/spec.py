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
    if options.format == "yaml" and options.openapi == "3.0" and not options.control:
        sys.stdout.write((folder / name).read_text("utf-8"))  # as written by hand, comments included
        return DONE

    # In C it is many times faster, and not in every build of PyYAML.
    loader, dumper = getattr(yaml, "CSafeLoader", yaml.SafeLoader), getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    def load(reference: str) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.load((folder / reference).read_text("utf-8"), loader)  # noqa: S506 - safe ones
        return loaded

    document = bundle(load(name), load)
    if options.openapi == "3.1":
        document = to_openapi31(document)
    if options.format == "json":
        import json  # noqa: PLC0415

        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        yaml.dump(document, sys.stdout, dumper, sort_keys=False, allow_unicode=True, width=120)
    return DONE
