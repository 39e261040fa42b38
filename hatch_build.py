"""The README as package indexes show it: a link to a file of this repository leads nowhere there.

Where `project.urls` has a `Source`, such a link leads to the file there. Otherwise its words stay, without the link.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK: Final = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)([^)]+)\)")


def for_an_index(readme: str, source: str | None) -> str:
    """The README with links that work elsewhere, too."""
    return _LINK.sub(r"\1" if source is None else rf"[\1]({source}/blob/main/\2)", readme)


class ReadmeHook(MetadataHookInterface):
    """Lets hatchling take the README from here."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field `readme`."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        source = metadata.get("urls", {}).get("Source")
        metadata["readme"] = {"content-type": "text/markdown", "text": for_an_index(text, source)}
