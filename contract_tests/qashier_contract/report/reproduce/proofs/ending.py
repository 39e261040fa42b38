"""Proofs for EXP, PAY and CON: how sessions end, and what their pages say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qashier_contract.history import Exchange, Operation
from qashier_contract.report.reproduce.fate import is_overdue, state_at
from qashier_contract.report.reproduce.naming import Naming
from qashier_contract.report.reproduce.proofs.table import (
    Lines,
    answers,
    blamed,
    proof,
    refused,
    same,
    shows,
    succeeds,
)
from qashier_contract.trace.literals import Code, literal
from qashier_contract.values import Json

if TYPE_CHECKING:
    from qashier_contract.ledger import ObservedSession


def _still(naming: Naming, read: Exchange) -> Lines:
    observed = naming.story.session_of(read)
    if observed is None:
        return []
    state = state_at(naming.story, observed, read)
    return shows(naming, read, {"status": state.status, "payment_status": state.payment_status})


@proof("EXP-1")
def _expires(naming: Naming) -> Lines:
    guilty = blamed(naming)
    observed = naming.story.session_of(guilty)
    shown: dict[str, Json] = {"status": "expired"}
    if observed is not None:
        shown["id"] = Code(naming.id(observed.id))
    return [succeeds(naming, guilty), *shows(naming, guilty, shown)]


@proof("EXP-2", "EXP-3", "EXP-5", "PAY-2")
def _cannot(naming: Naming) -> Lines:
    guilty = blamed(naming)
    if guilty.page_of is not None:
        return _page_says(naming, "paid")
    if guilty.operation is Operation.RETRIEVE:
        return _still(naming, guilty)
    demanded = naming.story.history.terms.policy.status_not_open
    if guilty.operation is Operation.PAY:
        return [f"assert not {naming.reply(guilty)}.is_success, {naming.reply(guilty)}.text"]
    if guilty.refused and demanded is not None:
        return [answers(naming, guilty, demanded)]
    return [refused(naming, guilty)]


def _page_says(naming: Naming, word: str) -> Lines:
    guilty = blamed(naming)
    session_id = naming.id(guilty.page_of or "")
    return [
        f"page = Page({naming.reply(guilty)})",
        f"assert {word!r} in page.text.lower() and not page.to_pay({session_id}), page.text",
    ]


@proof("EXP-6")
def _says_expired(naming: Naming) -> Lines:
    return _page_says(naming, "expired")


@proof("EXP-7")
def _on_time(naming: Naming) -> Lines:
    guilty = blamed(naming)
    observed = naming.story.session_of(guilty) or (naming.story.sessions[0] if naming.story.sessions else None)
    if observed is None:
        return []
    passed = is_overdue(naming.story, observed, guilty)
    if guilty.operation is Operation.LIST:
        reply = naming.reply(guilty)
        shown = f'[s["status"] for s in {reply}.json()["data"] if s["id"] == {naming.id(observed.id)}]'
        return [f"assert {shown} in ([], [{'expired' if passed else 'open'!r}]), {reply}.text"]
    if guilty.operation is Operation.RETRIEVE:
        return shows(naming, guilty, {"status": "expired" if passed else "open"})
    reply = naming.reply(guilty)
    return [f"assert {'not ' if passed else ''}{reply}.is_success, {reply}.text"]


@proof("EXP-8")
def _deadline_stays(naming: Naming) -> Lines:
    guilty = blamed(naming)
    return [same(naming, naming.story.told[0], guilty, '{"expires_at"}')]


@proof("PAY-1", "PAY-3")
def _pays(naming: Naming) -> Lines:
    guilty = blamed(naming)
    if guilty.page_of is not None:
        observed = naming.story.session_of(guilty)
        wanted = "success_url"
        if observed is None:
            return []
        return [_arrives(naming, guilty, observed, wanted)]
    if guilty.operation is not Operation.RETRIEVE:
        return [succeeds(naming, guilty)]
    pressed = next((e for e in reversed(naming.story.told) if e.page_of is not None), None)
    if pressed is not None:
        status = "open" if (pressed.page_act or "").startswith("pay-declined") else "complete"
        return shows(naming, guilty, {"status": status})
    return _still(naming, guilty)


def _arrives(naming: Naming, exchange: Exchange, observed: ObservedSession, name: str) -> str:
    return f'assert {naming.reply(exchange)}.headers.get("location") == {naming.session(observed)}["{name}"]'


@proof("PAY-4")
def _way_back(naming: Naming) -> Lines:
    guilty = blamed(naming)
    observed = naming.story.session_of(guilty)
    if observed is None:
        return []
    cancel = observed.born.request.json.get("cancel_url")
    lines = [f"links = Page({naming.reply(guilty)}).links"]
    if cancel is not None:
        return [*lines, f"assert {literal(naming.text(cancel))} in links, links"]
    return [*lines, 'assert not [link for link in links if "//shop.example" in link], links']


@proof("PAY-5")
def _comes_back(naming: Naming) -> Lines:
    guilty = blamed(naming)
    observed = naming.story.session_of(guilty)
    if observed is None:
        return []
    if (guilty.page_act or "").startswith("pay-redirect"):
        return [f'assert {{"authorise", "cancel"}} & Page({naming.reply(guilty)}).tests.keys()']
    if guilty.page_of is not None:
        return [_arrives(naming, guilty, observed, "return_url")]
    pressed = next((e.page_act or "" for e in reversed(naming.story.told) if e.page_of is not None), "")
    return shows(naming, guilty, {"status": "open" if pressed.startswith("cancel") else "complete"})


@proof("CON-1")
def _one_wins(naming: Naming) -> Lines:
    acts: list[str] = []
    pressed: list[str] = []
    for step in naming.story.steps:
        exchange = step.exchange
        if exchange.page_act in {"pay-card", "authorise"}:
            pressed.append(naming.reply(exchange))
        if exchange.operation in {Operation.PAY, Operation.EXPIRE}:
            made = {"succeeded": "complete", "failed": None, "canceled": None}
            body = exchange.request.json
            status = "expired" if exchange.operation is Operation.EXPIRE else made.get(body.get("outcome"))
            if status is not None:
                acts.append(f'({naming.reply(exchange)}, "{status}")')
    observed = next(iter(naming.story.sessions), None)
    lines = [f"won = [status for reply, status in [{', '.join(acts)}] if reply.is_success]"]
    if pressed and observed is not None:
        paid = f'{naming.session(observed)}["success_url"]'
        lines.append(f'won += ["complete" for r in [{", ".join(pressed)}] if r.headers.get("location") == {paid}]')
    lines.append("assert len(won) <= 1, won")
    last = naming.story.steps[-1].exchange
    if observed is not None:
        end = (
            f"{naming.reply(last)}"
            if last.operation is Operation.RETRIEVE and len(naming.story.groups[-1]) == 1
            else ""
        )
        read = f"{end}.json()" if end else f'api.get(f"/checkout/sessions/{{{naming.id(observed.id)}}}").json()'
        # Who pays at the method comes back whatever became of it.
        otherwise = '["open", "complete"]' if pressed else '["open"]'
        lines.append(f'assert {read}["status"] in (won or {otherwise})')
    return lines


@proof("CON-2")
def _all_there(naming: Naming) -> Lines:
    created = [e for group in naming.story.groups if len(group) > 1 for e in (step.exchange for step in group)]
    created = [e for e in created if e.operation is Operation.CREATE]
    replies = ", ".join(naming.reply(e) for e in created)
    lines = [f'made = [reply.json()["id"] for reply in ({replies})]', "assert len(made) == len(set(made)), made"]
    guilty = blamed(naming)
    if guilty.operation is Operation.LIST:
        lines.append(f"assert set(made) <= set(ids({naming.reply(guilty)}))")
    return lines
