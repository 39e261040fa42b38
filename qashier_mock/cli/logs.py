"""What `serve` writes: the ready line on stdout, the live log and what goes wrong on stderr."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from qashier_mock.cli.colour import wants_colour

if TYPE_CHECKING:
    from qashier_mock.livelog import LiveLog

_DRAIN_S: Final = 1.0
"""Seconds that the end waits for the last lines of the live log to be read."""


def live_log(log_format: str) -> LiveLog:
    """The log of requests, webhook attempts and expiries, on stderr."""
    from qashier_mock.cli.background import BackgroundWriter, write_to_stderr  # noqa: PLC0415 - after --help
    from qashier_mock.livelog import LiveLog, left_out_line  # noqa: PLC0415 - after --help
    from qashier_mock.machine import MachineClock  # noqa: PLC0415

    as_json = log_format == "json"
    write = BackgroundWriter(write_to_stderr, left_out=partial(left_out_line, as_json=as_json))
    return LiveLog(
        write, MachineClock(), as_json=as_json, colour=wants_colour(sys.stderr), drain=partial(write.drain, _DRAIN_S)
    )


def tell_ready(url: str, log_format: str) -> None:
    """Print the one line that says where the server answers."""
    import json  # noqa: PLC0415

    line = json.dumps({"event": "ready", "url": url}) if log_format == "json" else f"qashier-mock ready on {url}"
    print(line, flush=True)  # noqa: T201 - the one line on stdout


def set_up_logging(log_format: str) -> None:
    """Let warnings and errors be one line each on stderr."""
    import logging  # noqa: PLC0415

    class _Lines(logging.Formatter):
        """One line per record, whatever it quotes."""

        def format(self, record: logging.LogRecord) -> str:
            message = super().format(record)
            if log_format == "json":
                import json  # noqa: PLC0415

                return json.dumps({"event": "log", "level": record.levelname.lower(), "message": message})
            return message.replace("\r", "\\r").replace("\n", "\\n")

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(levelname)s %(name)s: %(message)s" if log_format == "text" else "%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    # What the framework says about a connection that ended badly is the peer's business, and quotes what it sent.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
