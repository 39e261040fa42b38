"""A recorded trace, or one violation of it, sent to a target again, and judged by what is observed then."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Unpack

from qashier_contract import recorded, verdicts
from qashier_contract.clauses import CLAUSES
from qashier_contract.errors import CheckError
from qashier_contract.history import History
from qashier_contract.interrupts import Interrupted, OutOfTime, stopping_on_signals
from qashier_contract.pace import OutOfSessions
from qashier_contract.run import Run
from qashier_contract.settings import Options, Settings
from qashier_contract.trace.file import Trace
from qashier_contract.trace.replay import send_again
from qashier_contract.trace.sending import Sending
from qashier_contract.trace.steps import Steps
from qashier_contract.verdicts import ClauseReport, Report, Result, SentAgain, Verdict


def replay(recording: Trace | Path | str, target_url: str, **options: Unpack[Options]) -> Report:
    """Send a recorded trace to a target, with fresh ids, keys and times, and let the clauses judge what comes of it.

    Args:
        recording: A trace, or the path of a file that holds one, or a HAR 1.2 file.
        target_url: The base URL of the target.
        options: As for `check`. Where the trace breaks a clause of `only`, just its violation is sent, cut down to
            what shows it; otherwise the whole trace.

    Returns:
        The report. A clause that no request reached this time is not exercised: that proves nothing.

    Raises:
        CheckError: The file holds no trace, or the target could not be tested.
    """
    trace = recorded.read(recording).trace
    if not trace.history.exchanges:
        raise CheckError("the trace holds no request")
    settings = replace(Settings(**options), seed=trace.seed)
    run, only, strict = Run(target_url, settings), settings.only, settings.strict
    if not run.wanted:
        raise CheckError("no clause is left to judge by: look at --only and --skip")
    judged = verdicts.judge(trace.history, map(CLAUSES.__getitem__, run.wanted), strict=strict) if only else ()
    broken = [entry for entry in judged if entry.violations]
    if only and not broken:
        run.notes.append(f"The trace breaks none of {', '.join(run.wanted)}: all of it was sent.")
    with stopping_on_signals(run.stop) if settings.stop is None else nullcontext():
        came = _send(trace.history, broken, run)
    # What was sent for one violation says nothing about other clauses.
    found = recorded.every_clause(History() if broken else came.history, run.wanted, strict=strict, reason=came.reason)
    found |= {entry.clause.id: _again(entry, came.sent_again.get(entry.clause.id)) for entry in broken}
    return Report(
        target=run.target.base_url,
        seed=None,
        clauses=tuple(found.values()),
        requests=run.target.pace.sent,
        duration_s=(time.monotonic_ns() - run.started_ns) / 1e9,
        interrupted=came.was_interrupted,
        notes=tuple(run.notes),
        history=came.history,
        sent_again=came.sent_again,
    )


@dataclass(kw_only=True, slots=True)
class _Came:
    """What came of sending, and why clauses may not have been reached."""

    history: History = field(default_factory=History)
    sent_again: Mapping[str, SentAgain] = field(default_factory=dict)
    was_interrupted: bool = False
    reason: str = recorded.NOT_REACHED


def _send(history: History, broken: Sequence[ClauseReport], run: Run) -> _Came:
    """Send the violations of some clauses, or a whole history where there are none, and leave nothing behind."""
    came = _Came()
    try:
        run.connect()
        if broken:
            came.sent_again = dict(send_again(broken, history, run.site()))
            came.history = next((one.part for one in came.sent_again.values()), came.history)
        else:
            with Sending(Steps(history), run.site()) as sending:
                came.history = sending.send()
                came.history = sending.settle() if sending.may_settle else came.history
    except Interrupted:
        came.was_interrupted = True
    except (OutOfTime, OutOfSessions):
        came.reason = "out of time, or of sessions"
    finally:
        run.leave()
        run.target.close()
    return came


def _again(entry: ClauseReport, again: SentAgain | None) -> ClauseReport:
    """What came of sending a violation of a clause again, as the clause's verdict."""
    if again is None or again.result not in {Result.BROKE_AGAIN, Result.DID_NOT}:
        reason = "the trace does not show its violation alone" if again is None else str(again)
        return ClauseReport(entry.clause, Verdict.NOT_EXERCISED, reason=reason)
    if again.result is Result.DID_NOT:
        return ClauseReport(entry.clause, Verdict.PASSED, exercised=again.tries)
    return ClauseReport(entry.clause, entry.verdict, exercised=again.tries, violations=(again.violation,))
