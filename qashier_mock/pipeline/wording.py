"""How messages quote what a client has sent: short, escaped, and with the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Final

VALUE_LIMIT: Final = 60
"""Characters of a quoted value at most."""
NAME_LIMIT: Final = 64
"""Characters of one name in a path at most; paths as a whole stay below `PATH_LIMIT`."""
PATH_LIMIT: Final = 200


def escape(text: str) -> str:
    r"""Replace what is not printable (control characters, line separators, direction marks) by `\x0a` or `\u2028`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _code(ord(c)) for c in text)


def _code(point: int) -> str:
    if point < 0x100:  # noqa: PLR2004
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"  # noqa: PLR2004


def shorten(text: str, limit: int) -> str:
    """Escape and cut to `limit` characters, the last of which then is an ellipsis."""
    cut = escape(text[: limit + 1])  # cut first: escaping a megabyte only to throw it away is what an attacker wants
    return cut if len(cut) <= limit else cut[: limit - 1] + "…"


def quote(value: Any) -> str:
    """Show a JSON value: scalars as JSON writes them, containers by their kind and size."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + shorten(value, VALUE_LIMIT) + '"'
        case int() | float():
            return shorten(str(value), VALUE_LIMIT)
        case list():
            return f"an array of {len(value)}"
        case _:
            return "an object" if value else "an empty object"


def name(text: str) -> str:
    """Show a name that a client chose; an empty one as a pair of quotes."""
    return shorten(text, NAME_LIMIT) or '""'


def path(segments: Iterable[str | int], *, prefix: str = "") -> str:
    """Write the place of a field: `line_items[0].quantity`."""
    out = prefix
    for segment in segments:
        if isinstance(segment, int):
            out += f"[{segment}]"
        else:
            out += f".{name(segment)}" if out else name(segment)
    return out if len(out) <= PATH_LIMIT else out[: PATH_LIMIT - 1] + "…"


def nearest(unknown: str, known: Iterable[str]) -> str | None:
    """Return the known name that a typing error would have turned into `unknown`, if there is one."""
    cut = unknown[:NAME_LIMIT]
    folded = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    found = difflib.get_close_matches(cut.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def did_you_mean(unknown: str, known: Iterable[str]) -> str:
    """Return ` Did you mean …?`, or the empty string where nothing is near."""
    found = nearest(unknown, known)
    return f" Did you mean `{found}`?" if found else ""


def listing(names: Iterable[str]) -> str:
    """Return names as a list for people, cut where there are too many."""
    all_names = list(names)
    shown = [f"`{one}`" for one in all_names[:8]]
    if len(all_names) > len(shown):
        return ", ".join(shown) + ", …"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
