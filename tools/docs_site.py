"""The pages as the site shows them: a link to a file of the repository leads nowhere there, so its words stay alone.

Who reads the pages in the repository gets the files by these links. The site has the files in the pages themselves.
"""

from __future__ import annotations

import re
from typing import Final

_FILE: Final = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs for each page."""
    return _FILE.sub(r"\1", markdown)
