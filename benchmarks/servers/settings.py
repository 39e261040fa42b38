"""How uvicorn is run for every contender that it serves: as it serves ours, but for our own protocol class."""

from __future__ import annotations

from typing import Any, Final

UVICORN: Final[dict[str, Any]] = {
    "loop": "uvloop",
    "http": "httptools",
    "ws": "none",
    "log_level": "error",
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
}
