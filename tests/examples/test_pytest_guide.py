"""Every example of docs/pytest.md is run, and everything that the plugin offers is in it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

# Imported here, since a run inside this process forgets what it has imported, and some of it can be imported just once.
import anyio.to_thread  # noqa: F401
import httpcore  # noqa: F401
import httpx  # noqa: F401
import pytest
import pytest_asyncio.plugin  # noqa: F401
import requests  # noqa: F401

import qashier_mock.server  # noqa: F401
from qashier_mock import pytest_plugin
from qashier_mock.client import FaultRule
from qashier_mock.receiver import ReceivedWebhook, WebhookReceiver
from qashier_mock.testing import QashierMock, QashierMockConfig, QashierMockServer, WebhookDisorder

pytest_plugins = ["pytester"]

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "pytest.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", GUIDE, re.DOTALL))


def test_every_python_example_is_a_file_of_its_own() -> None:
    assert len(EXAMPLES) == GUIDE.count("```python")


@pytest.mark.parametrize("folder", sorted({str(Path(name).parent) for name in EXAMPLES}))
def test_the_examples_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(
        """
        [pytest]
        addopts = --strict-markers --strict-config
        filterwarnings = error
        asyncio_default_fixture_loop_scope = function
        """
    )
    tests = 0
    for name, text in EXAMPLES.items():
        if str(Path(name).parent) == folder:
            pytester.path.joinpath(Path(name).name).write_text(text, "utf-8")
            tests += len(re.findall(r"^ *(?:async )?def test_", text, re.MULTILINE))
    plugins = ("qashier_mock.pytest_plugin", "pytest_asyncio.plugin")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *(f"-p{plugin}" for plugin in plugins))
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert outcomes["passed"] >= tests


KINDS = [QashierMock, QashierMockServer, FaultRule, WebhookReceiver, ReceivedWebhook, WebhookDisorder]


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_and_property_is_used_in_an_example(kind: type) -> None:
    names = {name for name in dir(kind) if not name.startswith("_")}
    internal = {"include", "keep_report"}  # for the fixtures' own use
    code = re.sub(r"#.*", "", "\n".join(EXAMPLES.values()))
    used = {name for name in names if re.search(rf"\.{name}\b", code)}
    assert names - used - internal == set()


def test_every_fixture_option_and_ini_key_is_in_the_guide() -> None:
    options: list[str] = []

    class Parser:
        """Collects the names of what is added."""

        def getgroup(self, *_: str) -> Parser:
            return self

        def addoption(self, name: str, **_: object) -> None:
            options.append(name)

        def addini(self, name: str, *_: object, **__: object) -> None:
            options.append(name)

    pytest_plugin.pytest_addoption(Parser())  # type: ignore[arg-type]
    fixtures = [name for name in dir(pytest_plugin) if name.startswith("qashier_")]
    settings = [field.name for field in fields(QashierMockConfig)]
    assert len(fixtures) == 4
    for name in (*options, *fixtures, *settings, *pytest_plugin._DISORDERS, *pytest_plugin._MARKER_OPTIONS):
        assert f"`{name}" in GUIDE or f"{name}=" in GUIDE, name
