"""The contract of Qashier Checkout Sessions, checked on any implementation.

How to read this suite: `history` says what was observed; `target` and `drive` observe; `ledger` concludes what can be
known; `clauses` judge, each one rule of the contract as a pure function; `oracle` is the reference model that they
share; `run` puts it together into a `Report`. Nothing here knows the mock.

    >>> report = check("http://127.0.0.1:4010")    # doctest: +SKIP
    >>> report.verdict                             # doctest: +SKIP
    <Verdict.PASSED: 'passed'>
"""

from __future__ import annotations

from qashier_contract.again import replay
from qashier_contract.clauses import CLAUSES, Clause
from qashier_contract.comparison import Difference, diff
from qashier_contract.errors import CheckError, KeyRefused, LiveKeyRefused, NotTheApi, TargetUnreachable
from qashier_contract.recorded import judge
from qashier_contract.run import check, planned
from qashier_contract.settings import Judging, Options, Settings
from qashier_contract.verdicts import ClauseReport, Progress, Report, Verdict, Violation

__all__ = [
    "CLAUSES",
    "CheckError",
    "Clause",
    "ClauseReport",
    "Difference",
    "Judging",
    "KeyRefused",
    "LiveKeyRefused",
    "NotTheApi",
    "Options",
    "Progress",
    "Report",
    "Settings",
    "TargetUnreachable",
    "Verdict",
    "Violation",
    "check",
    "diff",
    "judge",
    "planned",
    "replay",
]
