"""What the texts of options mean. What means nothing raises ValueError, which says what would be right."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from qashier_mock.cli import CommandError

_DURATION: Final = re.compile(r"(\d+)(s|m|h|d)?")
_UNITS: Final = {None: 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def duration(text: str) -> int:
    """Seconds from `90`, `90s`, `30m`, `25h`, `2d` or a sequence of them (`1h30m`)."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 30m, 25h or 1h30m")
    return sum(int(number) * _UNITS[unit or None] for number, unit in parts)


def integer(text: str, *, at_least: int, at_most: int, what: str) -> int:
    """A whole number within bounds."""
    if not re.fullmatch(r"-?\d{1,19}", text) or not at_least <= int(text) <= at_most:
        raise ValueError(f"{what} must be a whole number from {at_least} to {at_most}, not {text!r}")
    return int(text)


def choice(text: str, *, of: Sequence[str]) -> str:
    """One of some words."""
    if text not in of:
        raise ValueError(f"{text!r} is not one of {', '.join(of)}")
    return text


def format_and_file(text: str, *, formats: Collection[str]) -> tuple[str, Path]:
    """A format and the file to write, from `FORMAT=FILE`."""
    name, given_, path = text.partition("=")
    if name not in formats or not given_ or not path:
        raise ValueError(f"{text!r} is no FORMAT=FILE; the formats are {', '.join(formats)}")
    return name, Path(path)


def host(text: str) -> str:
    """An address or a name to listen on; brackets around an IPv6 address are left out."""
    bare = text.removeprefix("[").removesuffix("]") if text.startswith("[") and text.endswith("]") else text
    if not bare or "/" in bare or "]" in bare or bare.count(":") == 1:
        raise ValueError(f"{text!r} is not a host; one looks like 127.0.0.1, ::1 or localhost, without scheme and port")
    return bare


def text_of(file: str, what: str) -> str:
    """The text of a file; `what` names it in a refusal."""
    try:
        return Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CommandError(f"{what} cannot be read: {file}: {reason}") from None


_HTTP_URL: Final = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(\d{1,5}))?([/?#][!-~]*)?", re.IGNORECASE
)
_LAST_PORT: Final = 65_535


def http_url(text: str) -> str:
    """An absolute http or https URL; what it quotes in a refusal may be shown, for it holds no user name."""
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("a URL here has no user name or password")
    match = _HTTP_URL.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not an http or https URL")
    if match[3] is not None and not 1 <= int(match[3]) <= _LAST_PORT:
        raise ValueError(f"the port of {text!r} is not from 1 to {_LAST_PORT}")
    return text


def base_url(text: str) -> str:
    """An http or https URL that more can be appended to, without a trailing slash."""
    if "?" in text or "#" in text:
        raise ValueError(f"{text!r} has a query or a fragment; give a scheme, a host and at most a path")
    return http_url(text).rstrip("/")
