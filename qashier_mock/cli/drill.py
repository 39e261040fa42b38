"""`qashier-mock drill`: is a shop right, whatever language it is written in and whatever happens to its webhooks?"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

from qashier_mock.cli import DONE, FAILED, USAGE, CommandError, refusing, writing
from qashier_mock.cli.control import URL
from qashier_mock.cli.keys import DEFAULT_KEY, KEY_FILE, account_key
from qashier_mock.cli.options import Flag, Option, Repeatable, parse
from qashier_mock.cli.values import duration, format_and_file, http_url
from qashier_mock.client import MockAccount
from qashier_mock.connections import MockError

FORMATS: Final = ("json", "junit")
_LOOK_AGAIN_S: Final = 0.1
"""Seconds between two looks at how often an order was fulfilled."""
_SETTLE_S: Final = 0.3
"""Seconds after which a shop that fulfils twice has done so."""


def _counting(text: str) -> str:
    """A command that counts; a placeholder that is nearly ours would count another order, or none."""
    for name in re.findall(r"\{(\w+)\}", text):
        if name != "session_id" and get_close_matches(name, ["session_id"]):
            raise ValueError(f"{{{name}}} is not replaced by anything; write {{session_id}}")
    return text


def _names() -> Iterable[str]:
    from qashier_mock.drill import DRILLS  # noqa: PLC0415 - for completion alone

    return DRILLS


OPTIONS: Final = (
    Option(name="order", metavar="COMMAND", help="makes the shop create a checkout session on the mock"),
    Option(
        name="fulfilled",
        metavar="COMMAND",
        parse=_counting,
        help="prints how often the order of {session_id} was fulfilled: a whole number, alone on the last line",
    ),
    Option(name="reconcile", metavar="COMMAND", help="makes the shop ask the API for what no webhook told it"),
    Option(name="restart", metavar="COMMAND", help="restarts the shop, and ends when it can answer again"),
    URL,
    Option(
        name="webhook-url",
        metavar="URL",
        parse=http_url,
        help="where the shop receives webhooks, if the account has no endpoint yet; signed with QASHIER_WEBHOOK_SECRET",
    ),
    KEY_FILE,
    Repeatable(
        name="only",
        metavar="NAMES",
        offers=_names,
        help="just these drills, such as 'lost'",
    ),
    Option(
        name="patience",
        metavar="TIME",
        default=10,
        parse=duration,
        help="how long the shop may take to fulfil an order",
    ),
    Option(name="timeout", metavar="TIME", default=60, parse=duration, help="how long one of the commands may take"),
    Repeatable(
        name="report",
        metavar="FORMAT=FILE",
        parse=partial(format_and_file, formats=FORMATS),
        offers=lambda: [f"{form}=" for form in FORMATS],
        help="write a report: json or junit",
    ),
    Flag(name="list", help="name the drills, and hold none"),
)


def run(_name: str, arguments: Sequence[str]) -> int:
    """Hold the drills; 1 if the shop failed one, 2 if nothing was drilled."""
    description = (
        "Drill a shop on a running mock: each order must be fulfilled exactly once, whatever happens to its webhooks. "
        f"The account is that of QASHIER_API_KEY, by default {DEFAULT_KEY}; the shop must use the same key."
    )
    options = parse("drill", description, OPTIONS, arguments)
    from qashier_mock import drill  # noqa: PLC0415 - after --help

    chosen = _chosen(options.only)
    if options.list:
        for each in chosen:
            print(f"{each.name}: {each.summary}")  # noqa: T201 - a command prints
        return DONE
    for name in ("order", "fulfilled"):
        if not getattr(options, name):
            raise CommandError(f"--{name} COMMAND is needed. See qashier-mock drill --help.")
    key = account_key(options.api_key_file)
    outcomes: list[drill.Outcome] = []
    with MockAccount(options.url, key) as account, ExitStack() as afterwards:
        afterwards.enter_context(refusing(MockError, drill.DrillError))
        _let_webhooks_come(account, options.webhook_url, afterwards)
        for outcome in drill.hold(CommandShop.of(options, account), account, chosen):
            outcomes.append(outcome)
            _show(outcome)
    for form, path in options.report:
        _write(form, path, outcomes)
    counts = [sum(each.verdict == word for each in outcomes) for word in ("passed", "failed", "skipped")]
    print("{} passed, {} failed, {} not held".format(*counts))  # noqa: T201
    return {"failed": FAILED, "passed": DONE}.get(drill.verdict(outcomes), USAGE)


def _chosen(only: Sequence[str]) -> list[Any]:
    from qashier_mock.drill import DRILLS  # noqa: PLC0415 - after --help

    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in DRILLS):
            raise CommandError(f"no drill is named {pattern}; there are {', '.join(DRILLS)}")
    return [each for name, each in DRILLS.items() if not only or any(fnmatchcase(name, one) for one in only)]


def _let_webhooks_come(account: MockAccount, url: str | None, afterwards: ExitStack) -> None:
    if url is not None:
        endpoint = account.deliver_webhooks_to(url, secret=os.environ.get("QASHIER_WEBHOOK_SECRET"))
        afterwards.callback(account.stop_delivering_to, endpoint["id"])
    elif not account.webhook_endpoints:
        raise CommandError(
            "the account has no webhook endpoint: give --webhook-url URL here, or serve with --webhook-url URL"
        )


@dataclass(frozen=True, slots=True)
class CommandShop:
    """A `Shop` that is pushed and asked by shell commands.

    Attributes:
        commands: Its commands by name: `order`, `fulfilled`, and perhaps `reconcile`, `restart`.
        patience_s: Seconds that it may take to fulfil an order.
        timeout_s: Seconds that a command may take.
    """

    account: MockAccount
    commands: dict[str, str]
    patience_s: float
    timeout_s: float

    @classmethod
    def of(cls, options: Any, account: MockAccount) -> CommandShop:
        """The shop that the options of the command describe."""
        names = ("order", "fulfilled", "reconcile", "restart")
        commands = {name: getattr(options, name) for name in names if getattr(options, name)}
        return cls(account, commands, options.patience, options.timeout)

    @property
    def abilities(self) -> frozenset[str]:
        return frozenset({"reconcile", "restart"} & self.commands.keys())

    def order(self) -> str:
        """See `Shop`.

        Raises:
            DrillError: The command failed, or did not make the shop create one session in this account.
        """
        before = self._session_ids()
        self._run("order")
        created = [session_id for session_id in self._session_ids() if session_id not in before]
        if len(created) == 1:
            return created[0]
        if created:
            raise self._error(f"--order created {len(created)} checkout sessions; it must create one")
        raise self._error(
            "--order created no checkout session in this account: does the shop use the same mock and the same "
            "QASHIER_API_KEY?"
        )

    def fulfilled(self, session_id: str, wanted: int) -> int:
        """See `Shop`. A count that is right must stay right for a moment.

        Raises:
            DrillError: The command failed, or printed no number.
        """
        deadline = monotonic() + self.patience_s
        while (count := self._count(session_id)) < wanted and monotonic() < deadline:
            sleep(_LOOK_AGAIN_S)
        if count == wanted:
            sleep(min(_SETTLE_S, self.patience_s))
            count = self._count(session_id)
        return count

    def reconcile(self) -> None:
        self._run("reconcile")

    def restart(self) -> None:
        self._run("restart")

    def receive(self, url: str, body: bytes, secret: str | None) -> str:
        import httpx  # noqa: PLC0415 - one drill needs it

        from qashier_mock.core.signing import sign  # noqa: PLC0415

        headers = {"Content-Type": "application/json"}
        if secret is not None:
            headers["x-qashier-sign"] = sign(body, secret)
        try:
            return str(httpx.post(url, content=body, headers=headers, timeout=self.timeout_s).status_code)
        except httpx.HTTPError as error:
            return f"not at all ({error})"

    def _session_ids(self) -> list[str]:
        return [session["id"] for session in self.account.sessions]

    def _count(self, session_id: str) -> int:
        lines = self._run("fulfilled", session_id).strip().splitlines()
        if not lines or not re.fullmatch(r"\s*\d{1,9}\s*", lines[-1]):
            raise self._error(f"--fulfilled must print a whole number on its last line, not {(lines or [''])[-1]!r}")
        return int(lines[-1])

    def _run(self, name: str, session_id: str = "") -> str:
        """Run a command in the shell; what it printed on stdout."""
        command = self.commands[name].replace("{session_id}", shlex.quote(session_id))
        try:
            # A shell, because that is what the user typed the command for.
            ended = subprocess.run(  # noqa: S602
                command,
                shell=True,
                stdout=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                timeout=self.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._error(f"--{name} did not end within {self.timeout_s} s: {command}") from None
        if ended.returncode:
            raise self._error(f"--{name} ended with exit code {ended.returncode}: {command}")
        return ended.stdout.decode("utf-8", "replace")

    @staticmethod
    def _error(message: str) -> Exception:
        from qashier_mock.drill import DrillError  # noqa: PLC0415 - after --help

        return DrillError(message)


def _show(outcome: Any) -> None:
    mark = {"passed": "passed  ", "failed": "FAILED  ", "skipped": "not held"}[outcome.verdict]
    print(f"{mark}  {outcome.drill.name:<14} {outcome.skipped or outcome.drill.summary}", flush=True)  # noqa: T201
    for line in outcome.wrong:
        print(f"          {line}")  # noqa: T201
    if outcome.wrong:
        for number, step in enumerate(outcome.steps, 1):
            print(f"          {number:>2}. {step}")  # noqa: T201


def _write(form: str, path: Path, outcomes: Sequence[Any]) -> None:
    from qashier_mock.drill import report  # noqa: PLC0415 - after --help

    text = json.dumps(report(outcomes), indent=2) + "\n" if form == "json" else _junit(outcomes)
    with writing("the report", path):
        path.write_text(text, "utf-8")


def _junit(outcomes: Sequence[Any]) -> str:
    import xml.etree.ElementTree as ET  # noqa: PLC0415 - it writes, and reads nothing

    counts = {"tests": len(outcomes)}
    counts["failures"] = sum(outcome.verdict == "failed" for outcome in outcomes)
    counts["skipped"] = sum(outcome.verdict == "skipped" for outcome in outcomes)
    suite = ET.Element("testsuite", {"name": "qashier-mock drill", **{name: str(n) for name, n in counts.items()}})
    for outcome in outcomes:
        case = ET.SubElement(suite, "testcase", classname="drill", name=outcome.drill.name)
        if outcome.skipped:
            ET.SubElement(case, "skipped", message=outcome.skipped)
        if outcome.wrong:
            ET.SubElement(case, "failure", message=" ".join(outcome.wrong)).text = "\n".join(outcome.steps)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
