"""The shop's pages, its webhook and its reconciliation, as a Flask app."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Blueprint, Flask, abort, current_app, g, redirect, render_template_string, request, url_for
from werkzeug.wrappers import Response

from shop.orders import Order, Orders
from shop.provider import Provider, ProviderDown, Session, SessionNotOpen, is_signed

ITEMS = {"House blend": 1450, "Filter papers": 390}
CURRENCY = "SGD"

CLOCKS_DIFFER_BY = 60
"""Seconds that the provider's clock may be behind ours."""

PAGE = """<!doctype html>
<html lang="en"><title>{{ title }}</title>
<h1>{{ title }}</h1>
{% if order %}
  <p data-testid="order">{{ order.quantity }} of {{ order.item }}: <b data-testid="status">{{ order.status }}</b></p>
  {% if order.status != "paid" %}
    <form method="post" action="{{ url_for('shop.pay', order_id=order.id) }}"><button>Pay</button></form>
  {% endif %}
{% else %}
  <form method="post" action="{{ url_for('shop.place_order') }}">
    <label>What <select name="item">{% for item in items %}<option>{{ item }}</option>{% endfor %}</select></label>
    <label>How many <input name="quantity" type="number" value="1" min="1" max="99"></label>
    <button>Buy</button>
  </form>
{% endif %}
"""


@dataclass(frozen=True)
class Config:
    """What the shop has to know.

    Attributes:
        provider_url: Where the provider's API is.
        api_key: The shop's secret key there.
        webhook_secret: What the provider signs its webhooks with.
        public_url: Where customers reach the shop.
        database: The SQLite file.
        wait: How the shop lets time pass before it asks the provider again.
    """

    provider_url: str
    api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    public_url: str
    database: str
    wait: Callable[[float], None] = time.sleep


pages = Blueprint("shop", __name__)


def create_app(config: Config) -> Flask:
    app = Flask(__name__)
    app.extensions["shop"] = (config, Provider(config.provider_url, config.api_key, wait=config.wait))
    app.register_blueprint(pages)
    app.teardown_appcontext(close_orders)
    app.cli.command("reconcile")(reconcile)
    return app


def config() -> Config:
    found: Config = current_app.extensions["shop"][0]
    return found


def provider() -> Provider:
    found: Provider = current_app.extensions["shop"][1]
    return found


def orders() -> Orders:
    if "orders" not in g:
        g.orders = Orders(config().database)
    found: Orders = g.orders
    return found


def close_orders(_error: BaseException | None) -> None:
    if "orders" in g:
        g.pop("orders").close()


# What customers see. Pages only show what is known: where a customer lands proves nothing.


@pages.get("/")
def front() -> str:
    return render_template_string(PAGE, title="The coffee shop", items=ITEMS)


@pages.post("/orders")
def place_order() -> Response:
    item, quantity = request.form["item"], int(request.form["quantity"])
    return pay_order(orders().place(item, ITEMS[item], quantity))


@pages.post("/orders/<int:order_id>/pay")
def pay(order_id: int) -> Response:
    return pay_order(the_order(order_id))


@pages.get("/orders/<int:order_id>")
@pages.get("/orders/<int:order_id>/return", endpoint="back")
@pages.get("/orders/<int:order_id>/thanks", endpoint="thanks")
def show_order(order_id: int) -> str:
    title = "Thank you" if request.endpoint == "shop.thanks" else "Your order"
    return render_template_string(PAGE, title=title, order=the_order(order_id))


def the_order(order_id: int) -> Order:
    return orders().find(order_id) or abort(404)


# Paying


def pay_order(order: Order) -> Response:
    """Send the customer to a checkout session that is open, a new one if need be."""
    try:
        session = usable_session(order)
    except ProviderDown:
        current_app.logger.warning("order %d cannot be paid: the provider is down", order.id)
        abort(503, "Payments are not available just now. Your order is kept; please try again in a minute.")
    if session is None:
        return redirect(url_for("shop.show_order", order_id=order.id), 303)
    return redirect(session["url"], 303)


def usable_session(order: Order) -> Session | None:
    """An open session for an order, or None when it turns out to be paid."""
    if order.session_id is not None:
        session = provider().retrieve_session(order.session_id)
        settle(session)
        if session["status"] == "open":
            return session
        order = orders().find(order.id) or order
        if order.status == "paid":
            return None
        order = orders().begin_attempt(order)
    path = f"{config().public_url}/orders/{order.id}"
    body = {
        "line_items": [
            {
                "price_data": {
                    "currency": CURRENCY,
                    "product_data": {"name": order.item},
                    "unit_amount": order.unit_amount,
                },
                "quantity": order.quantity,
            }
        ],
        "success_url": f"{path}/thanks",
        "return_url": f"{path}/return",
        "cancel_url": path,
    }
    # The key follows from the order: after a crash, a lost answer or a double click it is the same session again.
    session = provider().create_session(body, key=f"order-{order.id}-attempt-{order.attempt}")
    orders().remember_session(order, session["id"])
    return session


@pages.post("/orders/<int:order_id>/cancel")
def cancel(order_id: int) -> Response:
    """Close an order's session, so that it cannot be paid any more."""
    order = the_order(order_id)
    if order.session_id is not None:
        try:
            settle(provider().expire_session(order.session_id, key=f"order-{order.id}-cancel-{order.attempt}"))
        except SessionNotOpen:  # paid or expired in the meantime
            settle(provider().retrieve_session(order.session_id))
    return redirect(url_for("shop.show_order", order_id=order.id), 303)


# Hearing of it


@pages.post("/webhooks/qashier")
def webhook() -> tuple[str, int]:
    """The provider tells that a session has changed."""
    if not is_signed(request.get_data(), request.headers.get("x-qashier-sign", ""), config().webhook_secret):
        return "the signature is not the provider's", 401
    session_id = request.get_json()["data"]["object"]["id"]
    try:
        # An event may be old news by now: the session itself says how things stand.
        settle(provider().retrieve_session(session_id))
    except ProviderDown:
        return "try again later", 503
    return "", 204


def reconcile() -> int:
    """Settle what no webhook told: how many orders changed. To be run every few minutes."""
    since = orders().oldest_pending()
    if since is None:
        return 0
    return sum(settle(session) for session in provider().sessions_since(since - CLOCKS_DIFFER_BY))


def settle(session: Session) -> bool:
    order_id = order_of(session)
    return order_id is not None and orders().settle(order_id, session)


def order_of(session: Session) -> int | None:
    """The order that a session is for: its address says so, even where we never got to note the session's id."""
    found = re.fullmatch(re.escape(config().public_url) + r"/orders/(\d+)/thanks", session["success_url"])
    return int(found[1]) if found else None
