"""Schemathesis against the running mock: all phases, all checks, all links, and not one failure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.engine import Status, events, from_schema

from qashier_mock import MockServer

OPENAPI = Path(__file__).parents[1] / "openapi"
RULES = ["2xx", 401, 404, 409, 413, 422, 429]
"""What a request of the documented form may be answered with: 409 and 422 are for rules that no schema can say."""
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
}
VISITED = {
    "POST /checkout/sessions": {200, 400, 401, 405, 415, 422},
    "GET /checkout/sessions": {200, 400, 401, 422},
    "GET /checkout/sessions/{id}": {200, 401, 404, 405},
    "POST /checkout/sessions/{id}/expire": {200, 400, 401, 404, 405, 409},
}
SOAK, SEEDS = (30, [2]) if os.environ.get("QASHIER_SOAK") == "sample" else (300, [1, 2, 3])


class Run:
    """What was sent and found."""

    def __init__(self, document: str, url: str, api_key: str, *, seed: int, examples: int, rules: list[Any]) -> None:
        """Send it all: a number of requests, not of seconds, so that a busy machine tests as much as an idle one."""
        config = schemathesis.Config.from_dict(
            {
                "base-url": url,
                "seed": seed,
                "continue-on-failure": True,
                "auth": {"basic": {"username": api_key, "password": ""}},
                "generation": {"max-examples": examples, "deterministic": True, "database": "none"},
                "phases": {"stateful": {"max-steps": 6}},
                "checks": {"positive_data_acceptance": {"expected-statuses": rules}},
            }
        )
        self.failures: list[str] = []
        self.checks: set[str] = set()
        self.phases: dict[str, Status] = {}
        self.scenarios: dict[str, int] = {}
        self.visited: dict[str, set[int]] = {}
        for event in from_schema(schemathesis.openapi.from_path(OPENAPI / document, config=config)).execute():
            if isinstance(event, events.NonFatalError | events.FatalError):
                self.failures.append(repr(event))
            elif isinstance(event, events.PhaseFinished):
                self.phases[event.phase.name.value] = event.status
            elif isinstance(event, events.ScenarioFinished):
                self._note(event)

    def _note(self, event: events.ScenarioFinished) -> None:
        self.scenarios[event.phase.value] = self.scenarios.get(event.phase.value, 0) + 1
        for case_id, exchange in event.recorder.interactions.items():
            label = event.recorder.cases[case_id].value.operation.label
            status = None if exchange.response is None else exchange.response.status_code
            if status is None:
                self.failures.append(f"{label}: no answer")
            else:
                self.visited.setdefault(label, set()).add(status)
        for nodes in event.recorder.checks.values():
            for node in nodes:
                self.checks.add(node.name)
                if node.failure_info is not None:
                    self.failures.append(f"{node.failure_info.failure}\n{node.failure_info.code_sample}")

    def judge(self) -> None:
        """Fail with what was found, or if anything was left out."""
        assert not self.failures, "\n\n".join(self.failures[:5])
        assert self.checks >= CHECKS
        assert set(self.phases) >= {"examples", "coverage", "fuzzing", "stateful"}
        assert set(self.phases.values()) == {Status.SUCCESS}
        assert all(self.scenarios[phase] for phase in ("examples", "coverage", "fuzzing", "stateful"))


def explore(server: MockServer, api_key: str, *, seed: int, examples: int) -> None:
    run = Run("qashier.yaml", server.url, api_key, seed=seed, examples=examples, rules=RULES)
    run.judge()
    assert run.visited.keys() == VISITED.keys()
    assert all(run.visited[label] >= statuses for label, statuses in VISITED.items())


def test_no_generated_request_finds_a_fault(server: MockServer, api_key: str) -> None:
    explore(server, api_key, seed=1, examples=10)


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_no_generated_request_finds_a_fault_whatever_the_seed(server: MockServer, api_key: str, seed: int) -> None:
    explore(server, api_key, seed=seed, examples=SOAK)


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_no_generated_request_to_the_control_api_finds_a_fault(server: MockServer, api_key: str, seed: int) -> None:
    """A clock that would go backwards is refused with 400, though the request is of the documented form."""
    Run("control.yaml", server.url, api_key, seed=seed, examples=SOAK // 5, rules=[*RULES, 400]).judge()
