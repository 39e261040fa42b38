"""The parts that generated tests are put together from.

Each is pasted in where it is used, so that a test needs nothing but pytest and httpx.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from qashier_contract.document import properties

if TYPE_CHECKING:
    from collections.abc import Mapping

_LASTING: Final = ", ".join(
    f'"{name}"' for name in sorted(properties("CheckoutSession") - {"status", "payment_status"})
)

_LINE: Final = ", ".join(f'"{name}"' for name in sorted(properties("LineItem")))

_PARTS: Final[Mapping[str, str]] = {
    "LASTING": f"LASTING = {{{_LASTING}}}\n",
    "LINE": f"LINE = {{{_LINE}}}\n",
    "basic": '''
def basic(user, password=""):
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
''',
    "is_json": '''
def is_json(reply):
    """Whether a body is JSON."""
    try:
        json.loads(reply.content)
    except ValueError:
        return False
    return True
''',
    "ids": '''
def ids(reply):
    """The ids of a page."""
    return [session["id"] for session in reply.json()["data"]]
''',
    "view": '''
def view(session, names):
    """Some properties of a session, for comparing: 1 is not 1.0."""
    shown = {name: session.get(name) for name in names}
    if "line_items" in shown:
        shown["line_items"] = [{name: line.get(name) for name in LINE} for line in shown["line_items"]["data"]]
    return json.dumps(shown, sort_keys=True)
''',
    "texts": '''
def texts(value):
    """What an error tells a person, not a program."""
    machine = ("type", "code", "param", "status", "instance", "id", "request_id", "object")
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in machine or not isinstance(inner, str):
                yield from texts(inner)
''',
    "about": '''
def about(session_id, events):
    """The events that tell of one session, each once."""
    told = {event["id"]: event for event in events if event["data"]["object"]["id"] == session_id}
    return list(told.values())
''',
    "assert_shape": '''
def assert_shape(session):
    """Every documented property is there, of its type."""
    integers = ("amount_total", "created", "expires_at")
    words = ("id", "currency", "object", "mode", "payment_status", "status", "return_url", "success_url", "url")
    assert [name for name in words if not isinstance(session.get(name), str)] == [], session
    assert [name for name in integers if type(session.get(name)) not in (int, float)] == [], session
    assert session["line_items"]["object"] == "list", session
    for line in session["line_items"]["data"]:
        assert isinstance(line["currency"], str) and isinstance(line["description"], str), line
        assert type(line["quantity"]) is int and type(line["amount_total"]) in (int, float), line
''',
    "assert_event": '''
def assert_event(event):
    """Every documented property of an event is there."""
    assert re.fullmatch(r"evt_[!-~]+", str(event.get("id"))), event
    assert event.get("api_version") == "1.0.0", event
    assert event.get("type") in ("checkout.session.completed", "checkout.session.expired"), event
    assert isinstance(event.get("account"), str) and type(event.get("created")) is int, event
    assert isinstance((event.get("data") or {}).get("object"), dict), event
    request = event.get("request", ...)
    assert request is None or (request is not ... and {"id", "idempotency_key"} <= request.keys()), event
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
    "walk": '''
def walk(client, cursor, between=None, **query):
    """The ids on all pages in one direction, page by page."""
    met = []
    page = client.get("/checkout/sessions", params=query).json()
    for _ in range(1000):
        shown = [session["id"] for session in page["data"]]
        met += shown
        if not shown or (not page["has_more"] and (cursor == "starting_after" or len(met) > len(shown))):
            break
        if between is not None:
            between()
        query[cursor] = shown[-1 if cursor == "starting_after" else 0]
        page = client.get("/checkout/sessions", params=query).json()
    return met
''',
    "Page": '''
class Page(HTMLParser):
    """What a hosted page shows without a script: its visible text, its links and its forms."""

    def __init__(self, reply):
        super().__init__()
        self.url, self.words, self.links, self.forms, self.tests = str(reply.url), [], [], [], {}
        self._form, self._hidden = None, []
        self.feed(reply.text)
        for name, (given, _) in self.tests.items():
            for form in self.forms:
                if given.get("form", "") == form["id"] != "":
                    self.tests[name] = (given, form)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def to_pay(self, session_id):
        """The forms that act on the session; a search or a language does not."""
        acts = ("pay-card", "pay-declined", "pay-redirect", "authorise", "cancel")
        found = [form for name, (_, form) in self.tests.items() if form and name in acts]
        for form in self.forms:
            path = urlsplit(form["action"]).path
            names_it = session_id in path or session_id in form["fields"].values()
            if names_it or (form["method"] == "post" and path == urlsplit(self.url).path):
                found.append(form)
        return found

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        if tag in ("script", "style", "template", "head", "noscript") or "hidden" in given:
            self._hidden.append(tag)
        if tag == "form":
            self._form = {"action": urljoin(self.url, given.get("action", "")), "fields": {}}
            self._form["method"], self._form["id"] = given.get("method", "get").lower(), given.get("id", "")
            self.forms.append(self._form)
        if tag == "a" and "href" in given:
            self.links.append(urljoin(self.url, given["href"]))
        kind = given.get("type", "text").lower()
        sent = kind not in ("submit", "button", "image", "reset", "file")
        if kind in ("checkbox", "radio"):
            sent = "checked" in given
        if tag == "input" and self._form and sent and given.get("name"):
            self._form["fields"][given["name"]] = given.get("value", "")
        if "data-testid" in given:
            self.tests[given["data-testid"]] = (given, self._form)

    def handle_endtag(self, tag):
        if tag == "form":
            self._form = None
        if self._hidden and self._hidden[-1] == tag:
            self._hidden.pop()

    def handle_data(self, data):
        if not self._hidden:
            self.words.append(data)
''',
    "press": '''
def press(customer, reply, test_id):
    """Press what carries a data-testid on a page, and follow where it leads on the same host."""
    element, form = Page(reply).tests[test_id]
    if form is None:
        reply = customer.get(urljoin(str(reply.url), element["href"]))
    else:
        fields = dict(form["fields"])
        if element.get("name"):
            fields[element["name"]] = element.get("value", "")
        reply = customer.post(urljoin(form["action"], element.get("formaction", form["action"])), data=fields)
    while reply.is_redirect:
        there = urljoin(str(reply.url), reply.headers["location"])
        if urlsplit(there).netloc != reply.url.netloc.decode():
            break
        reply = customer.get(there)
    return reply
''',
    "Hook": '''
class Hook:
    """A webhook receiver that answers with some statuses in turn."""

    def __init__(self, *statuses):
        self.statuses, self.requests, self.times, self.now = statuses, [], [], 0
        self.news, self.answered = Condition(), Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with hook.news:
                    status = hook.statuses[len(hook.requests) % len(hook.statuses)]
                    hook.requests.append((self.command, headers, body))
                    hook.times.append(hook.now)
                    hook.news.notify_all()
                if not status:  # no answer at all
                    self.close_connection = True
                    return
                if status < 0:  # an answer that comes too late
                    time.sleep(11.5)
                    status = 200
                try:
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    self.close_connection = True
                hook.answered.set()

            do_PUT = do_GET = do_PATCH = do_POST

            def log_message(self, *args):
                pass

        host = os.environ.get("QASHIER_WEBHOOK_HOST", "127.0.0.1")
        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{host}:{self.server.server_address[1]}/"
        self.id = None

    def __enter__(self):
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.server.server_close()
''',
    "delivered": '''
def delivered(hook, count, patience=5):
    """The events that a receiver got; waits a few seconds until there are so many."""
    with hook.news:
        hook.news.wait_for(lambda: len(hook.requests) >= count, patience)
        return [json.loads(body) for _, _, body in hook.requests]
''',
    "Patient": '''
class Patient(httpx.HTTPTransport):
    """Waits and asks again where the service says that it is too much (429)."""

    def handle_request(self, request):
        reply = super().handle_request(request)
        for _ in range(8):
            if reply.status_code != 429:
                break
            reply.close()
            time.sleep(min(float(reply.headers.get("retry-after") or 1), 60))
            reply = super().handle_request(request)
        return reply
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
    r"pairwise": "from itertools import pairwise",
    r"Barrier\(": "from threading import Barrier",
    r"Condition\(": "from threading import Condition, Event, Thread",
    r"url(join|split)": "from urllib.parse import urljoin, urlsplit",
    r"uuid4": "from uuid import uuid4",
}


def parts_for(source: str) -> str:
    """The parts that a piece of source uses, and those that these use."""
    wanted: list[str] = []
    pending = source
    while True:
        new = [name for name in _PARTS if name not in wanted and _is_used(name, pending)]
        if not new:
            break
        wanted += new
        pending = "\n".join(_PARTS[name] for name in new)
    constants = [_PARTS[name] for name in _PARTS if name in wanted and name.isupper()]
    functions = [_PARTS[name].strip("\n") for name in _PARTS if name in wanted and not name.isupper()]
    return "".join(constants) + "".join(f"\n\n{text}\n" for text in functions)


def _is_used(name: str, source: str) -> bool:
    return re.search(rf"\b{name}\b" if name.isupper() else rf"\b{name}\(", source) is not None


def imports_for(source: str) -> str:
    """The import lines that a piece of source needs."""
    needed = [line for pattern, line in _IMPORTS.items() if re.search(pattern, source)]
    plain = sorted(line for line in needed if line.startswith("import"))
    named = sorted(line for line in needed if line.startswith("from"))
    return "\n".join([*plain, *named, "", "import httpx"]) + "\n"
