"""The README as package indexes show it: a link to a file of this repository leads nowhere there.

Where `project.urls` has a `Source`, such a link leads to the file there. Otherwise its words stay without the link, and
pictures are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE: Final = re.compile(r"!\[([^\]]*)\]\((?!\w+:)([^)]+)\)\n*")
_LINK: Final = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)([^)]+)\)")


def for_an_index(readme: str, source: str | None) -> str:
    """The README with links that work elsewhere, too."""
    if source is None:
        return _LINK.sub(r"\1", _PICTURE.sub("", readme))
    with_pictures = _PICTURE.sub(rf"![\1]({source}/raw/main/\2)\n\n", readme)
    return _LINK.sub(rf"[\1]({source}/blob/main/\2)", with_pictures)


class ReadmeHook(MetadataHookInterface):
    """Lets hatchling take the README from here."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field `readme`."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        source = metadata.get("urls", {}).get("Source")
        metadata["readme"] = {"content-type": "text/markdown", "text": for_an_index(text, source)}
