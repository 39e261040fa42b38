"""Proofs for RET and LIS: what retrieving and listing show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qashier_contract.history import Operation
from qashier_contract.ledger import lasting
from qashier_contract.report.reproduce.fate import matching, opened_before, state_at
from qashier_contract.report.reproduce.naming import Naming
from qashier_contract.report.reproduce.proofs.table import (
    ALL,
    Lines,
    answers,
    blamed,
    proof,
    refused,
    reply_json,
    same,
    succeeds,
)
from qashier_contract.trace.literals import literal
from qashier_contract.values import differences

if TYPE_CHECKING:
    from qashier_contract.ledger import Listing, ObservedSession


@proof("RET-1")
def _as_written(naming: Naming) -> Lines:
    guilty, told = blamed(naming), naming.story.told
    lines = [succeeds(naming, guilty)]
    write = told[-2] if len(told) > 1 else None
    if not guilty.succeeded or write is None:
        return lines
    early = write.operation is Operation.EXPIRE
    if differences(lasting(write.object), lasting(guilty.object)):
        lines.append(same(naming, write, guilty, f'{ALL} - {{"expires_at"}}' if early else ALL))
    else:
        lines.append(same(naming, write, guilty, '{"status", "payment_status"}'))
    return lines


@proof("RET-2", "EXP-4")
def _not_found(naming: Naming) -> Lines:
    return [answers(naming, blamed(naming), 404)]


@proof("RET-3")
def _same_again(naming: Naming) -> Lines:
    first, second = naming.story.told[-2:]
    return [same(naming, first, second, f'{ALL} | {{"status", "payment_status"}}')]


@proof("RET-4")
def _little_changes(naming: Naming) -> Lines:
    guilty, born = blamed(naming), naming.story.told[0]
    early = any(e.operation is Operation.EXPIRE and e.succeeded for e in naming.story.told)
    return [same(naming, born, guilty, f'{ALL} - {{"expires_at"}}' if early else ALL)]


def _expected(naming: Naming, listing: Listing) -> tuple[list[ObservedSession], bool]:
    """Our sessions that a page shows first, and whether it surely shows nothing else."""
    found, limit = matching(naming.story, listing), listing.query.limit
    if listing.query.ending_before is not None:
        return found[-limit:], True
    return found[:limit], len(found) >= limit


@proof("LIS-1")
def _list_shape(naming: Naming) -> Lines:
    guilty = blamed(naming)
    reply = naming.reply(guilty)
    if not guilty.succeeded:
        return [succeeds(naming, guilty)]
    return [
        f"assert is_json({reply}) and isinstance({reply}.json(), dict), {reply}.text",
        f"page = {reply}.json()",
        'assert (page.get("object"), page.get("url")) == ("list", "/checkout/sessions"), page',
        'assert isinstance(page.get("has_more"), bool) and isinstance(page.get("data"), list), page',
        'assert all(isinstance(session, dict) for session in page["data"]), page',
    ]


@proof("LIS-2", "LIS-3", "LIS-4", "LIS-5", "LIS-6", "LIS-8", "LIS-9", "LIS-12")
def _page(naming: Naming) -> Lines:
    guilty = blamed(naming)
    reply, listing = naming.reply(guilty), naming.story.listing(guilty)
    if listing is None:
        return [refused(naming, guilty) if guilty.succeeded else succeeds(naming, guilty)]
    expected, exact = _expected(naming, listing)
    query = listing.query
    lines = []
    if expected or exact:
        part = "" if exact else f"[:{len(expected)}]"
        lines.append(f"assert ids({reply}){part} == {naming.ids(expected)}")
    found = matching(naming.story, listing)
    excluded = [observed for observed in opened_before(naming.story, guilty) if observed not in found]
    if excluded and not exact:
        lines.append(f"assert not set(ids({reply})) & set({naming.ids(excluded)})")
    lines.append(f"assert len(ids({reply})) <= {query.limit}")
    if query.status is not None:
        lines.append(f'assert {{session["status"] for session in {reply}.json()["data"]}} <= {{{query.status!r}}}')
    signs = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
    for bound, epoch in query.created:
        moment = literal(naming.epoch(epoch, guilty.account or 0))
        shown = f'[session["created"] for session in {reply}.json()["data"]]'
        lines.append(f"assert all(created {signs[bound]} {moment} for created in {shown}), {reply}.text")
    if naming.story.clause == "LIS-4":
        lines.append(f'times = [session["created"] for session in {reply}.json()["data"]]')
        lines.append("assert times == sorted(times, reverse=True)")
    return lines


@proof("LIS-7")
def _more(naming: Naming) -> Lines:
    guilty = blamed(naming)
    reply, listing = naming.reply(guilty), naming.story.listing(guilty)
    if listing is None:
        return []
    if len(matching(naming.story, listing)) > listing.query.limit:
        expected = "True"
    else:
        expected = "False" if listing.query.ending_before is not None or not needs_older(naming) else "bool(older)"
    return [f'assert {reply}.json()["has_more"] is {expected}, {reply}.text']


def needs_older(naming: Naming) -> bool:
    """Whether what is expected depends on sessions that the account had before."""
    guilty = naming.story.guilty
    if guilty is None or naming.story.clause not in {"LIS-7", "LIS-10"} or guilty.operation is not Operation.LIST:
        return False
    names = guilty.request.parameters.keys()
    return not names & {"created[gt]", "created[gte]", "ending_before"}


@proof("LIS-10")
def _nothing(naming: Naming) -> Lines:
    guilty = blamed(naming)
    reply = naming.reply(guilty)
    if not guilty.succeeded:
        return [succeeds(naming, guilty)]
    lines = [f'assert ({reply}.json()["data"], {reply}.json()["has_more"]) == ([], False), {reply}.text']
    return ["if not older:", *(f"    {line}" for line in lines)] if needs_older(naming) else lines


@proof("LIS-11")
def _walk(naming: Naming) -> Lines:
    pages = [e for e in naming.story.told if e.operation is Operation.LIST]
    listing = naming.story.listing(pages[0])
    first = matching(naming.story, listing) if listing is not None else []
    status = pages[0].request.parameters.get("status")
    throughout = [
        observed for observed in first if status is None or state_at(naming.story, observed, pages[-1]).status == status
    ]
    return [
        "assert len(met) == len(set(met)), met",
        f"assert set({naming.ids(throughout)}) <= set(met), met",
    ]


@proof("LIS-13")
def _senseless(naming: Naming) -> Lines:
    return [refused(naming, blamed(naming))]


@proof("LIS-14")
def _entry(naming: Naming) -> Lines:
    first, second = naming.story.told[-2:]
    page, read = (first, second) if first.operation is Operation.LIST else (second, first)
    observed = naming.story.session_of(read)
    session_id = naming.id(observed.id) if observed is not None else "None"
    # What a write answers with may be of another time: then only what lasts can be compared.
    names = f'{ALL} | {{"status", "payment_status"}}' if read.operation is Operation.RETRIEVE else str(ALL)
    return [
        f'(entry,) = [s for s in {reply_json(naming, page)}["data"] if s["id"] == {session_id}]',
        f"assert view(entry, {names}) == view({reply_json(naming, read)}, {names})",
    ]
