"""The lines for a shell send the same requests in every shell, run as a script or pasted at a prompt."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from qashier_contract.findings import StatusIs, expect
from qashier_contract.history import Capability, Credentials, Endpoint, Exchange, History, Reply, Request, Terms
from qashier_contract.statuses import SUCCESS
from qashier_contract.trace.curl import curl_lines
from qashier_contract.trace.names import ToWrite

SESSIONS = "/checkout/sessions"
HOOK = "http://127.0.0.1:9/hook"
NOW = 1_750_000_000
ODD = 'it\'s "odd" $HOME `id` \\n !x é%s\n~*'
"""What one shell or another makes something of."""
JSON = ("Content-Type", "application/json")
RAN = [[shell, "-eu"] for shell in ("sh", "dash", "bash", "zsh", "ksh")]
PASTED = [["dash", "-i"], ["bash", "--norc", "-i"], ["zsh", "-f", "-i"]]


class Recorded:
    """A run with each kind of step, one after the other but for the two under way at the same time."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.ns = 0

    def add(self, method: str, target: str, body: Any = None, answer: Any = None, *headers: Any, **more: Any) -> None:
        """Note an exchange. `lasts` is for how many of the following it is under way."""
        path, _, query = target.partition("?")
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self.ns += 10
        received_ns = self.ns + 5 + 10 * more.pop("lasts", 0)
        self.exchanges.append(
            Exchange(
                number=len(self.exchanges) + 1,
                request=Request(method=method, path=path, query=query, headers=headers, body=raw),
                reply=Reply(status=200, body=json.dumps(answer or {}).encode()),
                sent_ns=self.ns,
                received_ns=received_ns,
                **more,
            )
        )

    def opened(self, name: str, **more: Any) -> None:
        body = {"success_url": f"https://shop.example/thanks/1234567890-{name}", **more}
        page = f"https://pay.example/page/{name}"
        self.add("POST", SESSIONS, body, {"id": f"cs_test_old_{name}", "created": NOW, "url": page}, JSON)

    def shown(self, method: str, **more: Any) -> None:
        self.add(method, "https://pay.example/page/one", page_of="cs_test_old_one", page_act="view", **more)


def recorded() -> History:
    run = Recorded()
    run.add("GET", "/_mock/v1/clock", None, {"now": NOW})
    run.opened("one", note=ODD)
    run.opened("two", expires_at=NOW + 1800)
    for name in ("cs_test_old_one", "cs_test_old_onex", "cs_test_old_on", "CS_TEST_OLD_ONE", "..%2F%7B%7D"):
        run.add("GET", f"{SESSIONS}/{name}", credentials=Credentials.BEARER)
    run.add("GET", f"{SESSIONS}?starting_after=cs_test_old_one&created%5Bgte%5D={NOW + 5}&a[b]=!")
    run.add("POST", "/_mock/v1/clock/advance", {"seconds": 60}, {"now": NOW + 60}, JSON)
    run.add("POST", f"{SESSIONS}/cs_test_old_one/expire", None, None, ("Idempotency-Key", "ends!1234567890"), lasts=1)
    run.add("POST", f"{SESSIONS}/cs_test_old_two/expire", None, None, ("X-Long", "x" * 600))
    run.add("POST", SESSIONS, b'{"a": ' + ODD.encode(), None, JSON)
    run.add("POST", SESSIONS, bytes(range(256)))
    run.add("PATCH", "/nowhere", account=None, credentials=Credentials.NONE)
    run.add("HEAD", SESSIONS, account=1)
    forged = "Basic <the key in capitals>"
    run.add("GET", SESSIONS, None, None, ("Authorization", forged), account=None, credentials=Credentials.BROKEN)
    run.shown("GET")
    run.shown("HEAD")
    run.add("POST", "/_mock/v1/webhook-endpoints", {"url": HOOK, "secret": "***"}, {"id": "we_old"}, JSON)
    run.add("DELETE", "/_mock/v1/webhook-endpoints/we_old")
    run.add("GET", SESSIONS)
    return History(
        exchanges=tuple(run.exchanges),
        endpoints=(Endpoint(url=HOOK, account=0, registered_ns=0, id="we_old"),),
        terms=Terms(capabilities=frozenset({Capability.CLOCK})),
    )


