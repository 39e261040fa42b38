"""Every defect of the reference server that the checker has to see, and the clause that it breaks."""

from __future__ import annotations

from typing import Final

from tests.targets.defects_create import CREATE_DEFECTS
from tests.targets.defects_events import EVENT_DEFECTS, KEY_DEFECTS, SLOW
from tests.targets.defects_http import HTTP_DEFECTS
from tests.targets.defects_narrow import NARROW_DEFECTS
from tests.targets.defects_read import READ_DEFECTS
from tests.targets.defects_states import STATE_DEFECTS
from tests.targets.defects_texts import TEXT_DEFECTS

_QUICK: Final = {
    **HTTP_DEFECTS,
    **CREATE_DEFECTS,
    **READ_DEFECTS,
    **STATE_DEFECTS,
    **EVENT_DEFECTS,
    **KEY_DEFECTS,
    **NARROW_DEFECTS,
    **TEXT_DEFECTS,
}
TAMPERINGS: Final = {name: defect.tampering for name, defect in (_QUICK | SLOW).items()}

DEFECTS: Final[dict[str, str]] = {name: defect.clause for name, defect in _QUICK.items()}
"""Every defect and the clause that it breaks."""
SLOW_DEFECTS: Final[dict[str, str]] = {name: defect.clause for name, defect in SLOW.items()}
"""What shows only to a checker that lets seconds pass."""
