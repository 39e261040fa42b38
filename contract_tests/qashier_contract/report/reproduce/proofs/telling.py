"""Proofs for EVT: what the shop is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qashier_contract import oracle
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger import act_of
from qashier_contract.report.reproduce.fate import state_after
from qashier_contract.report.reproduce.naming import Naming
from qashier_contract.report.reproduce.proofs.table import ALL, Lines, proof, reply_json
from qashier_contract.report.reproduce.story import subject_of
from qashier_contract.trace.literals import literal

if TYPE_CHECKING:
    from qashier_contract.ledger import ObservedSession


def _ended(naming: Naming) -> ObservedSession | None:
    """The session whose events the story is about."""
    story = naming.story
    for delivery in story.violation.deliveries:
        observed = story.ledger.sessions.get(subject_of(delivery.event))
        if observed is not None:
            return observed
    born = next((e for e in story.told if e.operation is Operation.CREATE and e.succeeded), None)
    return story.session_of(born) if born is not None else None


def _ending(naming: Naming, observed: ObservedSession) -> Exchange | None:
    """The request that ended a session, None if the clock did."""
    for write in observed.writes:
        if write.succeeded and act_of(write) in {oracle.Act.PAYMENT_SUCCEEDED, oracle.Act.EXPIRE_REQUESTED}:
            return write if write in [step.exchange for step in naming.story.steps] else None
    return None


def events(naming: Naming) -> str:
    """The events about a story's session, as an expression."""
    return _told(naming)[0]


def _told(naming: Naming, *, most: int = 1) -> list[str]:
    """The same, once for each receiver where no list of events tells it. `most` is how many are waited for."""
    observed = _ended(naming)
    session_id = naming.id(observed.id) if observed is not None else "None"
    feed = next((e for e in naming.story.told if e.operation is Operation.EVENTS), None)
    if feed is not None:
        return [f'about({session_id}, {reply_json(naming, feed)}["data"])']
    patience = ", patience=2" if most > 1 else ""
    hooks = [f"hook{place + 1}" for place in range(max(1, len(naming.story.endpoints)))]
    return [f"about({session_id}, delivered({hook}, {most}{patience}))" for hook in hooks]


@proof("EVT-1")
def _event_shape(naming: Naming) -> Lines:
    feed = next((e for e in naming.story.told if e.operation is Operation.EVENTS), None)
    everything = f'{reply_json(naming, feed)}["data"]' if feed is not None else "delivered(hook1, 1)"
    lines = [f"told = {everything}", "assert told"]
    if feed is not None:
        lines.append('assert len({event["id"] for event in told}) == len(told), told')
    lines.append("for event in told:\n    assert_event(event)")
    observed = _ended(naming)
    if observed is not None and any(e.operation in {Operation.PAY, Operation.EXPIRE} for e in naming.story.told):
        ending = _ending(naming, observed)
        least = naming.ledger.clock(ending)[0] if ending is not None else None
        if least is not None and naming.can_stop_clock:
            moment = literal(naming.epoch(least, observed.account))
            lines.append(f'assert all(abs(event["created"] - ({moment})) <= 5 for event in {events(naming)})')
    elif observed is not None and feed is not None and naming.can_stop_clock:
        lines += [
            f'least, most = {naming.session(observed)}["expires_at"], control.get("clock").json()["now"]',
            f'assert all(least - 5 <= event["created"] <= most + 5 for event in {events(naming)})',
        ]
    return lines


@proof("EVT-2", "EVT-5")
def _one_event(naming: Naming) -> Lines:
    story, observed = naming.story, _ended(naming)
    if observed is None:
        causes = [e for e in story.told if e.operation is Operation.CREATE and isinstance(e.request.json, dict)]
        feed = next((e for e in story.told if e.operation is Operation.EVENTS), None)
        told = f'{reply_json(naming, feed)}["data"]' if feed is not None else "delivered(hook1, 1)"
        if not causes:
            return []
        url = literal(naming.text(causes[-1].request.json["success_url"]))
        return [f'assert not [event for event in {told} if event["data"]["object"]["success_url"] == {url}]']
    state = _end_state(naming, observed)
    kinds = {"complete": "checkout.session.completed", "expired": "checkout.session.expired"}
    wanted = [kinds[state.status]] if state.status in kinds else []
    return [f'assert [event["type"] for event in {told}] == {literal(wanted)}' for told in _told(naming, most=9)]


