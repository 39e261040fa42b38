"""Who is measured: how each is set up in the benchmark's own folder, started, and asked for the three kinds of work."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.load import SERVER_CORE, Request, pinned

ROOT: Final = Path(__file__).resolve().parent.parent
SERVERS: Final = ROOT / "benchmarks" / "servers"
KEY: Final = "sk_test_bench"
AUTH: Final = {"Authorization": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()}
JSON_HEADERS: Final = {**AUTH, "Content-Type": "application/json"}

RETRIEVE: Final = "retrieve"
CREATE: Final = "create"
LIST: Final = "list of 10"

STATIC_SIZE: Final = 501
LIST_SIZE: Final = 5_089
"""Bytes of the static answers: what ours has for the same request. A run checks that it still does."""

ORDER: Final = json.dumps(
    {
        "line_items": [
            {
                "price_data": {"currency": "SGD", "product_data": {"name": "Nasi lemak"}, "unit_amount": 625},
                "quantity": 2,
            }
        ],
        "success_url": "https://shop.example/orders/1001/thanks",
        "return_url": "https://shop.example/orders/1001",
    }
)

_WITHOUT_BYTECODE: Final = "PYTHONDONTWRITEBYTECODE"

_START_LIMIT_S: Final = 60


class Missing(Exception):
    """A contender that cannot be set up here; the message says why."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One server.

    Attributes:
        name: As in the table.
        command: What starts it, given the benchmark's folder and a port; sets up first what it needs.
        requests: What each kind of work sends, given the server's URL once it answers; may make what it reads.
        ready: A path that answers as soon as the server can.
    """

    name: str
    command: Callable[[Path, int], Sequence[str]]
    requests: Callable[[str], Mapping[str, Request]]
    ready: str = "/checkout/sessions"
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def running(contender: Contender, folder: Path) -> Iterator[tuple[str, int]]:
    """The contender's URL and process id, on a core of its own.

    Raises:
        Missing: It cannot be set up, or does not start.
    """
    port = free_port()
    command = [*pinned(SERVER_CORE), *contender.command(folder, port)]
    log = folder / f"{contender.name.replace(' ', '-')}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=output, env={**environment(), **contender.environment}
        )
        try:
            _wait(process, port, contender.ready, log)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def environment() -> dict[str, str]:
    """What every contender runs in.

    Those in Python that stand in this tree find it, and keep their bytecode, as pip does for what it installs.
    """
    kept = {name: value for name, value in os.environ.items() if name != _WITHOUT_BYTECODE}
    return {**kept, "PYTHONPATH": str(ROOT)}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            last = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise Missing(f"it ended at once: {last[0][:160]}")
        try:
            fetch(f"http://127.0.0.1:{port}", Request("GET", path, AUTH))
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Missing(f"it did not answer within {_START_LIMIT_S} s")


def fetch(url: str, request: Request) -> bytes:
    """One answer's body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(request.method, request.path, request.body, dict(request.headers))
        body: bytes = connection.getresponse().read()
        return body
    finally:
        connection.close()


# -- ours and the ones in Python that need nothing more ---------------------------------------------------------------


def _checkout(url: str) -> Mapping[str, Request]:
    """The work on anything with our four endpoints: a session to retrieve, and at least ten to list."""
    create = Request("POST", "/checkout/sessions", JSON_HEADERS, ORDER)
    session_id = json.loads(fetch(url, create))["id"]
    for _ in range(11):
        fetch(url, create)
    return {
        RETRIEVE: Request("GET", f"/checkout/sessions/{session_id}", AUTH),
        CREATE: Request("POST", "/checkout/sessions", JSON_HEADERS, ORDER, idempotency_keys=True),
        LIST: Request("GET", "/checkout/sessions?limit=10", AUTH),
    }


def _static(url: str) -> Mapping[str, Request]:  # noqa: ARG001 - the signature of all
    return {
        RETRIEVE: Request("GET", "/checkout/sessions/cs_test_000000000000000000000000", AUTH),
        CREATE: Request("POST", "/checkout/sessions", JSON_HEADERS, ORDER),
    }


def _static_list(url: str) -> Mapping[str, Request]:  # noqa: ARG001
    return {LIST: Request("GET", "/checkout/sessions?limit=10", AUTH)}


def _script(name: str, *arguments: str) -> Callable[[Path, int], Sequence[str]]:
    def command(_folder: Path, port: int) -> Sequence[str]:
        filled = [each.format(port=port) for each in arguments]
        return [sys.executable, str(SERVERS / name), *filled]

    return command


def _ours(folder: Path, port: int) -> Sequence[str]:
    # The others log no request either; what our log costs is measured by itself (`livelog.py`).
    return [*ours(folder), "serve", "--port", str(port), "--quiet"]


