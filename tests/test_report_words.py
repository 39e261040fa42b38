"""What a report says: short, whole where it is to be pasted, and nothing that a target said is obeyed by anybody."""

from __future__ import annotations

import io
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt
from qashier_contract import CLAUSES, CheckError, check
from qashier_contract.drive.plan import selected
from qashier_contract.findings import Equals, Expectation, HasShape, PassesCheck, expect
from qashier_contract.history import Exchange, History, Reply, Request
from qashier_contract.places import EACH, Sum, in_body, status_of
from qashier_contract.report import FORMATS, render
from qashier_contract.report.facts import again, causes, judgement
from qashier_contract.report.markdown import _code, _escaped, _inline
from qashier_contract.report.terminal import MOST_LINES, ProgressLine, annotated, summary
from qashier_contract.verdicts import ClauseReport, Report, Verdict

from qashier_mock.cli import check as command
from qashier_mock.cli.colour import columns, wants_colour
from qashier_mock.cli.judging import JUDGING
from qashier_mock.cli.options import given, parse
from tests.targets import DEFECTS, directed, touching, within

ROOT = Path(__file__).parent.parent
HOSTILE = (
    "::stop-commands::x\n::error::y ##[add-mask]z ##vso[task.x] \x1b[2J \x00\x07\u2028 "
    "`a``<img src=x>` ``<b>`` <i> \ud800"
)


def exchange(number: int, body: bytes = b"{}") -> Exchange:
    return Exchange(
        number=number,
        request=Request(method="POST", path="/checkout/sessions", headers=(), body=b"{}"),
        reply=Reply(status=200, headers=(("content-type", "application/json"),), body=body),
        sent_ns=number * 10**6,
        received_ns=number * 10**6 + 1,
    )


def broken(identifier: str, *exchanges: Exchange, text: str = "", reason: str | None = None) -> ClauseReport:
    text = text or re.sub(r"\d", lambda digit: "abcdefghij"[int(digit[0])], identifier)
    check = PassesCheck(status_of((exchanges or (exchange(1),))[-1]), text, f"seen {text}")
    violation = replace(expect(check, "", *exchanges), clause=identifier)
    verdict = Verdict.FAILED if reason is None else Verdict.WARNED
    return ClauseReport(CLAUSES[identifier], verdict, 1, (violation,), reason)


def report_of(*entries: ClauseReport, **more: Any) -> Report:
    history = History(exchanges=tuple(e for entry in entries for v in entry.violations for e in v.exchanges))
    return Report(target="http://h/v3", seed=7, clauses=entries, history=history, **more)


def test_thirty_broken_clauses_fit_on_a_screen_and_all_are_named() -> None:
    report = report_of(*(broken(name, exchange(n)) for n, name in enumerate(list(CLAUSES)[:30], 1)))
    text = summary(report, width=80)
    lines = text.splitlines()
    assert len(lines) <= MOST_LINES
    assert all(len(line) <= 80 for line in lines if not line.startswith("again:"))
    assert "add --report html=report.html for curl and pytest" in lines
    table = text[text.index("in the table below") :]
    assert all(name in table for name in list(CLAUSES)[:17])


SEVEN = (
    *("default 23 h", "405 without allow", "no challenge", "mixed currencies accepted"),
    *("signature hex", "replay creates in silence", "retrieve stale after expire"),
)


def test_seven_defects_at_once_fit_on_a_screen_and_into_a_summary_of_github() -> None:
    report = check("http://127.0.0.1", transport=within(*SEVEN), seed=1, drivers=touching, replay=False, max_time_s=600)
    lines = summary(report, width=80).splitlines()
    assert len(lines) <= MOST_LINES
    table = [line for line in lines if re.match(r"[✗!] \S+ +(documented|public|implied|assumed) ", line)]
    found = causes(report)
    assert [line.split()[1] for line in table] == [cause.entry.clause.id for cause in found][: len(table)]
    assert {DEFECTS[name] for name in SEVEN} <= {e.clause.id for one in found for e in (one.entry, *one.follow)}
    assert len(render(report, "markdown").encode()) < 65_000


def test_what_follows_from_another_clause_stands_below_it() -> None:
    first, second = exchange(1), exchange(2)
    report = report_of(broken("CRE-6", first), broken("LIS-9", first, second), broken("RET-1", exchange(3)))
    assert [(cause.entry.clause.id, [e.clause.id for e in cause.follow]) for cause in causes(report)] == [
        ("CRE-6", ["LIS-9"]),
        ("RET-1", []),
    ]
    assert "probably because of it: LIS-9" in summary(report)


