"""Drive the checkout flow with the client that openapi-python-client generates, and print what came back.

The package `qashier_client` is generated beside this program by the test. Arguments: the address, a key.
"""

from __future__ import annotations

import json
import sys
from typing import TypeVar

from qashier_client import AuthenticatedClient
from qashier_client.api.checkout_sessions import (
    create_checkout_session,
    expire_checkout_session,
    list_checkout_sessions,
    retrieve_checkout_session,
)
from qashier_client.models import (
    CheckoutSession,
    CheckoutSessionCreate,
    CheckoutSessionList,
    CheckoutSessionStatus,
    CurrencyCode,
    ErrorEnvelope,
    LineItemCreate,
    PriceData,
    ProductData,
)

T = TypeVar("T")


def expect(kind: type[T], answer: object) -> T:
    if not isinstance(answer, kind):
        sys.exit(f"expected {kind.__name__}, got {answer!r}")
    return answer


def main(address: str, key: str) -> None:
    client = AuthenticatedClient(base_url=address, token=key, raise_on_unexpected_status=True)
    kopi = PriceData(currency=CurrencyCode.SGD, product_data=ProductData(name="Kopi O"), unit_amount=180)
    basket = CheckoutSessionCreate(
        line_items=[LineItemCreate(price_data=kopi, quantity=2)],
        success_url="https://shop.example/thanks?order=7",
        return_url="https://shop.example/order",
    )
    created = expect(
        CheckoutSession, create_checkout_session.sync(client=client, body=basket, idempotency_key="order-7")
    )
    retrieved = expect(CheckoutSession, retrieve_checkout_session.sync(created.id, client=client))
    listed = expect(
        CheckoutSessionList, list_checkout_sessions.sync(client=client, limit=5, status=CheckoutSessionStatus.OPEN)
    )
    expired = expect(CheckoutSession, expire_checkout_session.sync(created.id, client=client))
    again = expect(ErrorEnvelope, expire_checkout_session.sync(created.id, client=client))
    unknown = expect(ErrorEnvelope, retrieve_checkout_session.sync("cs_test_unknown", client=client))
    filtered = expect(CheckoutSessionList, list_checkout_sessions.sync(client=client, createdgte=created.created + 1))
    transcript = {
        "created": created.to_dict(),
        "retrieved": retrieved.to_dict(),
        "listed": [each.id for each in listed.data],
        "expired": expired.to_dict(),
        "expired again": again.error.code,
        "unknown": unknown.error.code,
        "created later": [each.id for each in filtered.data],
    }
    print(json.dumps(transcript))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