def ours(folder: Path) -> list[str]:
    """Our command from this tree, with nothing installed but what it needs: what is there is imported, too."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    return [str(_environment(folder, "ours", *needed)), "-m", "qashier_mock"]


# -- the ones from PyPI and npm ---------------------------------------------------------------------------------------


def _environment(folder: Path, name: str, *packages: str) -> Path:
    """A virtual environment of its own with some packages; its Python."""
    place = folder / f"venv-{name}"
    python = place / "bin" / "python"
    stamp = place / ".installed"
    if not stamp.is_file() or stamp.read_text() != " ".join(packages):
        shutil.rmtree(place, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(place)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
        stamp.write_text(" ".join(packages))
    return python


def _node(folder: Path, name: str, package: str, program: str) -> str:
    """A program of an npm package, installed in a folder of its own."""
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("npm is not on PATH")
    place = folder / f"node-{name}"
    found = place / "node_modules" / ".bin" / program
    if not found.exists():
        place.mkdir(exist_ok=True)
        _run([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), package])
    return str(found)


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout or "").strip().splitlines()[-1:] or ["it said nothing"]
        raise Missing(f"{Path(command[0]).name} failed: {last[0][:160]}") from None
    except subprocess.TimeoutExpired:
        raise Missing(f"{Path(command[0]).name} did not end within ten minutes") from None


def _fastapi(folder: Path, port: int) -> Sequence[str]:
    python = _environment(folder, "fastapi", "fastapi>=0.115", "uvicorn[standard]>=0.40")
    return [str(python), str(SERVERS / "fastapi_app.py"), str(port)]


def _localstripe(folder: Path, port: int) -> Sequence[str]:
    python = _environment(folder, "localstripe", "localstripe", "setuptools<81")
    return [str(python), "-m", "localstripe", "--port", str(port), "--from-scratch"]


def _stripe(url: str) -> Mapping[str, Request]:
    headers = {**AUTH, "Content-Type": "application/x-www-form-urlencoded"}
    create = Request("POST", "/v1/customers", headers, "email=a@shop.example&name=Nasi+lemak")
    customer = json.loads(fetch(url, create))["id"]
    for _ in range(11):
        fetch(url, create)
    return {
        RETRIEVE: Request("GET", f"/v1/customers/{customer}", AUTH),
        CREATE: create,
        LIST: Request("GET", "/v1/customers?limit=10", AUTH),
    }


def _moto(folder: Path, port: int) -> Sequence[str]:
    python = _environment(folder, "moto", "moto[server,s3]>=5")
    return [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]


def _s3(url: str) -> Mapping[str, Request]:
    host = {
        "Host": "s3.amazonaws.com",
        "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request",
    }
    fetch(url, Request("PUT", "/bench", host))
    put = Request("PUT", "/bench/object", {**host, "Content-Type": "application/json"}, ORDER)
    fetch(url, put)
    return {RETRIEVE: Request("GET", "/bench/object", host), CREATE: put}


def _httpserver(folder: Path, port: int) -> Sequence[str]:
    python = _environment(folder, "pytest-httpserver", "pytest-httpserver>=1.1")
    return [str(python), str(SERVERS / "httpserver_static.py"), str(port), str(STATIC_SIZE)]


def _prism(folder: Path, port: int) -> Sequence[str]:
    program = _node(folder, "prism", "@stoplight/prism-cli@5", "prism")
    return [program, "mock", "--host", "127.0.0.1", "--port", str(port), str(ROOT / "openapi" / "qashier.yaml")]


def _examples(url: str) -> Mapping[str, Request]:  # noqa: ARG001
    """The work on something stateless, which answers with an example of the document."""
    return {
        RETRIEVE: Request("GET", "/checkout/sessions/cs_test_000000000000000000000000", AUTH),
        CREATE: Request("POST", "/checkout/sessions", JSON_HEADERS, ORDER),
    }


def _mockoon(folder: Path, port: int) -> Sequence[str]:
    program = _node(folder, "mockoon", "@mockoon/cli@9", "mockoon-cli")
    document = str(ROOT / "openapi" / "qashier.yaml")
    return [program, "start", "--data", document, "--port", str(port), "--disable-log-to-file"]


def _json_server(folder: Path, port: int) -> Sequence[str]:
    program = _node(folder, "json-server", "json-server@0.17", "json-server")
    sessions = [{"id": f"cs{number}", **json.loads(ORDER), "status": "open"} for number in range(12)]
    data = folder / "json-server.json"
    data.write_text(json.dumps({"sessions": sessions}))
    return [program, "--host", "127.0.0.1", "--port", str(port), "--quiet", str(data)]


def _json_server_work(url: str) -> Mapping[str, Request]:  # noqa: ARG001
    return {
        RETRIEVE: Request("GET", "/sessions/cs1"),
        CREATE: Request("POST", "/sessions", {"Content-Type": "application/json"}, ORDER),
        LIST: Request("GET", "/sessions?_limit=10"),
    }


BASELINE: Final = "bare Starlette"
OURS: Final = "qashier-mock"

CONTENDERS: Final = (
    Contender(OURS, _ours, _checkout, ready="/_mock/v1/health"),
    Contender(BASELINE, _script("static.py", "starlette", "{port}", str(STATIC_SIZE)), _static),
    Contender(f"{BASELINE}, page", _script("static.py", "starlette", "{port}", str(LIST_SIZE)), _static_list),
    Contender("raw ASGI", _script("static.py", "raw", "{port}", str(STATIC_SIZE)), _static),
    Contender("raw ASGI, page", _script("static.py", "raw", "{port}", str(LIST_SIZE)), _static_list),
    Contender("FastAPI", _fastapi, _checkout),
    Contender("Connexion, our handlers", _script("plain_connexion.py", "{port}"), _checkout),
    Contender("localstripe", _localstripe, _stripe, ready="/v1/customers"),
    Contender("Prism", _prism, _examples),
    Contender("Mockoon", _mockoon, _examples),
    Contender("json-server", _json_server, _json_server_work, ready="/sessions"),
    Contender("moto server", _moto, _s3, ready="/moto-api/"),
    Contender("pytest-httpserver", _httpserver, _static),
)
