"""Creates that were answered: what was wrong with each, and which clause a refusal breaks."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus

from qashier_contract import oracle
from qashier_contract.history import Exchange, History, Operation
from qashier_contract.ledger.clock import Clock
from qashier_contract.ledger.keys import Keys
from qashier_contract.values import Json, has_repeated_keys


@dataclass(frozen=True, slots=True, eq=False)
class Creation:
    """A create that was answered, and what it deserved.

    `mistakes` is None where the documents leave it open. `features` maps what is special about a valid one to the
    clause that allows it.
    """

    exchange: Exchange
    mistakes: tuple[oracle.Mistake, ...] | None
    features: Mapping[str, str] = field(default_factory=dict)
    key_was_seen: bool = False

    @property
    def is_valid(self) -> bool:
        return self.mistakes == ()


class Creations:
    """The creates of one history."""

    def __init__(self, history: History, keys: Keys, clock: Clock) -> None:
        self.history = history
        self._keys, self._clock = keys, clock

    @cached_property
    def answered(self) -> Sequence[Creation]:
        """Every create that was answered."""
        return [self._creation(e) for e in self.history.of(Operation.CREATE) if e.reply is not None]

    def _creation(self, exchange: Exchange) -> Creation:
        earliest, latest = self._clock.at(exchange)
        seen = self._keys.was_seen(exchange)
        body = exchange.request.body or b""
        # RFC 8259 lets a parser ignore a byte order mark.
        is_open = exchange.wants_a_length or has_repeated_keys(body) or body.startswith(BOM_UTF8)
        if is_open and not self.history.terms.own:
            return Creation(exchange, None, key_was_seen=seen)
        # What an accepted create has besides was ignored; others may know more of a target than we do.
        is_ignored = exchange.succeeded and not self.history.terms.others_act
        unknown_fields = self.history.terms.policy.unknown_fields or ("ignore" if is_ignored else None)
        try:
            found = (
                *self._header_mistakes(exchange),
                *oracle.mistakes(
                    exchange.request.json, earliest=earliest, latest=latest, unknown_fields=unknown_fields
                ),
            )
        except oracle.Open:
            return Creation(exchange, None, key_was_seen=seen)
        # A body that never was JSON may be refused for its media type or its size first: one mistake is enough.
        if any(mistake.clause == "HTTP-4" and mistake.path for mistake in found):
            found = tuple(mistake for mistake in found if mistake.clause == "HTTP-4" and mistake.path)
        if found:
            return Creation(exchange, found, key_was_seen=seen)
        key = exchange.request.idempotency_key
        features = oracle.features_of(exchange.request.json, key=key, earliest=earliest)
        if oracle.leaves_open(exchange.request.json, oracle.UNKNOWN_FIELD):
            features["an unknown field, which the policy ignores"] = "CRE-1"
        if exchange.request.is_chunked:
            features["a body in chunks"] = "CRE-1"
        if len(body) > oracle.BODY_MOST // 2:
            features["a body of more than 1 MiB"] = "CRE-1"
        media_type = exchange.request.header("Content-Type")
        if media_type != "application/json":
            features[f"media type {media_type}"] = "HTTP-4"
        return Creation(exchange, (), features, key_was_seen=seen)

    @staticmethod
    def _header_mistakes(exchange: Exchange) -> Iterator[oracle.Mistake]:
        request = exchange.request
        media_type = (request.header("Content-Type") or "application/json").partition(";")[0].strip().lower()
        if request.header("Content-Encoding") is not None or request.query or media_type.endswith("+json"):
            raise oracle.Open("an encoding, a query or a media type that no document mentions")
        if media_type != "application/json":
            yield oracle.Mistake("HTTP-4", "Content-Type", f"the media type is {media_type}")
        if len(request.body or b"") > oracle.BODY_MOST:
            yield oracle.Mistake("HTTP-4", "Content-Length", "the body is above 2 MiB")
        keys = [value for name, value in request.headers if name.lower() == "idempotency-key"]
        if len(keys) > 1 or any(not key or not key.isascii() or not key.isprintable() or " " in key for key in keys):
            raise oracle.Open("an idempotency key that is empty, doubled or no visible ASCII")
        if keys and len(keys[0]) > oracle.KEY_LENGTH:
            yield oracle.Mistake("IDM-3", "Idempotency-Key", f"{len(keys[0])} characters")

    @cached_property
    def accepted_features(self) -> frozenset[str]:
        """What the target has shown that it accepts."""
        return frozenset(
            feature
            for creation in self.answered
            if creation.is_valid and creation.exchange.succeeded and not creation.key_was_seen
            for feature in creation.features
        )

    @cached_property
    def accepted_currencies(self) -> frozenset[str]:
        """What this target lets its accounts charge, as far as a tester said it or an answer showed it."""
        named = {*self.history.terms.currencies, *(self.history.terms.policy.currencies or ())}
        for creation in self.answered:
            if creation.is_valid and creation.exchange.succeeded:
                named |= {line["price_data"]["currency"] for line in creation.exchange.request.json["line_items"]}
        return frozenset(named)

    def attributed_clauses(self, creation: Creation) -> frozenset[str]:
        """The clauses that the refusal of a valid create breaks; empty where it may be refused."""
        code = creation.exchange.request.json["line_items"][0]["price_data"]["currency"]
        if self.history.terms.others_act and (
            creation.exchange.request.idempotency_key or not self.accepted_currencies
        ):
            return frozenset()  # the key may have been used before, and nobody said what the account may charge
        if creation.key_was_seen or (self.accepted_currencies and code not in self.accepted_currencies):
            return frozenset()
        if creation.exchange.status == HTTPStatus.CONFLICT and creation.exchange.request.idempotency_key:
            return frozenset({"IDM-2"})  # a key that is new can be in conflict with another one only
        special = {clause for feature, clause in creation.features.items() if feature not in self.accepted_features}
        return frozenset(special or {"CRE-1"})

    @cached_property
    def markers(self) -> Mapping[tuple[int, str], Sequence[Exchange]]:
        """The creates by account and `success_url`. Ours are unique, so a session tells which request made it."""
        markers: dict[tuple[int, str], list[Exchange]] = defaultdict(list)
        if self.history.terms.others_act:
            return markers  # a shop has one `success_url` for many sessions
        for exchange in self.history.of(Operation.CREATE):
            body = exchange.request.json
            if isinstance(body, dict) and isinstance(body.get("success_url"), str) and exchange.account is not None:
                markers[exchange.account, body["success_url"]].append(exchange)
        return markers

    def refused_causes(self, account: int | None, session: Mapping[str, Json]) -> Sequence[Exchange]:
        """The creates that a session is marked by, if all of them were refused."""
        marker = session.get("success_url")
        causes = self.markers.get((account or 0, marker), ()) if isinstance(marker, str) else ()
        return causes if all(cause.refused for cause in causes) else ()


def lines_of(holder: Json) -> Sequence[Mapping[str, Json]]:
    """The lines of a body for create, or of a session, that can be read."""
    lines = holder.get("line_items") if isinstance(holder, Mapping) else None
    lines = lines.get("data") if isinstance(lines, dict) else lines
    return [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []


def codes_of(body: Json) -> frozenset[str]:
    """The currencies that a body for create names, in lines that can be read."""
    prices = [line.get("price_data") for line in lines_of(body)]
    codes = [price.get("currency") for price in prices if isinstance(price, dict)]
    return frozenset(code for code in codes if isinstance(code, str))
