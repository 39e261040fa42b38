"""The parts that scripts are put together from, each pasted in where it is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from inspect import getsource
from typing import Final

from qashier_contract.addresses import parts_of
from qashier_contract.page import Page

_OWN: Final[Mapping[str, str]] = {
    "same": '''
def same(first, second):
    """Whether two JSON values are equal; 1, 1.0 and true are three values."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
''',
    "absent": '''
def absent(read):
    """Whether nothing stands at a place."""
    try:
        return read() is None
    except LookupError:
        return True
''',
    "b64": '''
def b64(text):
    """A text in base64."""
    return base64.b64encode(text.encode()).decode()
''',
    "at_once": '''
def at_once(*acts):
    """Do several things at the same moment; their results in order."""
    ready = Barrier(len(acts))

    def one(act):
        ready.wait(10)
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [waiting.result() for waiting in [pool.submit(one, act) for act in acts]]
''',
    "raw": '''
def raw(method, target, headers, body=None):
    """Send a request letter for letter, as no polite client would."""
    parts = urlsplit(URL)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname, parts.port, timeout=60)
    connection._validate_path = lambda path: None
    connection.putrequest(method, parts.path.rstrip("/") + target)
    for name, value in headers:
        connection.putheader(name, value.encode("utf-8", "surrogateescape"))
    if body is not None or method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(body or b"")))
    connection.endheaders(body)
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return httpx.Response(reply.status, headers=reply.getheaders(), content=content)
''',
    "shown": '''
def shown(reply):
    """The page that a reply shows."""
    return Page(reply.text, str(reply.url))
''',
    "press": '''
def press(customer, reply, test_id, method=""):
    """Press what carries a data-testid on a page; the replies, up to where it leads on the same host.

    With a method, its form goes out by that instead of its own.
    """
    page = shown(reply)
    if test_id.endswith(page.CONFIRMED):
        element = page.confirmation(test_id.removesuffix(page.CONFIRMED))
        if element is None:
            return [reply]  # nothing has to be confirmed here
    else:
        element = page.tests[test_id]
    if "form" not in element:
        return opened(customer, urljoin(page.url, element["href"]))
    form = page.forms[int(element["form"])]
    fields = Page.sent_by(form, element)
    url = urljoin(form["action"], element.get("formaction", ""))
    if (method or element.get("formmethod") or form["method"]).lower() == "get":
        return led_on(customer, customer.get(url, params=fields))
    return led_on(customer, customer.post(url, data=fields))
''',
    "opened": '''
def opened(customer, url):
    """Open a page; the replies, up to where it leads on the same host."""
    return led_on(customer, customer.get(url))
''',
    "led_on": '''
def led_on(customer, reply):
    """A reply, and those to which it leads on the same host."""
    replies = [reply]
    while replies[-1].is_redirect and len(replies) < 6:
        there = urljoin(str(replies[-1].url), replies[-1].headers["location"])
        if urlsplit(there).netloc != reply.url.netloc.decode():
            break
        replies.append(customer.get(there))
    return replies
''',
    "Hook": '''