def found(identifier: str, expectation: Expectation) -> ClauseReport:
    return ClauseReport(CLAUSES[identifier], Verdict.FAILED, 1, (replace(expect(expectation), clause=identifier),))


def test_what_is_about_the_failing_place_of_another_clause_follows_from_it() -> None:
    body = {"amount_total": 150, "line_items": {"data": [{"amount_total": 100.0}]}}
    create = exchange(1, json.dumps(body).encode())
    line, lines = (in_body(create, "line_items", "data", place, "amount_total") for place in (0, EACH))
    report = report_of(
        found("AMT-1", Equals(in_body(create, "amount_total"), Sum((lines,)))),
        found("AMT-2", Equals(line, 100)),
        found("AMT-7", HasShape(line, "integer")),
    )
    assert [(cause.entry.clause.id, [e.clause.id for e in cause.follow]) for cause in causes(report)] == [
        ("AMT-2", ["AMT-1", "AMT-7"])
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_the_help_and_the_documentation_name_every_form(form: str) -> None:
    (option,) = (option for option in JUDGING if option.name == "report")
    assert re.search(rf"\b{form}\b", option.help)
    assert f"`{form}`" in (ROOT / "docs" / "checking.md").read_text("utf-8")


@pytest.mark.parametrize("form", FORMATS)
def test_binary_answers_and_half_characters_are_safe_in_every_report(form: str) -> None:
    report = report_of(
        broken("CRE-6", exchange(1, bytes(range(256)) + HOSTILE.encode("utf-8", "replace")), text=HOSTILE)
    )
    text = render(replace(report, notes=(HOSTILE,)), form)
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", text)
    if form in {"json", "har", "sarif"}:
        json.loads(text)
    if form == "junit":
        ET.fromstring(text.encode("utf-8", "backslashreplace"))  # noqa: S314 - of our own making


def test_a_very_large_body_is_counted_in_har_and_not_written_out() -> None:
    report = report_of(broken("CRE-6", exchange(1, b"x" * (1 << 20)), exchange(2, b"y" * ((1 << 20) + 1))))
    whole, large = (entry["response"]["content"] for entry in json.loads(render(report, "har"))["log"]["entries"])
    assert whole["text"] == "x" * (1 << 20)
    assert "text" not in large
    assert large["size"] == (1 << 20) + 1
    assert large["comment"] == "1048577 bytes, left out"


def test_no_line_of_a_terminal_is_a_command_of_a_runner() -> None:
    report = report_of(broken("CRE-6", exchange(1), text=HOSTILE), notes=(HOSTILE, "::error::x"))
    text = summary(report, width=40)
    stream = io.StringIO()
    ProgressLine(stream, is_shown=False).tell(report.clauses[0])
    for line in [*text.splitlines(), *stream.getvalue().splitlines()]:
        assert not line.lstrip().startswith("::")
        assert not re.search(r"##\w*\[|\x1b", line)


def test_github_shows_an_annotation_for_each_cause() -> None:
    report = report_of(broken("CRE-6", exchange(1), text=HOSTILE), broken("RET-1", exchange(2), reason="known until x"))
    first, second = annotated(report)
    assert first.startswith("::error title=CRE-6::expected status: passes ::stop")
    assert second.startswith("::warning title=RET-1::")
    assert "\n" not in first
    assert summary(report, annotates=True).splitlines()[-2:] == [first, second]


def test_nothing_escapes_from_markdown() -> None:
    for text in (_escaped(HOSTILE), _code(HOSTILE), _inline(HOSTILE)):
        page = MarkdownIt("commonmark", {"html": True}).render(f"- {text}\n\n> {text}")
        assert not re.search(r"<(img|b|i)[ >]", page), text
    assert MarkdownIt().render(_inline("a `b` c")) == "<p>a <code>b</code> c</p>\n"


def test_the_markdown_of_many_violations_can_be_shown_by_github() -> None:
    long = exchange(1, json.dumps({"x": "y" * 900}).encode())
    entries = [broken(name, *[replace(long, number=n) for n in range(3)]) for name in CLAUSES]
    text = render(report_of(*entries), "markdown")
    assert len(text.encode()) < 65_000
    assert all(entry.clause.id in text for entry in entries)


# ── again ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_again_is_one_line_that_gives_the_command_the_same_options() -> None:
    typed = [
        *(
            "http://h/v3",
            "--max-time",
            "90s",
            "--rate-limit",
            "300/m",
            "--only",
            "LIS-*",
            "--skip",
            "EVT-*",
            "--strict",
        ),
        *("--control", "http://h", "--webhook-listen", "127.0.0.1:9", "--webhook-public-url", "http://me/x?a=1&b"),
        *("--currency", "SGD", "--currency", "MYR", "--policy", "my policy.toml", "--max-sessions", "9", "--fail-fast"),
        *("--baseline", "known's.toml", "--report", "json=x.json", "--seed", "3", "--no-allow-live"),
    ]
    positionals = (command.TARGET,)
    options = parse("check", "", command.OPTIONS, typed, positionals=positionals)
    words = given(command.OPTIONS, options, without=("seed", "report"))
    words = ("qashier-mock", "check", "http://h/v3", "--seed", "7", *words)
    report = replace(report_of(broken("CRE-6", exchange(1))), command=words)
    text = summary(report, width=40)
    (line,) = [line for line in text.splitlines() if line.startswith("again: ")]
    program, name, *arguments = shlex.split(line.removeprefix("again: "))
    assert (program, name) == ("qashier-mock", "check")
    repeated = parse("check", "", command.OPTIONS, arguments, positionals=positionals)
    assert vars(repeated) == {**vars(options), "report": (), "seed": 7}
    assert shlex.split(again(report, "CRE-6"))[-2:] == ["--only", "CRE-6"]
    assert "LIS-*" not in again(report, "CRE-6")


# ── which clauses ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_patterns_of_clauses_hold_in_any_case() -> None:
    assert selected(CLAUSES, ["cre-1", "CRE-2"]) == ["CRE-1", "CRE-2"]
    assert selected(CLAUSES, ["Cre-*"], ["cre-1?"]) == [f"CRE-{n}" for n in range(1, 10)]


@pytest.mark.parametrize(("only", "skip"), [(["CRE-1", "CRE-99"], []), ([], ["cre99"])])
def test_a_pattern_that_matches_nothing_is_an_error_that_names_the_nearest(only: list[str], skip: list[str]) -> None:
    with pytest.raises(CheckError, match=r"(--only CRE-99|--skip cre99) matches no clause; did you mean CRE-\d+\?"):
        selected(CLAUSES, only, skip)


# ── words and colours ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_that_only_warns_passed() -> None:
    warned, known = broken("CRE-6", reason=""), broken("RET-1", reason="known until 2027-01-01")
    assert judgement(report_of(warned)) == "Passed with 1 warning. --strict turns warnings into failures."
    assert judgement(report_of(known)) == "Passed with 1 known violation that the baseline accepts for now."
    assert judgement(report_of(warned, known)).startswith("Passed with 1 known violation that the baseline accepts")


@pytest.mark.parametrize("form", ["terminal", "html", "markdown"])
def test_clauses_that_were_not_wanted_are_counted_not_listed(form: str) -> None:
    report = check("http://127.0.0.1", transport=within(), seed=1, only=["RET-1"], drivers=lambda d: d.name == "events")
    text = summary(report, width=80) if form == "terminal" else render(report, form)
    (told,) = [line for line in text.splitlines() if f"{len(CLAUSES) - 1} clauses" in line][:1]
    assert "skipped" in told
    assert len(re.findall(r"[A-Z]{2,4}-[0-9]+", told)) < 5
    assert form != "terminal" or len(text.splitlines()) < 12


@pytest.mark.parametrize(("terminal", "width"), [("57", 57), ("", 120)])
def test_lines_are_as_wide_as_the_terminal_and_120_columns_elsewhere(
    terminal: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", terminal)
    monkeypatch.setattr("sys.__stdout__", io.StringIO())  # whoever runs the tests may have a terminal
    assert columns() == width
    text = summary(report_of(broken("CRE-6", exchange(1), text="so " * 60)), width=columns())
    assert width - 8 < max(len(line) for line in text.splitlines()) <= width


def test_an_interrupted_run_shows_no_tick() -> None:
    report = check("http://127.0.0.1", transport=within(), seed=1, only=["RET-1"], drivers=directed)
    assert summary(report).count("✓ This target keeps") == 1
    assert "✓" not in summary(replace(report, interrupted=True))


@pytest.mark.parametrize(
    ("environ", "is_terminal", "is_coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colours_go_where_they_are_wanted(environ: dict[str, str], is_terminal: bool, is_coloured: bool) -> None:  # noqa: FBT001
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return is_terminal

    assert wants_colour(Stream(), environ) is is_coloured
