"""The same four endpoints as people would write them with FastAPI, over a dict: python fastapi_app.py PORT."""

from __future__ import annotations

import base64
import secrets
import sys
import time
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Query
from pydantic import BaseModel, Field, HttpUrl

from benchmarks.servers.settings import UVICORN

app = FastAPI()
sessions: dict[str, dict[str, Any]] = {}


class ProductData(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=250)]
    description: Annotated[str, Field(min_length=1, max_length=1000)] | None = None


class PriceData(BaseModel):
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    product_data: ProductData
    unit_amount: Annotated[int, Field(strict=True, ge=0, le=99_999_999)]


class LineItem(BaseModel):
    price_data: PriceData
    quantity: Annotated[int, Field(strict=True, ge=1, le=10_000)]


class Create(BaseModel):
    line_items: Annotated[list[LineItem], Field(min_length=1, max_length=100)]
    success_url: HttpUrl
    return_url: HttpUrl
    cancel_url: HttpUrl | None = None
    expires_at: Annotated[int, Field(strict=True)] | None = None


class Line(BaseModel):
    amount_total: int
    currency: str
    description: str
    quantity: int


class Lines(BaseModel):
    object: Literal["list"] = "list"
    data: list[Line]


class Session(BaseModel):
    id: str
    currency: str
    line_items: Lines
    object: Literal["checkout.session"] = "checkout.session"
    amount_total: int
    created: int
    expires_at: int
    mode: Literal["payment"] = "payment"
    payment_status: str
    status: str
    return_url: str
    success_url: str
    url: str


class Page(BaseModel):
    object: Literal["list"] = "list"
    data: list[Session]
    has_more: bool
    url: str = "/checkout/sessions"


def key(authorization: Annotated[str | None, Header()] = None) -> str:
    if authorization is None or not authorization.startswith("Basic "):
        raise HTTPException(401, headers={"WWW-Authenticate": "Basic"})
    return base64.b64decode(authorization[6:]).decode().partition(":")[0]


Key = Annotated[str, Depends(key)]


@app.post("/checkout/sessions", response_model=Session)
async def create(body: Create, _key: Key) -> dict[str, Any]:
    now = int(time.time())  # noqa: TID251 - a server of its own
    lines = [
        {
            "amount_total": line.price_data.unit_amount * line.quantity,
            "currency": line.price_data.currency,
            "description": line.price_data.product_data.description or line.price_data.product_data.name,
            "quantity": line.quantity,
        }
        for line in body.line_items
    ]
    session_id = "cs_test_" + secrets.token_hex(12)
    session = {
        "id": session_id,
        "currency": body.line_items[0].price_data.currency,
        "line_items": {"object": "list", "data": lines},
        "amount_total": sum(int(str(line["amount_total"])) for line in lines),
        "created": now,
        "expires_at": body.expires_at or now + 86_400,
        "payment_status": "unpaid",
        "status": "open",
        "return_url": str(body.return_url),
        "success_url": str(body.success_url),
        "url": f"http://127.0.0.1/pay/{session_id}",
    }
    sessions[session_id] = session
    return session


@app.get("/checkout/sessions", response_model=Page)
async def list_sessions(_key: Key, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> dict[str, Any]:
    newest = list(reversed(sessions.values()))[: limit + 1]
    return {"data": newest[:limit], "has_more": len(newest) > limit}


@app.get("/checkout/sessions/{session_id}", response_model=Session)
async def retrieve(session_id: str, _key: Key) -> dict[str, Any]:
    if session_id not in sessions:
        raise HTTPException(404)
    return sessions[session_id]


@app.post("/checkout/sessions/{session_id}/expire", response_model=Session)
async def expire(session_id: str, _key: Key) -> dict[str, Any]:
    if session_id not in sessions:
        raise HTTPException(404)
    if sessions[session_id]["status"] != "open":
        raise HTTPException(409)
    sessions[session_id]["status"] = "expired"
    return sessions[session_id]


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), **UVICORN)