def _end_state(naming: Naming, observed: ObservedSession) -> oracle.State:
    """What became of a session by the rules, when the story ends."""
    last = next(step.exchange for step in reversed(naming.story.steps) if step.moved_s is None)
    return state_after(naming.story, observed, last)


@proof("EVT-3")
def _snapshot(naming: Naming) -> Lines:
    observed = _ended(naming)
    if observed is None:
        return []
    state = _end_state(naming, observed)
    return [
        f"told = {events(naming)}",
        "assert told",
        'statuses = {(e["data"]["object"]["status"], e["data"]["object"]["payment_status"]) for e in told}',
        f'assert statuses == {{("{state.status}", "{state.payment_status}")}}',
        f'assert all(view(e["data"]["object"], {ALL}) == view({naming.session(observed)}, {ALL}) for e in told), told',
    ]


@proof("EVT-4")
def _names_request(naming: Naming) -> Lines:
    observed = _ended(naming)
    if observed is None:
        return []
    ending = _ending(naming, observed)
    lines = [f'told = [event["request"] or {{}} for event in {events(naming)}]', "assert told"]
    pair = '(request.get("id"), request.get("idempotency_key"))'
    if ending is None or ending.operation is not Operation.EXPIRE:
        return [*lines, f"assert all({pair} == (None, None) for request in told), told"]
    key = ending.request.idempotency_key
    shown = literal(naming.text(key)) if key is not None else "None"
    wanted = f'({naming.reply(ending)}.headers["request-id"], {shown})'
    return [*lines, f"assert all({pair} == {wanted} for request in told), told"]


@proof("EVT-6")
def _delivered(naming: Naming) -> Lines:
    story = naming.story
    expected = story.violation.expected
    hooks = [f"hook{place + 1}" for place in range(len(story.endpoints))]
    lines = [f"assert delivered({hook}, 1)" for hook in hooks]
    if not story.violation.deliveries:
        return lines
    first = "hook1"
    if "POST" in expected:
        return [
            *lines,
            f"assert {{method for method, _, _ in {first}.requests}} == {{'POST'}}",
            f"kinds = {{headers.get('content-type', '') for _, headers, _ in {first}.requests}}",
            "assert {kind.partition(';')[0].strip().lower() for kind in kinds} == {'application/json'}, kinds",
        ]
    if "removed" in expected or "later" in expected:
        return [f"assert not delivered({first}, 1, patience=2)"]
    if "same event id" in expected:
        return [*lines, f'assert len({{event["id"] for event in delivered({first}, 2)}}) == 1']
    if "further" in expected:
        return [f"assert len(delivered({first}, 9, patience=2)) <= len({first}.statuses)"]
    if "five" in expected:
        return [f"assert len(delivered({first}, 6)) > 5"]
    if "growing" in expected:
        return [
            f"assert len(delivered({first}, 6)) > 5",
            f"delays = [b - a for a, b in pairwise({first}.times)]",
            "assert delays[-1] > delays[0], delays",
        ]
    return [*lines, f"assert len(delivered({first}, 2)) > 1"]


@proof("EVT-7")
def _signed(naming: Naming) -> Lines:
    story = naming.story
    secret = story.endpoints[0].secret if story.endpoints else ""
    header = story.history.terms.policy.signature_header
    shown = story.violation.deliveries[-1:]
    count = len(
        [
            d
            for d in story.history.deliveries
            if shown and d.endpoint.url == shown[0].endpoint.url and d.number <= shown[0].number
        ]
    )
    return [
        f"assert delivered(hook1, {max(1, count)})",
        "for _, headers, body in hook1.requests:",
        f'    digest = hmac.new({literal(secret or "")}.encode(), body, "sha256").digest()',
        f'    assert headers.get("{header.lower()}") == base64.b64encode(digest).decode(), headers',
    ]


@proof("EVT-8")
def _one_name(naming: Naming) -> Lines:
    feed = next((e for e in reversed(naming.story.told) if e.operation is Operation.EVENTS), None)
    told = f'{reply_json(naming, feed)}["data"]' if feed is not None else "delivered(hook1, 2)"
    return [f'assert len({{event["account"] for event in {told}}}) == 1']
