"""Runs of tests within a test."""

from __future__ import annotations

import re
from collections.abc import Callable

# Imported here, since a run inside this process forgets what it has imported, and some of it can be imported just once.
import anyio.to_thread  # noqa: F401
import httpcore  # noqa: F401
import httpx  # noqa: F401
import pytest
import pytest_asyncio.plugin  # noqa: F401

import qashier_mock.server  # noqa: F401

Run = Callable[..., pytest.RunResult]

INI = """
[pytest]
filterwarnings = error
asyncio_default_fixture_loop_scope = function
"""


def run_alone(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the tests that were written; they start a mock of their own."""
    plugins = ("qashier_mock.pytest_plugin", "pytest_asyncio.plugin", "anyio.pytest_plugin")
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *(f"-p{plugin}" for plugin in plugins), *arguments)


def said(result: pytest.RunResult, name: str) -> list[str]:
    """What the tests printed as `name=value`."""
    return re.findall(rf"\b{name}=(\S+)", result.stdout.str())
