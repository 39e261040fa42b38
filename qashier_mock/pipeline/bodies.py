"""Request bodies: read within a limit, parsed, validated, and searched for unknown fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from qashier_mock.pipeline import wording
from qashier_mock.pipeline.pieces import DEPTH, PIECE, PieceReader
from qashier_mock.pipeline.refusal import Reason, Refused
from qashier_mock.pipeline.schemas import Schema, Unsupported, translate
from qashier_mock.pipeline.unknown import UnknownField, close, compile_walker

if TYPE_CHECKING:
    from starlette.types import Receive

MEDIA_TYPE: Final = b"application/json"
LARGE: Final = PIECE
"""Bytes of a body that are parsed at once; a larger one is read in pieces."""


class ClientGone(Exception):
    """The client has closed the connection: there is nobody to answer."""


async def read(receive: Receive, declared: bytes | None, limit: int) -> bytes:
    """Return the whole body, of at most `limit` bytes; `declared` is its Content-Length.

    Raises:
        Refused: It is longer. What is announced as longer is not read at all.
        ClientGone: The client went away before it ended.
    """
    if declared is not None and declared.isdigit() and (len(declared) > 18 or int(declared) > limit):  # noqa: PLR2004
        raise _too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False) and len(body) <= limit:
        return body
    chunks, size = [], 0
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        body = message.get("body", b"")
        size += len(body)
        if size > limit:
            raise _too_large(limit)
        chunks.append(body)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()


def _too_large(limit: int) -> Refused:
    return Refused(Reason.BODY_TOO_LARGE, f"The body is larger than {limit} bytes; send a smaller one.")


def check_media_type(types: Sequence[bytes], codings: Sequence[bytes]) -> None:
    """Refuse other media types than JSON, and content codings. A body without a media type counts as JSON.

    Raises:
        Refused: Another media type, a content coding, or either header twice.
    """
    if len(types) > 1 or len(codings) > 1:
        text = "Content-Type or Content-Encoding was sent more than once; send `Content-Type: application/json` once."
        raise Refused(Reason.MEDIA_TYPE_UNSUPPORTED, text)
    if types and types[0] != MEDIA_TYPE:
        essence = types[0].partition(b";")[0].strip().lower()
        if types[0] and essence != MEDIA_TYPE:  # an empty header is none
            text = f"The body must be application/json, not {wording.quote(essence.decode('latin-1'))}."
            raise Refused(Reason.MEDIA_TYPE_UNSUPPORTED, text)
    if codings and codings[0].strip().lower() not in {b"identity", b""}:
        shown = wording.quote(codings[0].decode("latin-1"))
        text = f"The body must come as it is: the content coding {shown} is not supported. Leave Content-Encoding out."
        raise Refused(Reason.MEDIA_TYPE_UNSUPPORTED, text)


class BodyParser:
    """The body of one operation, and whether there must be one."""

    __slots__ = ("_closed", "_reader", "_schema", "_walker", "required")

    def __init__(self, request_body: Mapping[str, Any], where: str) -> None:
        content = request_body.get("content", {})
        if list(content) != [MEDIA_TYPE.decode()]:
            raise Unsupported(f"{where}: a body must be application/json and nothing else, not {sorted(content)}")
        media = content[MEDIA_TYPE.decode()]
        unknown = [key for key in media if key not in {"schema", "example", "examples"} and not key.startswith("x-")]
        if unknown or "schema" not in media:
            raise Unsupported(f"{where}: a body needs a schema, and {sorted(unknown)} is not supported")
        # Connexion's operation model hangs the whole document into the schema; every reference is resolved already.
        bare = {key: value for key, value in media["schema"].items() if key != "components"}
        source = translate(bare, f"{where}, body")
        self._schema = Schema(source)
        self._walker = compile_walker(source)
        closed = close(source)
        self._closed = None if closed is None else Schema(closed)
        self._reader = PieceReader(source)
        self.required = bool(request_body.get("required", False))

    def parse(self, raw: bytes) -> tuple[Any, tuple[UnknownField, ...]]:
        """Return the value of a body that is not empty, and the fields that the schema does not name.

        Of a name that comes twice in an object, the last counts.

        Raises:
            Refused: Not JSON, nested too deeply, or not valid.
        """
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise _not_json(raw, error) from None
        closed, schema = self._closed, self._schema
        try:
            # Brackets in strings count too: then the test is made for nothing, which is harmless.
            if len(raw) > DEPTH and raw.count(b"[") + raw.count(b"{") > DEPTH:
                orjson.dumps(value)
            if closed is not None and closed.is_valid(value):  # as most are: one walk tells all
                return value, ()
            if not schema.is_valid(value):
                raise schema.refusal(value)
        except (TypeError, ValueError, RecursionError):
            text = f"The body is nested too deeply; {DEPTH} levels are enough for anything."
            raise Refused(Reason.BODY_INVALID, text) from None
        return value, self._unknown_fields(value)

    async def parse_large(self, raw: bytes) -> tuple[Any, tuple[UnknownField, ...]]:
        """Do the same for a body of more than `LARGE` bytes; other requests go on meanwhile."""
        value = await self._reader.read(raw)
        return value, self._unknown_fields(value)

    def _unknown_fields(self, value: Any) -> tuple[UnknownField, ...]:
        found: list[UnknownField] = []
        if self._walker is not None:
            self._walker.find(value, "", found)
        return tuple(found)


def missing() -> Refused:
    """Return the refusal of a request without the body that it needs."""
    return Refused(Reason.BODY_INVALID, "The body is empty; send a JSON object.")


def _not_json(raw: bytes, error: orjson.JSONDecodeError) -> Refused:
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        text = "The body begins with a byte order mark; send UTF-8 without one."
    else:
        what = wording.shorten(error.msg.partition(":")[0], wording.VALUE_LIMIT)
        text = f"The body is not valid JSON: {what} at line {error.lineno}, column {error.colno}. Send a JSON object."
    return Refused(Reason.BODY_INVALID, text)
