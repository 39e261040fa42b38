"""A story as lines for a shell with curl: what to type to see it, ids carried over in variables."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from qashier_contract.history import CONTROL_PATH, Credentials, Exchange, Operation
from qashier_contract.report.reproduce.naming import Naming, is_other
from qashier_contract.report.reproduce.story import SOON_S
from qashier_contract.trace.literals import Code, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qashier_contract.ledger import ObservedSession
    from qashier_contract.report.reproduce.story import Step, Story
    from qashier_contract.values import Json

_LONG: Final = 4_000
"""A body longer than this is made by a program, not typed."""
_FIELD: Final = (
    r"""field() { grep -o "\"$1\": *[^,}]*" | head -n 1 | sed 's/^[^:]*: *//; s/"//g'; }"""
    "  # one field of a JSON object"
)


class ShellNaming(Naming):
    """The names of a story as shell variables. `Code` is what stands outside of quotes."""

    def id(self, session_id: str) -> str:
        name = super().id(session_id)
        if name.startswith("batch"):
            return "${" + name + "}"
        return "$" + name if re.fullmatch(r"id\d+", name) else session_id

    def text(self, text: str) -> str:
        plain = super().text(text)
        if not isinstance(plain, Code):
            return plain
        assert self.nonce is not None
        return Code(text.replace(self.nonce, "${run}").replace(self.nonce.upper(), "${run^^}"))

    def epoch(self, value: int, account: int) -> Json:
        for observed in self.story.sessions:
            if (
                observed.account == account
                and observed.created == value
                and re.fullmatch(r"\$id\d+", self.id(observed.id))
            ):
                return Code(f"$created{self.id(observed.id)[3:]}")
        moment = super().epoch(value, account)
        return Code(f"$(({moment}))") if isinstance(moment, Code) else moment

    def as_text(self, moment: Json) -> Json:
        return Code(f"text:{moment}") if isinstance(moment, Code) else str(moment)

    def hook_url(self, url: str) -> Json:
        del url
        return Code("$WEBHOOK_URL")

    def near(self, text: str) -> str:
        """An id, or what was made from one."""
        found = self.story.nearly(text)
        if found is None or not self.known_id(found[0]):
            return text
        name = self.id(found[0])
        bare = name.strip("${}")
        if found[1] == "{}":
            return name
        if "[:-1]" in found[1]:
            return "${" + bare + "%?}"
        if "swapcase" in found[1]:
            return "${" + bare + "~~}"
        return "${" + bare + "}" + text[-1]

    def _near(self, text: str) -> Json:
        return Code(self.near(text))

    def known_id(self, session_id: str) -> bool:
        return super().known_id(session_id)


class Shell:
    """The lines for one story.

    Args:
        story: The story.
        title: The statement of the clause.
        target: The URL on which the violation was seen.
        is_local: Whether that is this machine: then a key can be made up.
    """

    def __init__(self, story: Story, *, title: str, target: str, is_local: bool) -> None:
        self.story = story
        self.naming = ShellNaming(story)
        self.title = title
        self.target = target
        self.is_local = is_local

    def lines(self) -> tuple[str, ...]:
        """The lines, ready for bash."""
        violation = self.story.violation
        body = [line for group in self.story.groups for line in self._group(group)]
        text = "\n".join(body)
        before, after = self._clocks(text)
        if "${run" in text:
            before.insert(0, "run=$(date +%s%N | tail -c 11)")
        if "| field " in "\n".join([*before, text]):
            before.insert(0, _FIELD)
        return (
            f"# {self.story.clause}: {_one_line(self.title)}",
            *self._settings("\n".join([*before, text, *after])),
            *before,
            *body,
            *after,
            f"# expected: {_one_line(violation.expected)}",
            f"# seen: {_one_line(violation.seen)}",
        )

    def _settings(self, text: str) -> list[str]:
        lines = [f"QASHIER_URL=${{QASHIER_URL:-{self.target}}}"]
        root = "{0.scheme}://{0.netloc}".format(urlsplit(self.target))
        if "$QASHIER_CONTROL_URL" in text:
            lines.append(f"QASHIER_CONTROL_URL=${{QASHIER_CONTROL_URL:-{root}}}")
        second = re.search(r"\$\{?QASHIER_API_KEY_2\b", text)
        if second or re.search(r"\$\{?QASHIER_API_KEY\b", text):
            fresh = f"sk_test_again${{RANDOM}}${{RANDOM}}{'0' * 16}a"
            lines.append(
                f"QASHIER_API_KEY=${{QASHIER_API_KEY:-{fresh}}}" if self.is_local else ": ${QASHIER_API_KEY:?}"
            )
        if second:
            lines.append("QASHIER_API_KEY_2=${QASHIER_API_KEY_2:-${QASHIER_API_KEY%a}A}")
        if "$WEBHOOK_URL" in text:
            lines.append(": ${WEBHOOK_URL:?where a receiver of yours listens}")
        return lines

    def _clocks(self, text: str) -> tuple[list[str], list[str]]:
        before, after = [], []
        for account in self.story.accounts:
            now = "other_now" if is_other(account) else "now"
            named = re.search(rf"\(\({now}\b", text)
            moved = f"{self._base(account, control=True)}/clock/advance" in text and self._who(account) in text
            if self.naming.can_stop_clock and (named or moved):
                url = f'"{self._base(account, control=True)}/clock"'
                put = f"curl -sS -X PUT {self._who(account)} {url} -H 'Content-Type: application/json'"
                before.append(f"{now}=$({put} -d '{{\"frozen\": true}}' | field now)")
                after.append(f"{put} -d '{{\"frozen\": false}}'")
            elif named:
                sessions = [observed for observed in self.story.ledger.sessions.values() if observed.account == account]
                before.append(f"{now}=$({self._create_line(sessions[0])} | field created)")
        return before, after

    def _create_line(self, observed: ObservedSession) -> str:
        return self._curl(observed.born, quiet=True)

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _group(self, group: Sequence[Step]) -> list[str]:
        if len(group) == 1:
            return self._single(group[0])
        calls = [f"{self._curl(step.exchange, quiet=False)} &" for step in group]
        lines = [*calls, "wait"]
        if any(self._names_later(step.exchange) for step in group):
            lines.append("# carry over the ids by hand from the answers above")
        return lines

    def _names_later(self, exchange: Exchange) -> bool:
        return exchange.operation is Operation.CREATE and exchange.succeeded and self._is_named(exchange)

    def _is_named(self, exchange: Exchange) -> bool:
        observed = self.story.session_of(exchange)
        if observed is None:
            return False
        for step in self.story.steps:
            if step.exchange is not exchange and observed in tuple(self.story.named(step.exchange)):
                return True
        return False

    def _is_timed(self, exchange: Exchange) -> bool:
        observed = self.story.session_of(exchange)
        if observed is None:
            return False
        return any(
            str(observed.created) in step.exchange.request.query or observed.created == self._expiry(step.exchange)
            for step in self.story.steps
        )

    @staticmethod
    def _expiry(exchange: Exchange) -> Json:
        body = exchange.request.json
        return body.get("expires_at") if isinstance(body, dict) else None

    def _single(self, step: Step) -> list[str]:
        exchange = step.exchange
        if step.moved_s is not None:
            account = exchange.account or 0
            url = f'"{self._base(account, control=True)}/clock/advance"'
            data = shlex.quote(json.dumps({"seconds": step.moved_s}))
            return [f"curl -sS {self._who(account)} {url} -H 'Content-Type: application/json' -d {data}"]
        if step.batch:
            name = self.naming.batch(exchange)
            call = self._curl(exchange, quiet=True)
            count = len(step.batch)
            return [f'{name}=(); for _ in $(seq {count}); do {name}+=("$({call} | field id)"); done']
        if exchange.operation is Operation.CREATE and exchange.succeeded:
            number = self.naming.reply(exchange)[1:]
            named, timed = self._is_named(exchange), self._is_timed(exchange)
            if named or timed:
                lines = [f'r{number}=$({self._curl(exchange, quiet=True)}); echo "$r{number}"']
                if named:
                    lines.append(f'id{number}=$(echo "$r{number}" | field id)')
                if timed:
                    lines.append(f'created{number}=$(echo "$r{number}" | field created)')
                return lines
        line = self._curl(exchange, quiet=False)
        return [f"sleep {SOON_S}", line] if self.story.may_lag(exchange) else [line]

    # ── one request ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _curl(self, exchange: Exchange, *, quiet: bool) -> str:
        request = exchange.request
        words = ["curl", "-sS" if quiet else "-sS -i"]
        body = self._body(exchange)
        default = "POST" if body else "GET"
        if request.method != default:
            words.append(f"-X {request.method}")
        piped = ""
        if exchange.page_of is None:
            url = self._url(exchange)
            words += [*self._credentials(exchange), *self._headers(exchange)]
        else:
            url = self._page_url(exchange)
        if body:
            piped, argument = body
            words.append(argument)
        words.append(url)
        return piped + " ".join(word for word in words if word)

    def _base(self, account: int, *, control: bool) -> str:
        del account
        return f"$QASHIER_CONTROL_URL{CONTROL_PATH}" if control else "$QASHIER_URL"

    def _url(self, exchange: Exchange) -> str:
        request = exchange.request
        control = request.path.startswith(CONTROL_PATH)
        path = request.path.removeprefix(CONTROL_PATH)
        session_id = request.session_id
        escaped = _in_quotes(path)
        if session_id is not None and session_id in path:
            escaped = _in_quotes(path.partition(session_id)[0]) + self.naming.near(session_id)
            escaped += _in_quotes(path.partition(session_id)[2])
        else:
            for observed in self.story.sessions:
                escaped = escaped.replace(observed.id, self.naming.id(observed.id))
        query = self._query(exchange)
        url = f'"{self._base(exchange.account or 0, control=control)}{escaped}{query}"'
        odd = re.search(r"[\[\]{}]|%|//|\.\.", path + request.query)
        return f"-g --path-as-is {url}" if odd else url

    def _query(self, exchange: Exchange) -> str:
        query = exchange.request.query
        if not query:
            return ""
        parameters = self.naming.parameters(exchange)
        if parameters is None:
            return "?" + _in_quotes(query)
        raw = dict(pair.partition("=")[::2] for pair in query.split("&"))
        values = dict(zip(raw, raw.values(), strict=True))
        names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
        pairs = []
        for (written, value), name in zip(values.items(), names, strict=True):
            carried = parameters[name]
            pairs.append(f"{_in_quotes(written)}={carried if isinstance(carried, Code) else _in_quotes(value)}")
        return "?" + "&".join(pairs)

    def _page_url(self, exchange: Exchange) -> str:
        observed = self.story.session_of(exchange)
        url = exchange.request.path
        if observed is not None:
            url = _in_quotes(url).replace(observed.id, self.naming.id(observed.id))
        return f'"{url}"'

    def _who(self, account: int) -> str:
        key = "QASHIER_API_KEY_2" if is_other(account) else "QASHIER_API_KEY"
        if self.naming.scheme(account) is Credentials.BEARER:
            return f'-H "Authorization: Bearer ${key}"'
        return f'-u "${key}:"'

    def _credentials(self, exchange: Exchange) -> list[str]:
        key = "$QASHIER_API_KEY_2" if is_other(exchange.account) else "$QASHIER_API_KEY"
        if exchange.credentials is Credentials.BROKEN:
            shown = exchange.request.header("Authorization") or ""
            return [BROKEN.get(shown) or f"-H {shlex.quote(f'Authorization: {shown}')}"]
        if exchange.credentials is Credentials.BEARER:
            return [f'-H "Authorization: Bearer {key}"']
        return [f'-u "{key}:"'] if exchange.credentials is Credentials.BASIC else []

    def _headers(self, exchange: Exchange) -> list[str]:
        words = []
        for name, value in exchange.request.headers:
            if name.lower() == "authorization":
                continue
            carried = self.naming.text(value)
            if isinstance(carried, Code):
                words.append(f'-H "{name}: {carried}"')
            elif len(value) > _LONG // 8:
                words.append(f"-H \"{name}: $(python3 -c 'print({literal(value)})')\"")
            else:
                words.append(f"-H {shlex.quote(f'{name}: {value}')}")
        if exchange.request.body is not None and exchange.request.header("Content-Type") is None:
            words.append("-H 'Content-Type:'")
        return words

    def _body(self, exchange: Exchange) -> tuple[str, str] | None:
        """What is piped into curl, and the argument that sends the body; None if there is none."""
        raw = exchange.request.body
        if exchange.page_of is not None:
            return ("", f"-d {shlex.quote(raw.decode('utf-8', 'replace'))}") if raw else None
        body = self.naming.body(exchange)
        if body is None:
            return None
        kind, value = body
        text = None
        if kind != "raw":
            text = _json_words(value)
        elif raw is not None and raw.isascii() and raw.decode().isprintable():
            text = shlex.quote(raw.decode())
        if text is not None and len(text) <= _LONG:
            return "", f"--data-binary {text}"
        program = f"import sys; sys.stdout.buffer.write({literal(raw)})"
        return f"python3 -c {shlex.quote(program)} | ", "--data-binary @-"


BROKEN: Final = {
    "Basic <the key, with a password>": '-u "$QASHIER_API_KEY:hunter2"',
    "Basic <the key, with itself as password>": '-u "$QASHIER_API_KEY:$QASHIER_API_KEY"',
    "Basic <the key, with a blank as password>": '-u "$QASHIER_API_KEY: "',
    "Bearer <the key, and another word>": '-H "Authorization: Bearer $QASHIER_API_KEY x"',
    "Basic <no user name>": '-u ":"',
    "Basic <the key as password>": '-u ":$QASHIER_API_KEY"',
    "Basic <no key>": '-u "no-such-key:"',
    "Bearer <no key>": '-H "Authorization: Bearer no-such-key"',
    "Basic <a word like a key>": '-u "sk_no-such-key:"',
    "Basic <a publishable key>": '-u "${QASHIER_API_KEY/sk_/pk_}:"',
    "Basic <the key in capitals>": '-u "${QASHIER_API_KEY^^}:"',
    "Basic <the key without its colon>": ('-H "Authorization: Basic $(printf %s "$QASHIER_API_KEY" | base64 -w 0)"'),
    "Token <the key>": '-H "Authorization: Token $QASHIER_API_KEY"',
    "<the key alone>": '-H "Authorization: $QASHIER_API_KEY"',
    "Basic <no base64>": "-H 'Authorization: Basic !!!'",
    "Basic <the key, not encoded>": '-H "Authorization: Basic $QASHIER_API_KEY"',
    "Bearer <the key, encoded>": '-H "Authorization: Bearer $(printf %s: "$QASHIER_API_KEY" | base64 -w 0)"',
}


def _in_quotes(text: str) -> str:
    """A text for between double quotes."""
    return re.sub(r'([\\"$`])', r"\\\1", text)


def _json_words(value: Json) -> str:
    """A JSON value as one shell word, with variables outside of the single quotes."""
    holes: list[str] = []

    def mark(inner: Json) -> Json:
        if isinstance(inner, Code):
            holes.append(str(inner))
            return f"\x00{len(holes) - 1}\x00"
        if isinstance(inner, dict):
            return {name: mark(item) for name, item in inner.items()}
        if isinstance(inner, list):
            return [mark(item) for item in inner]
        return inner

    text = json.dumps(mark(value))
    quoted = shlex.quote(text)

    def fill(match: re.Match[str]) -> str:
        hole = holes[int(match[1])]
        if hole.startswith("text:"):
            return f'"\'"{hole[5:]}"\'"'
        number = hole.startswith(("$((", "$created"))
        return f"'\"{hole}\"'" if number else f'"\'"{hole}"\'"'

    return re.sub(r'"\\u0000(\d+)\\u0000"', fill, quoted)


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())
