"""A violation as lines for a shell with curl: what to paste to see it, ids and times carried over in variables.

The lines are POSIX, and do the same in dash, bash and zsh, also where they are pasted at a prompt: what is only to be
read stands behind `:`, since a prompt of zsh takes no comments.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Final
from urllib.parse import urlsplit

from qashier_contract.history import CONTROL_PATH, Exchange
from qashier_contract.trace.credentials import of_key
from qashier_contract.trace.literals import literal
from qashier_contract.trace.names import SECRET, ToWrite
from qashier_contract.trace.steps import Step
from qashier_contract.trace.symbols import (
    ApiKey,
    Base64,
    EndpointId,
    Moment,
    Nonce,
    ReceiverUrl,
    Secret,
    SessionId,
    Symbol,
    Text,
)

_LONG: Final = 4_000
"""A text longer than this is made by a program, not typed."""
_FIELD: Final = """field() { grep -o "\\"$1\\": *[^,}]*" | head -n 1 | sed 's/^[^:]*: *//; s/"//g'; }"""


def curl_lines(to_write: ToWrite) -> tuple[str, ...]:
    """The lines that show a violation."""
    return _Shell(to_write).lines()


class _Shell:
    def __init__(self, to_write: ToWrite) -> None:
        self.to_write, self.steps, self.names = to_write, to_write.steps, to_write.names

    def lines(self) -> tuple[str, ...]:
        """The lines, ready to be pasted."""
        if (reason := self.to_write.too_long) is not None:
            return (_said(reason),)
        # Once to see which variables are used, and once with those alone.
        for group in self.steps.groups:
            self._group(group)
        body = [line for group in self.steps.groups for line in self._group(group)]
        before, after = self._clocks()
        if re.search(r"\$\{?run\b", "\n".join(body)):
            before.insert(0, 'run="$(date +%s)$$"')
        if "| field " in "\n".join([*before, *body]):
            before.insert(0, _FIELD)
        return (
            _said(f"{self.to_write.violation.clause}: {self.to_write.title}"),
            *self._settings("\n".join([*before, *body, *after])),
            *before,
            *body,
            *after,
            _said(f"expected: {self.to_write.violation.expected}"),
            _said(f"seen: {self.to_write.violation.seen}"),
        )

    def _settings(self, text: str) -> list[str]:
        lines = [f': "${{QASHIER_URL:={self.to_write.target}}}"']
        if "QASHIER_CONTROL_URL" in text:
            origin = """$(printf %s "$QASHIER_URL" | sed 's|\\(//[^/]*\\).*|\\1|')"""
            lines.append(f': "${{QASHIER_CONTROL_URL:={origin}}}"')
        fresh = "sk_test_again$(date +%s)$$" + "0" * 16 + "a"
        given = ': "${QASHIER_API_KEY:?the secret key}"'
        lines.append(f': "${{QASHIER_API_KEY:={fresh}}}"' if self.to_write.makes_keys_up else given)
        for account in (1, *self.names.further):
            if (key := f"QASHIER_API_KEY_{account + 1}") in text:
                end = "A" if account == 1 else self.steps.key_end(account)
                lines.append(f': "${{{key}:=${{QASHIER_API_KEY%a}}{end}}}"')
        if "WEBHOOK_URL" in text:
            lines.append(': "${WEBHOOK_URL:?where a receiver of yours listens}"')
        return lines

    def _clocks(self) -> tuple[list[str], list[str]]:
        before, after = [], []
        for account in self.steps.accounts:
            now = self.names.now(account)
            named = now in self.names.used
            moves = [step for step in self.steps.all if step.moved_s is not None and step.account == account]
            if self.steps.ledger.clock_runs(account):
                before += [f"{now}=$({self._to_clock(account, '', 'clock')} | field now)"] if named else []
            elif self.steps.can_move_clock and (named or moves):
                put = self._to_clock(account, "-X PUT ", "clock")
                before.append(f"{now}=$({put} -d '{{\"frozen\": true}}' | field now)")
                after.append(f"{put} -d '{{\"frozen\": false}}'")
            elif named:
                before.append(f"{now}=$(date +%s)")
        return before, after

    def _to_clock(self, account: int | None, method: str, path: str) -> str:
        """The beginning of a call of the control API, to which its body is added."""
        who = self._credentials(of_key(account or 0, self.names.scheme(account or 0)))[0]
        return f'curl -sS {method}{who} {_JSON_TYPE} "${{QASHIER_CONTROL_URL}}{CONTROL_PATH}/{path}"'

    # Steps.

    def _group(self, group: tuple[Step, ...]) -> list[str]:
        doors = self.steps.doors.get(group[0].exchange.number, ())
        words = {True: "start your receiver again", False: "stop your receiver, so that connections are refused"}
        lines = [_said(words[listens]) for _, listens in doors]
        if len(group) == 1:
            return lines + self._single(group[0])
        sent = [f"{self._move(step) if step.moved_s is not None else self._curl(step)} &" for step in group]
        return [*lines, *sent, "wait"]

    def _move(self, step: Step) -> str:
        data = shlex.quote(json.dumps({"seconds": step.moved_s}))
        return f"{self._to_clock(step.account, '', 'clock/advance')} -d {data}"

    def _single(self, step: Step) -> list[str]:
        if step.moved_s is not None:
            return [self._move(step)]
        carried = [pair for pair in self.names.carried(step.exchange) if pair[0] in self.names.used]
        if not carried and step.registers is None:
            return [self._curl(step)]
        reply = self.names.reply_name(step.exchange)
        lines = [f"{reply}=$({self._curl(step, quiet=True)}); printf '%s\\n' \"${reply}\""]
        lines += [f"{name}=$(printf '%s' \"${reply}\" | field {field})" for name, field in carried]
        if step.registers is not None:
            hook = self.names.hook_at(step.registers)
            lines.append(f"{hook}=$(printf '%s' \"${reply}\" | field id)")
        return lines

    def _curl(self, step: Step, *, quiet: bool = False) -> str:
        exchange = step.exchange
        words = ["curl -sS" if quiet else "curl -sS -i"]
        piped = ""
        body = self._body(step)
        method = exchange.request.method
        if method == "HEAD" and not body:
            words.append("--head")  # with -X it would wait for the body that its answer speaks of
        elif method != ("POST" if body else "GET"):
            words.append(f"-X {method}")
        if exchange.page_of is None:
            key = self._credentials(step.authorization, in_lower_case=exchange.request.in_lower_case)
            words += [*key, *self._headers(step), self._url(step)]
        else:
            words.append(self._page(exchange))
        if body:
            piped, argument = body
            words.append(argument)
        return piped + " ".join(words)

    def _url(self, step: Step) -> str:
        path, request = step.path, step.exchange.request
        base = "${QASHIER_CONTROL_URL}" if request.path.startswith(CONTROL_PATH) else "${QASHIER_URL}"
        query = "?" + self._quoted(step.query) if any(step.query) else ""
        odd = "-g --path-as-is " if re.search(r"[\[\]{}]|%|//|\.\.", request.path + request.query) else ""
        return f'{odd}"{base}{self._quoted(path)}{query}"'

    def _page(self, exchange: Exchange) -> str:
        """The address of a hosted page, from what the session's was: no address of the recorded run is named."""
        url = self.names.page(exchange)
        shown = exchange.request.path
        session = self.steps.ledger.sessions.get(exchange.page_of or "")
        recorded = str(session.born.object.get("url")) if session is not None else shown
        if shown.startswith(recorded):
            return f'"${{{url}}}{_in_quotes(shown.removeprefix(recorded))}"'
        parts = urlsplit(shown)
        rest = self._quoted(self.steps.text(shown.partition(parts.netloc)[2], 0))
        return f'"$(printf %s "${{{url}}}" | sed \'s|\\(//[^/]*\\).*|\\1|\'){rest}"'

    def _credentials(self, authorization: Text | None, *, in_lower_case: bool = False) -> list[str]:
        if authorization is None:
            return []
        match authorization:
            # -u would spell the header's name its own way.
            case ("Basic ", Base64((ApiKey(form="") as key, ":"))) if not in_lower_case:
                return [f'-u "{self._symbol(key)}:"']
        name = "authorization" if in_lower_case else "Authorization"
        return [f'-H "{name}: {self._quoted(authorization)}"']

    def _headers(self, step: Step) -> list[str]:
        words = []
        for name, text in step.headers:
            plain = "".join(part for part in text if isinstance(part, str))
            if len(plain) > _LONG // 8 and all(isinstance(part, str) for part in text):
                words.append(f'-H "{name}: $(python3 -c {shlex.quote(f"print({literal(plain)})")})"')
            else:
                words.append(f'-H "{name}: {self._quoted(text)}"')
        named = any(name.lower() == "content-type" for name, _ in step.headers)
        if step.exchange.request.body is not None and not named:
            words.append("-H 'Content-Type:'")
        return words

    def _body(self, step: Step) -> tuple[str, str] | None:
        """What is piped into curl, and the argument that sends the body; None if there is none."""
        raw, exchange = step.exchange.request.body, step.exchange
        if exchange.page_of is not None:
            return ("", f"-d {shlex.quote(raw.decode('utf-8', 'replace'))}") if raw else None
        if step.body is None or raw is None:
            return None
        text = "".join(map(self._word, step.body))
        if (
            "".join(part for part in step.body if isinstance(part, str)).isascii()
            and text.isprintable()
            and len(text) <= _LONG
        ):
            return "", f"--data-binary {text}"
        program = f"import sys; sys.stdout.buffer.write({literal(raw)})"
        return f"python3 -c {shlex.quote(program)} | ", "--data-binary @-"

    # Symbols.

    def _quoted(self, text: Text) -> str:
        """A text for between double quotes."""
        return "".join(_in_quotes(part) if isinstance(part, str) else self._symbol(part) for part in text)

    def _symbol(self, symbol: Symbol) -> str:
        match symbol:
            case SessionId(old, form):
                name = self.names.variable(old)
                return _in_quotes(old) if name is None else _FORMS[form].format(name)
            case Nonce(form):
                return _FORMS[form].format("run")
            case Moment(value):
                return f"$(({self.names.moment(symbol)}))" if isinstance(value, int) else str(value)
            case EndpointId(old):
                found = [endpoint.url for endpoint in self.steps.history.endpoints if endpoint.id == old]
                return f"${{{self.names.hook_at(found[0])}}}" if found else old
            case ReceiverUrl():
                return "${WEBHOOK_URL}"
            case Secret():
                return SECRET
            case ApiKey(account, form):
                return _FORMS[form].format(self.names.of_account(account, "QASHIER_API_KEY", "QASHIER_API_KEY_2"))
            case Base64(text):
                return f"$(printf %s \"{self._quoted(text)}\" | base64 | tr -d '\\n')"

    def _word(self, part: str | Symbol) -> str:
        """A part of a text for outside of quotes."""
        return shlex.quote(part) if isinstance(part, str) else f'"{self._symbol(part)}"'


_FORMS: Final = {
    "": "${{{}}}",
    "[:-1]": "${{{}%?}}",
    ".swapcase()": "$(printf %s \"${{{}}}\" | tr 'a-zA-Z' 'A-Za-z')",
    ".upper()": "$(printf %s \"${{{}}}\" | tr 'a-z' 'A-Z')",
    ".replace('sk_', 'pk_', 1)": "pk_${{{}#sk_}}",
}
"""How a symbol that was changed is written, by its form."""
_JSON_TYPE: Final = "-H 'Content-Type: application/json'"


def _in_quotes(text: str) -> str:
    """A text for between double quotes. At a prompt `!` means something even there, but not between single ones."""
    return re.sub(r'([\\"$`])', r"\\\1", text).replace("!", "\"'!'\"")


def _said(text: str) -> str:
    """What is only to be read, as a command that does nothing."""
    return ": " + shlex.quote(" ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split()))
