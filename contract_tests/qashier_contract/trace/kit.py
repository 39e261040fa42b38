"""The parts that scripts are put together from, each pasted in where it is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_PARTS: Final[Mapping[str, str]] = {
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
    "basic": '''
def basic(user, password=""):
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
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

    def part_words(self, tag):
        if tag not in ("a", "abbr", "b", "bdi", "em", "font", "i", "mark", "small", "span", "strong", "u", "wbr"):
            self.words.append("")

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.part_words(tag)
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
        self.part_words(tag)
        if tag == "form":
            self._form = None
        if self._hidden and self._hidden[-1] == tag:
            self._hidden.pop()

    def handle_data(self, data):
        if not self._hidden:
            both = self.words and self.words[-1][-1:].isalpha() and data[:1].isalpha()
            self.words.append(self.words.pop() + data if both else data)
''',
    "press": '''
def press(customer, reply, test_id):
    """Press what carries a data-testid on a page; the replies, up to where it leads on the same host."""
    element, form = Page(reply).tests[test_id]
    if form is None:
        return opened(customer, urljoin(str(reply.url), element["href"]))
    fields = dict(form["fields"])
    if element.get("name"):
        fields[element["name"]] = element.get("value", "")
    return led_on(customer, customer.post(urljoin(form["action"], element.get("formaction", "")), data=fields))
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
    """A webhook receiver that answers with some statuses in turn; it goes by the clock that it is told of."""

    def __init__(self, *statuses):
        self.statuses, self.deliveries, self.now, self.since, self.late = statuses, [], 0, 0, 0
        self.news = Condition()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with hook.news:
                    status = hook.statuses[len(hook.deliveries) % len(hook.statuses)]
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    hook.deliveries.append(Delivery(self.command, headers, body, hook.now))
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

        self.server = Server((host, 0), Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = os.environ.get("QASHIER_WEBHOOK_URL") or f"http://{shown}:{self.server.server_port}/"
        self.id = None

    def __enter__(self):
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exception):
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
        self.now += seconds

    def about(self, session_id, count=0, after=None, within_s=None):
        """The deliveries that tell of a session; waits a few seconds until there are so many.

        `after` leaves out so many and one more, and counts the seconds from the last of them.
        """

        def found():
            there = [one for one in self.deliveries if one.subject == session_id]
            since = self.since if after is None or len(there) <= after else there[after].at
            there = there if after is None else there[after + 1 :]
            return [one for one in there if within_s is None or one.at - since <= within_s]

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
    "Delivery": '''
class Delivery:
    """One request that a receiver got, and the time by its clock."""

    def __init__(self, method, headers, body, at):
        self.method, self.headers, self.body, self.at = method, headers, body, at

    def json(self):
        return json.loads(self.body)

    @property
    def subject(self):
        """The id of the session that it tells of."""
        return self.json()["data"]["object"]["id"]
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
    r"Barrier\(": "from threading import Barrier",
    r"Condition\(": "from threading import Condition, Thread",
    r"pairwise\(": "from itertools import pairwise",
    r"AF_INET6": "from socket import AF_INET, AF_INET6",
    r"nullcontext": "from contextlib import nullcontext",
    r"unescape\(": "from html import unescape",
    r"urljoin": "from urllib.parse import urljoin",
    r"urlsplit": "from urllib.parse import urlsplit",
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
