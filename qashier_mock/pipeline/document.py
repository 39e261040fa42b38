"""Finding and loading a document: YAML, JSON, a mapping, or YAML with its precompiled JSON beside it.

A precompiled document saves the start of the mock what reading YAML and validating the document cost. It is made by
`precompile`, after both have been done, and carries the digests of the files that it was made from: where one of them
has changed since, it is not used, so it can be missing or old but never wrong.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from qashier_mock.pipeline.export import bundle
from qashier_mock.pipeline.framework import InvalidSpecification, OpenAPISpecification, resolve_refs
from qashier_mock.pipeline.schemas import Unsupported

PRECOMPILED_SUFFIX: Final = ".precompiled.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """A document in memory.

    Attributes:
        content: As written, references unresolved.
        proven: Whether it is known to be a valid OpenAPI 3.0 document, so that checking it again would only cost time.
        name: How messages call it.
    """

    content: Mapping[str, Any]
    proven: bool = False
    name: str = "document"

    @classmethod
    def load(cls, source: Path) -> Document:
        """Load a .yaml or .json file.

        Raises:
            OSError: The file cannot be read.
            Unsupported: The file does not hold an object.
        """
        precompiled = source.with_suffix(PRECOMPILED_SUFFIX)
        if precompiled.is_file():
            stored = orjson.loads(precompiled.read_bytes())
            if all(_has_digest(source.with_name(name), digest) for name, digest in stored["sources"].items()):
                return cls(stored["document"], proven=True, name=source.name)
        return cls(_read_yaml(source)[0], name=source.name)

    @classmethod
    def of_file(cls, source: Path) -> Document:
        """Load a YAML document from its precompiled JSON, which is made now where there is none that fits.

        It is kept as Python keeps bytecode: a folder that cannot be written to just costs the time again.

        Raises:
            OSError: The file cannot be read.
            Unsupported: It is no valid OpenAPI 3.0 document.
        """
        document = cls.load(source)
        if document.proven or sys.dont_write_bytecode:
            return document
        with contextlib.suppress(OSError):
            precompile(source)
            return cls.load(source)
        return document

    def specification(self) -> Any:
        """Return Connexion's model of it, references resolved.

        Raises:
            Unsupported: It is no valid OpenAPI 3.0 document.
        """
        content: dict[str, Any] = orjson.loads(orjson.dumps(self.content))  # Connexion writes into what it is given
        try:
            return _Proven(content) if self.proven else OpenAPISpecification.from_dict(content)
        except InvalidSpecification as error:
            raise Unsupported(f"{self.name}: {error}") from error


class _Proven(OpenAPISpecification):  # type: ignore[misc]  # Connexion ships no types
    """A document that has been validated before."""

    def __init__(self, content: dict[str, Any]) -> None:
        """Resolve references. Connexion also validates, in Python, and keeps a copy: most of what loading costs."""
        self._set_defaults(content)
        self._spec, self._base_uri = resolve_refs(content), ""


def precompile(source: Path) -> Path:
    """Validate a YAML document, and return the path of its precompiled JSON, which is written beside it.

    Raises:
        OSError: A file cannot be read or written.
        Unsupported: It is no valid OpenAPI 3.0 document.
    """
    content, sources = _read_yaml(source)
    Document(content, name=source.name).specification()
    target = source.with_suffix(PRECOMPILED_SUFFIX)
    digests = {name: hashlib.sha256(raw).hexdigest() for name, raw in sources.items()}
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        file.write(orjson.dumps({"sources": digests, "document": content}))
    made = Path(file.name)
    made.chmod(source.stat().st_mode & 0o777)  # as readable as what it was made from
    made.replace(target)  # whole or not at all: other processes may be starting
    return target


def _has_digest(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _read_yaml(source: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a document with what it takes from other files, and the bytes of all of them by name."""
    import yaml  # noqa: PLC0415 - a precompiled document does without

    # The C loader is many times faster, and not in every build of PyYAML.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    sources: dict[str, bytes] = {}

    def load(name: str) -> dict[str, Any]:
        sources[name] = source.with_name(name).read_bytes()
        content = yaml.load(sources[name], loader)  # noqa: S506 - both loaders are safe ones
        if not isinstance(content, dict):
            raise Unsupported(f"{name}: an OpenAPI document is an object")
        # YAML has integer keys (`200:`), JSON has not.
        read: dict[str, Any] = orjson.loads(orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS))
        return read

    try:
        return bundle(load(source.name), load), sources
    except ValueError as error:
        raise Unsupported(f"{source.name}: {error}") from error