@pytest.fixture
def asked() -> Iterator[tuple[str, list[tuple[str, str, str, bytes, str]]]]:
    """A server's address, and what it is asked: method, target, credentials, body, and one header."""
    found: list[tuple[str, str, str, bytes, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            key = self.headers.get("idempotency-key") or self.headers.get("x-long") or ""
            found.append((self.command, self.path, self.headers.get("authorization") or "", body, key))
            number = sum(one[:2] == ("POST", SESSIONS) for one in found)
            new = {"id": f"cs_test_New{number}", "created": NOW + 900, "now": NOW + 900, "url": f"{url}/page/{number}"}
            shown = json.dumps(new).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(shown)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(shown)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield url, found
        server.shutdown()
        thread.join()


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


def wanted(run: str) -> list[tuple[str, str, str, bytes, str]]:
    """What is to be asked, `run` being the word that is new in each run."""
    mine, bearer, endpoints = basic("sk_test_one"), "Bearer sk_test_one", "/_mock/v1/webhook-endpoints"

    def create(name: str, **more: Any) -> bytes:
        return json.dumps({"success_url": f"https://shop.example/thanks/{run}-{name}", **more}).encode()

    def sent(method: str, target: str, body: bytes = b"", who: str = mine, key: str = "") -> Any:
        return method, target, who, body, key

    return [
        sent("PUT", "/_mock/v1/clock", b'{"frozen": true}'),
        sent("POST", SESSIONS, create("one", note=ODD)),
        sent("POST", SESSIONS, create("two", expires_at=NOW + 2700)),
        *(sent("GET", f"{SESSIONS}/{name}", who=bearer) for name in ("cs_test_New1", "cs_test_New1x", "cs_test_New")),
        *(sent("GET", f"{SESSIONS}/{name}", who=bearer) for name in ("CS_TEST_nEW1", "..%2F%7B%7D")),
        sent("GET", f"{SESSIONS}?starting_after=cs_test_New1&created%5Bgte%5D={NOW + 905}&a[b]=!"),
        sent("POST", "/_mock/v1/clock/advance", b'{"seconds": 60}'),
        sent("POST", f"{SESSIONS}/cs_test_New1/expire", key=f"ends!{run}"),
        sent("POST", f"{SESSIONS}/cs_test_New2/expire", key="x" * 600),
        sent("POST", SESSIONS, b'{"a": ' + ODD.encode()),
        sent("POST", SESSIONS, bytes(range(256))),
        sent("PATCH", "/nowhere", who=""),
        sent("HEAD", SESSIONS, who=basic("sk_test_two")),
        sent("GET", SESSIONS, who=basic("SK_TEST_ONE")),
        sent("GET", "/page/1", who=""),
        sent("HEAD", "/page/1", who=""),
        sent("POST", endpoints, json.dumps({"url": "http://me/", "secret": "whsec_c2VjcmV0"}).encode()),
        sent("DELETE", f"{endpoints}/cs_test_New4"),
        sent("GET", SESSIONS),
        sent("PUT", "/_mock/v1/clock", b'{"frozen": false}'),
    ]


@pytest.mark.parametrize("command", RAN + PASTED, ids=" ".join)
def test_each_kind_of_step_is_sent_alike_in_every_shell(command: list[str], asked: Any, tmp_path: Path) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} on this machine")
    url, found = asked
    history = recorded()
    violation = replace(expect(StatusIs(history.exchanges[-1], SUCCESS), ODD), clause="CRE-1")
    lines = curl_lines(ToWrite(violation=violation, part=history, title=ODD, target=url, makes_keys_up=True))
    script = tmp_path / "lines.sh"
    script.write_text("\n".join(lines) + "\n", "utf-8")
    given = {
        "QASHIER_API_KEY": "sk_test_one",
        "QASHIER_API_KEY_2": "sk_test_two",
        "WEBHOOK_URL": "http://me/",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
    }
    is_pasted = "-i" in command
    with script.open() as pasted:
        done = subprocess.run(
            command if is_pasted else [*command, str(script)],
            stdin=pasted if is_pasted else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], **given},
            start_new_session=True,
        )
    assert is_pasted or (done.returncode, done.stderr) == (0, "")
    (run,) = {one[4].removeprefix("ends!") for one in found if one[4].startswith("ends!")}
    assert [*found[:10], *sorted(found[10:12]), *found[12:]] == wanted(run), done.stderr
