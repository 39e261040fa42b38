"""From recorded traffic to a `Report`. Nothing is sent, and nothing beyond the plain installation is needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Final, Unpack

from qashier_contract import verdicts
from qashier_contract.clauses import CLAUSES
from qashier_contract.drive.plan import selected
from qashier_contract.drive.traffic import har
from qashier_contract.drive.traffic.exchanges import Traffic
from qashier_contract.drive.traffic.har import Recorded
from qashier_contract.drive.traffic.watching import Watching
from qashier_contract.errors import CheckError
from qashier_contract.history import History, Terms
from qashier_contract.interrupts import Stop, stopping_on_signals
from qashier_contract.settings import Judging
from qashier_contract.trace import file
from qashier_contract.trace.file import Trace, TraceError
from qashier_contract.verdicts import ClauseReport, Report, Verdict

NOT_REACHED: Final = "no request reached it"


def judge(
    recording: Trace | Path | str,
    *,
    base_url: str | None = None,
    one_account: bool = False,
    **by: Unpack[Judging],
) -> Report:
    """Judge recorded traffic by the contract.

    Args:
        recording: A trace, or the path of a file that holds one, or a HAR 1.2 file.
        base_url: Where `/checkout/sessions` hangs, for a HAR file with several such places.
        one_account: Whether all keys in a HAR file are of one account.
        by: By what; each is described in `Judging`.

    Returns:
        The report. A clause that no request of the traffic reached is not exercised.

    Raises:
        CheckError: The file is neither a trace nor a HAR file, or holds no traffic of the API.
    """
    return report_on(read(recording, base_url=base_url, one_account=one_account), **by)


def watch(
    target_url: str,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    one_account: bool = False,
    ready: Callable[[str], None] | None = None,
    violated: Callable[[ClauseReport], None] | None = None,
    stop: Stop | None = None,
    **by: Unpack[Judging],
) -> Report:
    """Pass traffic on to a target, and judge it while it passes, until the stop.

    Args:
        target_url: Where requests are passed on to; `/checkout/sessions` hangs below it.
        host: Where to listen.
        port: Where to listen; 0 takes a free one.
        one_account: Whether all keys are of one account.
        ready: Told the address to send requests to, once they are taken.
        violated: Told of each clause that turns out to be broken; at most once each.
        stop: What ends it; without one, Ctrl-C and SIGTERM do.
        by: By what to judge; each is described in `Judging`.

    Returns:
        The report on all that passed; its history is what was recorded.

    Raises:
        CheckError: The address cannot be had, or no clause is left to judge by.
    """
    stop = stop or Stop()
    told: set[str] = set()
    traffic = Traffic(target_url, one_account=one_account)
    begun = Terms(wall_ns=time.time_ns(), monotonic_ns=time.monotonic_ns())

    def report_so_far() -> Report:
        exchanges = watching.exchanges
        terms = traffic.terms(begun.wall_ns or 0, begun.monotonic_ns)
        trace = Trace(history=History(exchanges=exchanges, terms=terms), target=target_url.rstrip("/"))
        recorded = Recorded(trace=trace, notes=watching.notes)
        return report_on(recorded, **by)

    def look() -> None:
        for entry in report_so_far().clauses:
            if violated is not None and entry.violations and entry.clause.id not in told:
                told.add(entry.clause.id)
                violated(entry)

    report_on(Recorded(trace=Trace(history=History(), target=target_url)), **by)
    with Watching(target_url, traffic, host=host, port=port) as watching:
        if ready is not None:
            ready(watching.url)
        with stopping_on_signals(stop):
            watching.until(stop, look)
    return report_so_far()


def read(recording: Trace | Path | str, *, base_url: str | None = None, one_account: bool = False) -> Recorded:
    """A trace, or the traffic in a file: a trace, or a HAR 1.2 file.

    Raises:
        CheckError: The file is neither, or damaged, or holds no traffic of the API.
    """
    if isinstance(recording, Trace):
        return Recorded(trace=recording)
    path = Path(recording)
    try:
        document = file.load(path)
        if file.is_trace(document):
            return Recorded(trace=file.parse(document, str(path)))
    except TraceError as error:
        raise CheckError(str(error)) from None
    if not har.is_har(document):
        raise CheckError(f"{path} is neither a HAR file nor a trace")
    return har.read(document, str(path), base_url=base_url, one_account=one_account)


def report_on(recorded: Recorded, **by: Unpack[Judging]) -> Report:
    """The report on a recording; `by` is as for `judge`.

    Raises:
        CheckError: No clause is left to judge by.
    """
    wanted = selected(CLAUSES, by.get("only", ()), by.get("skip", ()))
    if not wanted:
        raise CheckError("no clause is left to judge by: look at --only and --skip")
    history = recorded.trace.history
    if (policy := by.get("policy")) is not None:
        history = replace(history, terms=replace(history.terms, policy=policy))
    times = [(e.sent_ns, e.received_ns) for e in history.exchanges]
    return Report(
        target=recorded.trace.target,
        seed=recorded.trace.seed,
        clauses=tuple(every_clause(history, wanted, strict=by.get("strict", False)).values()),
        requests=len(times),
        duration_s=(max(end for _, end in times) - times[0][0]) / 1e9 if times else 0.0,
        notes=recorded.notes,
        history=history,
    )


def every_clause(
    history: History, wanted: Collection[str], *, strict: bool, reason: str = NOT_REACHED
) -> dict[str, ClauseReport]:
    """What becomes of every clause: those that are wanted are judged, the others were skipped.

    `reason` says why a clause may not have been exercised.
    """
    clauses = [CLAUSES[identifier] for identifier in wanted]
    judged = verdicts.judge(history, clauses, strict=strict, reasons=dict.fromkeys(wanted, reason))
    skipped = {i: ClauseReport(clause, Verdict.NOT_EXERCISED, reason="skipped") for i, clause in CLAUSES.items()}
    return skipped | {entry.clause.id: entry for entry in judged}
