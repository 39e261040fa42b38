"""Run the shop, with the payment provider that the environment names: python -m shop."""

from __future__ import annotations

import os
from contextlib import suppress

from werkzeug.serving import make_server

from shop.app import Config, create_app

server = make_server("127.0.0.1", int(os.environ.get("PORT", "5000")), lambda *_: [], threaded=True)
url = f"http://127.0.0.1:{server.server_port}"
server.app = create_app(
    Config(
        provider_url=os.environ.get("QASHIER_URL", "http://127.0.0.1:4010"),
        api_key=os.environ.get("QASHIER_API_KEY", "sk_test_default"),
        webhook_secret=os.environ.get("QASHIER_WEBHOOK_SECRET", "whsec_example"),
        public_url=url,
        database=os.environ.get("SHOP_DATABASE", "shop.sqlite3"),
    )
)
print(f"The coffee shop is open on {url}", flush=True)
with suppress(KeyboardInterrupt):
    server.serve_forever()
