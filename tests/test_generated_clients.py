"""Clients that generators make of the document drive the flow as they are: create, retrieve, list, expire.

The generators come from `make test`; nothing is fetched here.
docs/generated-clients.md tells of these and of more.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from qashier_mock import MockServer

JSON = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parent.parent
DOCUMENT: Final = ROOT / "openapi" / "qashier.yaml"
PROGRAMS: Final = ROOT / "tests" / "clients"
NODE_MODULES: Final = ROOT / "node_modules"
GUZZLE: Final = os.environ.get("QASHIER_TEST_GUZZLE", "/usr/share/php/GuzzleHttp/autoload.php")
VERSIONS: Final = ("3.0", "3.1")
"""Each client takes one of them in every test run, and the other one in `make soak`."""


@pytest.fixture(scope="module")
def mock() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


JAVA: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""A program that runs for seconds is not worth what compiling it well would cost."""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def node() -> str:
    """The node of the machine, or the one that the set-up has put beside this Python."""
    found = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert found is not None, "there is no node program: run `make node`"
    return found


@pytest.fixture(scope="module")
def python_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program and the package that openapi-python-client generates."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "generator.yaml").write_text("post_hooks: []\n")
    options = ["--meta", "none", "--output-path", "qashier_client", "--config", "generator.yaml", "--fail-on-warning"]
    run(sys.executable, "-m", "openapi_python_client", "generate", "--path", DOCUMENT, *options, cwd=folder)
    shutil.copy(PROGRAMS / "flow.py", folder)
    return folder


@pytest.fixture(scope="module")
def typescript_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program, compiled strictly against the types that openapi-typescript generates."""
    assert NODE_MODULES.is_dir(), "the generators are not installed: run `make node`"
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "node_modules").symlink_to(NODE_MODULES)
    (folder / "package.json").write_text('{"type": "module"}')
    shutil.copy(PROGRAMS / "flow.ts", folder)
    run(node(), NODE_MODULES / "openapi-typescript" / "bin" / "cli.js", DOCUMENT, "-o", "qashier.d.ts", cwd=folder)
    strictly = [
        "--strict",
        "--module",
        "nodenext",
        "--target",
        "es2022",
        "--types",
        "node",
        "--skipLibCheck",
        "--noEmitOnError",
    ]
    run(node(), NODE_MODULES / "typescript" / "bin" / "tsc", *strictly, "flow.ts", cwd=folder)
    return folder


def generator_jar() -> Path:
    """The jar of openapi-generator, which also holds what its Java clients need."""
    spec = importlib.util.find_spec("openapi_generator_cli")
    assert spec is not None
    assert spec.origin is not None, "openapi-generator is not installed: run `make develop`"
    return Path(spec.origin).with_name("openapi-generator.jar")


@pytest.fixture(scope="module")
def openapi_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each language and version of OpenAPI, with the client that openapi-generator writes."""
    assert shutil.which("javac"), "there is no Java compiler: `make test` installs one"
    folder = tmp_path_factory.mktemp("openapi-generator")
    options: dict[str, JSON] = {
        "java": {"library": "native", "openApiNullable": False, "annotationLibrary": "none"},
        "php": {},
    }
    for version in VERSIONS:
        document = run(sys.executable, "-m", "qashier_mock", "spec", "--openapi", version, cwd=ROOT)
        (folder / f"{version}.yaml").write_text(document)
        for language, additional in options.items():
            configuration = {
                "generatorName": language,
                "inputSpec": str(folder / f"{version}.yaml"),
                "outputDir": str(folder / f"{language}-{version}" / "client"),
                "additionalProperties": additional,
                "globalProperties": {
                    "apiTests": "false",
                    "modelTests": "false",
                    "apiDocs": "false",
                    "modelDocs": "false",
                },
            }
            (folder / f"{language}-{version}.json").write_text(json.dumps(configuration))
    batch: list[str | Path] = [
        "java",
        *JAVA,
        "-jar",
        generator_jar(),
        "batch",
        "--fail-fast",
        *sorted(folder.glob("*.json")),
    ]
    run(*batch, cwd=folder)
    return folder


def assert_is_the_flow(transcript: JSON) -> None:
    created, expired = transcript["created"], transcript["expired"]
    assert created["status"] == "open"
    assert created["amount_total"] == 360
    assert created["success_url"] == "https://shop.example/thanks?order=7"
    assert transcript["retrieved"] == created
    assert transcript["listed"] == [created["id"]]
    assert expired == {**created, "status": "expired"}
    assert transcript["expired again"] == "session_not_open"
    assert transcript["unknown"] == "session_not_found"
    assert transcript["created later"] == []


def test_the_python_client_drives_the_flow(python_client: Path, mock: MockServer) -> None:
    printed = run(sys.executable, "flow.py", mock.url, "sk_test_generated_python", cwd=python_client)
    assert_is_the_flow(json.loads(printed))


def test_the_python_client_drives_the_flow_under_the_production_prefix(python_client: Path, mock: MockServer) -> None:
    address = f"{mock.url}/v3/payment/qpay"
    printed = run(sys.executable, "flow.py", address, "sk_test_generated_prefix", cwd=python_client)
    assert_is_the_flow(json.loads(printed))


def test_the_typescript_client_drives_the_flow(typescript_client: Path, mock: MockServer) -> None:
    printed = run(node(), "flow.js", mock.url, "sk_test_generated_typescript", cwd=typescript_client)
    assert_is_the_flow(json.loads(printed))


@pytest.mark.parametrize("version", ["3.0", pytest.param("3.1", marks=pytest.mark.soak)])
def test_the_java_client_drives_the_flow(openapi_generator: Path, mock: MockServer, version: str) -> None:
    folder = openapi_generator / f"java-{version}"
    sources = [
        *(folder / "client" / "src" / "main").rglob("*.java"),
        PROGRAMS / "Flow.java",
        PROGRAMS / "Generated.java",
    ]
    run(
        "javac",
        *(f"-J{option}" for option in JAVA),
        "-proc:none",
        "-nowarn",
        "-cp",
        generator_jar(),
        "-d",
        "classes",
        *sources,
        cwd=folder,
    )
    path = os.pathsep.join([str(generator_jar()), "classes"])
    printed = run("java", *JAVA, "-cp", path, "Flow", mock.url, f"sk_test_generated_java_{version[-1]}", cwd=folder)
    assert_is_the_flow(json.loads(printed))


@pytest.mark.parametrize("version", [pytest.param("3.0", marks=pytest.mark.soak), "3.1"])
def test_the_php_client_drives_the_flow(openapi_generator: Path, mock: MockServer, version: str) -> None:
    assert shutil.which("php"), "there is no PHP: `make test` installs it"
    assert Path(GUZZLE).is_file(), "there is no Guzzle: `make test` installs it"
    folder = openapi_generator / f"php-{version}"
    shutil.copy(PROGRAMS / "flow.php", folder)
    printed = run("php", "flow.php", mock.url, f"sk_test_generated_php_{version[-1]}", GUZZLE, cwd=folder)
    assert_is_the_flow(json.loads(printed))