class Hook:
    """A webhook receiver that answers with some statuses in turn; it goes by the clock that it is told of.

    One `beside` another is another endpoint of the same server, under an address that differs in its query alone.
    """

    def __init__(self, *statuses, beside=None):
        self.statuses, self.deliveries, self.late = statuses, [], 0
        self.now = self.before = self.since = 0
        self.news, self.id = Condition(), None
        self.hooks = [self] if beside is None else beside.hooks
        if beside is not None:
            self.hooks.append(self)
            self.server = None
            self.url = f"{beside.url.partition('?')[0]}?n={len(self.hooks)}"
            return
        hooks = self.hooks

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                query = self.path.partition("?")[2]
                hook = next((one for one in hooks if one.url.partition("?")[2] == query), None)
                if hook is None:
                    self.send_error(404)
                    return
                with hook.news:
                    status = hook.statuses[len(hook.deliveries) % len(hook.statuses)]
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    got = {"method": self.command, "headers": headers, "body": body}
                    when = {"at": hook.now, "before": hook.before}
                    hook.deliveries.append(SimpleNamespace(**got, **when, json=lambda: json.loads(body)))
                    hook.news.notify_all()
                if status < 0:  # an answer that comes too late
                    hook.late = time.monotonic() + 11.5
                    time.sleep(11.5)
                    status = 200
                if not status:  # no answer at all
                    self.close_connection = True
                    return
                try:
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    self.close_connection = True

            do_PUT = do_GET = do_PATCH = do_POST

            def log_message(self, *args):
                pass

        host = os.environ.get("QASHIER_WEBHOOK_HOST", "127.0.0.1")

        class Server(ThreadingHTTPServer):
            address_family = AF_INET6 if ":" in host else AF_INET
            daemon_threads = True

        self.make = Server
        self.server = Server((host, 0), Handler)
        named = f"[{host}]" if ":" in host else host
        self.url = os.environ.get("QASHIER_WEBHOOK_URL") or f"http://{named}:{self.server.server_port}/?n=1"

    def __enter__(self):
        if self.server is not None:
            self.open(self.server)
        return self

    def shut(self):
        """Refuse every connection, until open() listens at the same port again."""
        self.server.shutdown()
        self.server.server_close()
        self.server = self.make(self.server.server_address, self.server.RequestHandlerClass, False)
        self.server.server_bind()

    def open(self, server=None):
        """Listen."""
        if server is None:
            self.server.server_activate()
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __exit__(self, *exception):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    def settle(self, patience=1):
        """Wait for one more delivery, so that it comes before the clock moves."""
        with self.news:
            count, self.since = len(self.deliveries), self.now
            self.news.wait_for(lambda: len(self.deliveries) > count, patience)

    def move(self, seconds):
        """The clock is about to move. What is kept waiting gives up first."""
        time.sleep(max(0, self.late - time.monotonic()))
        self.before, self.now = self.now, self.now + seconds

    def about(self, session_id, count=0, after=None, within_s=None):
        """The deliveries that tell of a session; waits a few seconds until there are so many.

        `after` leaves out so many and one more, and counts the seconds from the last of them, until the move of the
        clock in which a try is due: it is seen after that.
        """

        def found():
            there = [one for one in self.deliveries if one.json()["data"]["object"]["id"] == session_id]
            if after is None:
                return [one for one in there if within_s is None or one.at - self.since <= within_s]
            further = there[after + 1 :]
            return [one for one in further if within_s is None or one.before - there[after].at < within_s]

        with self.news:
            self.news.wait_for(lambda: len(found()) >= (count or 99), 5 if count else 2)
            return found()

    def grows(self, session_id):
        """Whether the tries to tell of a session come later and later."""
        moments = sorted({one.at for one in self.about(session_id, 6)})
        delays = [later - earlier for earlier, later in pairwise(moments)]
        means = all(sum(delays[:count]) > count * delays[0] for count in range(5, len(delays) + 1))
        return len(delays) > 1 and delays[-1] > delays[0] and means
''',
}

_IMPORTS: Final[Mapping[str, str]] = {
    r"base64\.": "import base64",
    r"hmac\.": "import hmac",
    r"http\.client": "import http.client",
    r"json\.(dumps|loads)": "import json",
    r"\bos\.environ": "import os",
    r"\bre\.": "import re",
    r"\btime\.": "import time",
    r"ThreadPoolExecutor": "from concurrent.futures import ThreadPoolExecutor",
    r"HTMLParser": "from html.parser import HTMLParser",
    r"BaseHTTPRequestHandler": "from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer",
    r"Barrier\(": "from threading import Barrier",
    r"Condition\(": "from threading import Condition, Thread",
    r"decimal\(": "from unicodedata import decimal",
    r"pairwise\(": "from itertools import pairwise",
    r"Mapping\[": "from collections.abc import Mapping",
    r"Counter\[": "from collections import Counter",
    r"AF_INET6": "from socket import AF_INET, AF_INET6",
    r"SimpleNamespace": "from types import SimpleNamespace",
    r"SplitResult": "from urllib.parse import SplitResult",
    r"nullcontext": "from contextlib import nullcontext",
    r"unescape\(": "from html import unescape",
    r"urljoin": "from urllib.parse import urljoin",
    r"urlsplit": "from urllib.parse import urlsplit",
    r"uuid4": "from uuid import uuid4",
}


@cache
def _parts() -> Mapping[str, str]:
    """All parts. How a page is read is copied: there is one way to read it."""
    return {**_OWN, **{copied.__name__: f"\n{getsource(copied)}" for copied in (Page, parts_of)}}


def parts_for(source: str) -> str:
    """The parts that a piece of source uses, and those that these use."""
    wanted, pending = dict[str, str](), source
    while pending:
        new = {n: part for n, part in _parts().items() if n not in wanted and re.search(rf"\b{n}\(", pending)}
        wanted |= new
        pending = "\n".join(new.values())
    return "".join(f"\n\n{part.strip()}\n" for part in wanted.values())


def imports_for(source: str) -> str:
    """The import lines that a piece of source needs."""
    needed = [line for pattern, line in _IMPORTS.items() if re.search(pattern, source)]
    plain = sorted(line for line in needed if line.startswith("import"))
    named = sorted(line for line in needed if line.startswith("from"))
    return "\n".join([*plain, *named, "", "import httpx"]) + "\n"
