"""pytest-httpserver with a fixed answer: python httpserver_static.py PORT SIZE."""

from __future__ import annotations

import signal
import sys

from pytest_httpserver import HTTPServer

port, size = int(sys.argv[1]), int(sys.argv[2])
server = HTTPServer(host="127.0.0.1", port=port)
server.expect_request(r"/checkout/sessions").respond_with_data(b"x" * size, content_type="application/json")
server.expect_request("/checkout/sessions/cs_test_000000000000000000000000").respond_with_data(
    b"x" * size, content_type="application/json"
)
server.start()
signal.sigwait({signal.SIGTERM, signal.SIGINT})
server.stop()
