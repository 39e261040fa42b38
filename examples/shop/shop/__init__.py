"""A small shop that takes payments through Qashier Checkout."""

from shop.app import Config, create_app

__all__ = ["Config", "create_app"]
