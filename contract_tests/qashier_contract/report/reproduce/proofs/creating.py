"""Proofs for CRE and AMT: what may be asked for, what comes of it, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qashier_contract.history import Exchange, Operation
from qashier_contract.report.reproduce.naming import Naming
from qashier_contract.report.reproduce.proofs.table import (
    Lines,
    blamed,
    creation_of,
    proof,
    refusal_or_success,
    reply_json,
    shows,
    succeeds,
)
from qashier_contract.trace.literals import literal
from qashier_contract.values import Json, is_integer

if TYPE_CHECKING:
    from collections.abc import Mapping


@proof("CRE-1")
def _valid(naming: Naming) -> Lines:
    guilty = blamed(naming)
    return [succeeds(naming, guilty), f"assert_shape({reply_json(naming, guilty)})"]


@proof("CRE-2", "CRE-13", "CRE-14", "CRE-15", "CRE-16", "CRE-17", "CRE-18", "CRE-19", "IDM-3")
def _bounds(naming: Naming) -> Lines:
    return refusal_or_success(naming, blamed(naming))


@proof("CRE-3")
def _new(naming: Naming) -> Lines:
    return shows(naming, blamed(naming), {"status": "open", "object": "checkout.session", "mode": "payment"})


@proof("CRE-4")
def _created_now(naming: Naming) -> Lines:
    guilty = blamed(naming)
    shown = f'{reply_json(naming, guilty)}["created"]'
    if naming.can_stop_clock:
        start = naming.story.clock_at(guilty.account or 0)
        least, _ = naming.ledger.clock(guilty)
        if start is not None and least is not None:
            moment = naming.epoch(least, guilty.account or 0)
            return [f"assert abs({shown} - ({literal(moment)})) <= 1, {naming.reply(guilty)}.text"]
    return [f"assert abs({shown} - time.time()) <= 300, {naming.reply(guilty)}.text"]


@proof("CRE-5")
def _default_life(naming: Naming) -> Lines:
    session = reply_json(naming, blamed(naming))
    return [f'assert {session}["expires_at"] - {session}["created"] == 86_400']


@proof("CRE-6")
def _expiry_kept(naming: Naming) -> Lines:
    guilty = blamed(naming)
    if not guilty.succeeded:
        return [succeeds(naming, guilty)]
    asked = guilty.request.json["expires_at"]
    moment = naming.epoch(asked, guilty.account or 0) if is_integer(asked) else asked
    return shows(naming, guilty, {"expires_at": moment})


@proof("CRE-7")
def _expiry_bounds(naming: Naming) -> Lines:
    guilty = blamed(naming)
    if lines := refusal_or_success(naming, guilty):
        return lines
    reply, session = naming.reply(guilty), reply_json(naming, guilty)
    return [
        f'assert {reply}.is_error or 1_800 <= {session}["expires_at"] - {session}["created"] <= 86_400, {reply}.text'
    ]


@proof("CRE-8")
def _urls_kept(naming: Naming) -> Lines:
    guilty = blamed(naming)
    return shows(naming, guilty, {n: naming.text(guilty.request.json[n]) for n in ("success_url", "return_url")})


@proof("CRE-9")
def _has_page(naming: Naming) -> Lines:
    guilty = blamed(naming)
    if guilty.page_of is not None:
        lines = [f"assert {naming.reply(guilty)}.status_code < 400"]
        observed = naming.story.session_of(guilty)
        if observed is not None and "form" in naming.story.violation.expected:
            lines.append(f"assert Page({naming.reply(guilty)}).to_pay({naming.id(observed.id)})")
        return lines
    return [
        f'assert re.match(r"(?i)https?://[^/?#]+", {reply_json(naming, guilty)}["url"]), {naming.reply(guilty)}.text'
    ]


@proof("CRE-10")
def _unique_ids(naming: Naming) -> Lines:
    singles = [
        f'{reply_json(naming, step.exchange)}["id"]'
        for step in naming.story.steps
        if step.exchange.operation is Operation.CREATE and not step.batch
    ]
    batches = [f"*{naming.batch(step.exchange)}" for step in naming.story.steps if step.batch]
    return [
        f"made = [{', '.join([*singles, *batches])}]",
        "assert len(made) == len(set(made)), made",
        'assert [one for one in made if not re.fullmatch(r"[A-Za-z0-9._~-]{1,255}", one)] == []',
    ]


@proof("CRE-11")
def _integers(naming: Naming) -> Lines:
    guilty = blamed(naming)
    lines = refusal_or_success(naming, guilty)
    if lines or not guilty.succeeded:
        return lines
    asked = [int(line["quantity"]) for line in guilty.request.json["line_items"]]
    reply = naming.reply(guilty)
    return [
        f'shown = json.dumps([line["quantity"] for line in {reply}.json()["line_items"]["data"]])',
        f"assert shown == json.dumps({asked})",
    ]


@proof("CRE-12")
def _currencies(naming: Naming) -> Lines:
    guilty = blamed(naming)
    creation = creation_of(naming, guilty)
    if creation is not None and creation.is_faultless and guilty.succeeded:
        code = guilty.request.json["line_items"][0]["price_data"]["currency"]
        return shows(naming, guilty, {"currency": code})
    return refusal_or_success(naming, guilty)


def _asked(exchange: Exchange) -> list[Mapping[str, Json]]:
    lines: list[Mapping[str, Json]] = exchange.request.json["line_items"]
    return lines


def _amounts(exchange: Exchange) -> list[int]:
    return [line["price_data"]["unit_amount"] * line["quantity"] for line in _asked(exchange)]


def _column(naming: Naming, exchange: Exchange, name: str) -> str:
    return f'[line["{name}"] for line in {reply_json(naming, exchange)}["line_items"]["data"]]'


@proof("AMT-1")
def _sum(naming: Naming) -> Lines:
    guilty = blamed(naming)
    return [f'assert {reply_json(naming, guilty)}["amount_total"] == sum({_column(naming, guilty, "amount_total")})']


@proof("AMT-2")
def _products(naming: Naming) -> Lines:
    guilty = blamed(naming)
    return [f"assert {_column(naming, guilty, 'amount_total')} == {literal(_amounts(guilty), used=60)}"]


@proof("AMT-3")
def _one_currency(naming: Naming) -> Lines:
    guilty = blamed(naming)
    code = _asked(guilty)[0]["price_data"]["currency"]
    return [
        *shows(naming, guilty, {"currency": code}),
        f"assert set({_column(naming, guilty, 'currency')}) == {{{code!r}}}",
    ]


@proof("AMT-4")
def _all_lines(naming: Naming) -> Lines:
    guilty = blamed(naming)
    lines = [
        f'assert {reply_json(naming, guilty)}["line_items"]["object"] == "list"',
        f"assert {_column(naming, guilty, 'quantity')} == "
        + literal([line["quantity"] for line in _asked(guilty)], used=60),
    ]
    return [*lines, *_described(naming)]


@proof("AMT-5")
def _described(naming: Naming) -> Lines:
    guilty = blamed(naming)
    products = [line["price_data"]["product_data"] for line in _asked(guilty)]
    titles = [product.get("description", product["name"]) for product in products]
    return [f"assert {_column(naming, guilty, 'description')} == {literal(titles, used=60)}"]


@proof("AMT-6")
def _nothing_to_pay(naming: Naming) -> Lines:
    guilty = blamed(naming)
    if not guilty.succeeded:
        return [succeeds(naming, guilty)]
    created = guilty if guilty.operation is Operation.CREATE else naming.story.told[0]
    if sum(_amounts(created)) == 0:
        return shows(naming, guilty, {"payment_status": "no_payment_required"})
    if guilty is created:
        return shows(naming, guilty, {"payment_status": "unpaid"})
    return [f'assert {reply_json(naming, guilty)}["payment_status"] in ("unpaid", "paid"), {naming.reply(guilty)}.text']


@proof("AMT-7")
def _exact(naming: Naming) -> Lines:
    guilty = blamed(naming)
    if not guilty.succeeded:
        return [succeeds(naming, guilty)]
    amounts = _amounts(guilty)
    shown = f'[*{_column(naming, guilty, "amount_total")}, {reply_json(naming, guilty)}["amount_total"]]'
    return [
        f"shown = {shown}",
        "assert all(type(amount) is int for amount in shown), shown",
        f"assert shown == {literal([*amounts, sum(amounts)], used=20)}",
    ]
