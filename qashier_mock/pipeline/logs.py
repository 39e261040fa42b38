"""The pipeline's log: one line for each event, whatever a client has sent."""

from __future__ import annotations

import logging
import traceback
from pathlib import PurePath

from qashier_mock.pipeline import wording

logger = logging.getLogger("qashier_mock.pipeline")


def log_unexpected(error: BaseException, where: str, request_id: str) -> None:
    """Log an unexpected exception on one line. Its text is escaped, because it may quote what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)
    trail = " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    text = wording.shorten(str(error), 500)
    logger.error("%s: unexpected %s in %s: %s (%s)", request_id, type(error).__name__, where, text, trail)
