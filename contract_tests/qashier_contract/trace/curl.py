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

from qashier_contract.history import CONTROL_PATH, Credentials, Exchange, Operation
from qashier_contract.trace.credentials import forged
from qashier_contract.trace.literals import literal
from qashier_contract.trace.names import SECRET, ToWrite
from qashier_contract.trace.steps import EndpointId, Moment, Nonce, ReceiverUrl, SessionId, Step, Symbol, Text, filled
from qashier_contract.values import Json

_LONG: Final = 4_000
"""A text longer than this is made by a program, not typed."""
_FIELD: Final = """field() { grep -o "\\"$1\\": *[^,}]*" | head -n 1 | sed 's/^[^:]*: *//; s/"//g'; }"""


def curl_lines(to_write: ToWrite) -> tuple[str, ...]:
    """The lines that show a violation."""
    return _Shell(to_write).lines()


class _Shell:
    def __init__(self, to_write: ToWrite) -> None:
        self.to_write, self.steps, self.names = to_write, to_write.steps, to_write.names
        self._used: set[str] | None = None

    def lines(self) -> tuple[str, ...]:
        """The lines, ready to be pasted."""
        if (reason := self.to_write.too_long) is not None:
            return (_said(reason),)
        # Once to see which variables are used, and once with those alone.
        text = "\n".join(line for group in self.steps.groups for line in self._group(group))
        self._used = set(re.findall(r"\b((?:id|created|url)\d+)\b(?!=)", text))
        body = [line for group in self.steps.groups for line in self._group(group)]
        before, after = self._clocks("\n".join(body))
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
        if "QASHIER_API_KEY_2" in text:
            lines.append(': "${QASHIER_API_KEY_2:=${QASHIER_API_KEY%a}A}"')
        if "WEBHOOK_URL" in text:
            lines.append(': "${WEBHOOK_URL:?where a receiver of yours listens}"')
        return lines

    def _clocks(self, text: str) -> tuple[list[str], list[str]]:
        before, after = [], []
        for account in self.steps.accounts:
            now = self.names.now(account)
            named = re.search(rf"\(\({now}\b", text) is not None
            moves = [step for step in self.steps.all if step.moved_s is not None and step.account == account]
            if self.steps.can_move_clock and (named or moves):
                put = self._to_clock(account, "-X PUT ", "clock")
                before.append(f"{now}=$({put} -d '{{\"frozen\": true}}' | field now)")
                after.append(f"{put} -d '{{\"frozen\": false}}'")
            elif named:
                before.append(f"{now}=$(date +%s)")
        return before, after

    def _to_clock(self, account: int | None, method: str, path: str) -> str:
        """The beginning of a call of the control API, to which its body is added."""
        who = _of_key(account, self.names.scheme(account or 0))
        return f'curl -sS {method}{who} {_JSON_TYPE} "${{QASHIER_CONTROL_URL}}{CONTROL_PATH}/{path}"'

    # Steps.

    def _group(self, group: tuple[Step, ...]) -> list[str]:
        if len(group) == 1:
            return self._single(group[0])
        return [f"{self._move(step) if step.moved_s is not None else self._curl(step)} &" for step in group] + ["wait"]

    def _move(self, step: Step) -> str:
        data = shlex.quote(json.dumps({"seconds": step.moved_s}))
        return f"{self._to_clock(step.account, '', 'clock/advance')} -d {data}"

    def _single(self, step: Step) -> list[str]:
        if step.moved_s is not None:
            return [self._move(step)]
        named = self.names.carried(step.exchange)
        carried = [pair for pair in named if self._used is None or pair[0] in self._used]
        endpoint = step.exchange.operation is Operation.ENDPOINTS and step.exchange.request.method == "POST"
        if not carried and not endpoint:
            return [self._curl(step)]
        reply = self.names.reply_name(step.exchange)
        lines = [f"{reply}=$({self._curl(step, quiet=True)}); printf '%s\\n' \"${reply}\""]
        lines += [f"{name}=$(printf '%s' \"${reply}\" | field {field})" for name, field in carried]
        if endpoint:
            hook = self.names.hook(step.exchange)
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
            words += [*self._credentials(exchange), *self._headers(step), self._url(step)]
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
        born = next((s.exchange for s in self.names.sent if f"url{self.names.reply_name(s.exchange)[1:]}" == url), None)
        recorded = str(born.object.get("url")) if born is not None else shown
        if shown.startswith(recorded):
            return f'"${{{url}}}{_in_quotes(shown.removeprefix(recorded))}"'
        parts = urlsplit(shown)
        rest = self._quoted(self.steps.reader.text(shown.partition(parts.netloc)[2]))
        return f'"$(printf %s "${{{url}}}" | sed \'s|\\(//[^/]*\\).*|\\1|\'){rest}"'

    def _credentials(self, exchange: Exchange) -> list[str]:
        if exchange.credentials is Credentials.BROKEN:
            made = forged(exchange.request.header("Authorization") or "")
            keys = {
                "{key}": "${QASHIER_API_KEY}",
                "{public}": "pk_${QASHIER_API_KEY#sk_}",
                "{capitals}": "$(printf %s \"${QASHIER_API_KEY}\" | tr 'a-z' 'A-Z')",
            }
            text = _in_quotes(made.text)
            for word, shown in keys.items():
                text = text.replace(word, shown)
            if made.is_encoded:
                text = f"$(printf %s \"{text}\" | base64 | tr -d '\\n')"
            return [f'-H "Authorization: {made.scheme}{" " * bool(made.scheme)}{text}"']
        named = exchange.credentials in {Credentials.BASIC, Credentials.BEARER}
        words = [_of_key(exchange.account, exchange.credentials)] if named else []
        if not exchange.request.in_lower_case:
            return words
        # -u would spell the name its own way.
        return [_IN_LOWER_CASE[exchange.credentials].format(key=_key_of(exchange.account)) for _ in words]

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
        text = None
        if step.body.is_json:
            value = (
                self._with_endpoint(step.body.value) if exchange.operation is Operation.ENDPOINTS else step.body.value
            )
            text = self._json_words(value)
        elif raw.isascii() and raw.decode().isprintable():
            text = f'"{self._quoted(step.body.value)}"'
        if text is not None and len(text) <= _LONG:
            return "", f"--data-binary {text}"
        program = f"import sys; sys.stdout.buffer.write({literal(raw)})"
        return f"python3 -c {shlex.quote(program)} | ", "--data-binary @-"

    @staticmethod
    def _with_endpoint(value: Json) -> Json:
        return {**value, **({"secret": SECRET} if "secret" in value else {})}

    # Symbols.

    def _quoted(self, text: Text) -> str:
        """A text for between double quotes."""
        return "".join(_in_quotes(part) if isinstance(part, str) else self._symbol(part) for part in text)

    def _symbol(self, symbol: Symbol) -> str:
        if isinstance(symbol, SessionId):
            name = self.names.variable(symbol.id)
            if name is None:
                return _in_quotes(symbol.id)
            if symbol.form == "{}[:-1]":
                return f"${{{name}%?}}"
            if symbol.form == "{}.swapcase()":
                return f"$(printf %s \"${{{name}}}\" | tr 'a-zA-Z' 'A-Za-z')"
            return f"${{{name}}}" + _in_quotes(symbol.form.removeprefix("{}"))
        if isinstance(symbol, Moment):
            return f"$(({self.names.moment(symbol)}))" if isinstance(symbol.value, int) else str(symbol.value)
        if isinstance(symbol, Nonce):
            return "$(printf %s \"${run}\" | tr 'a-z' 'A-Z')" if symbol.is_upper else "${run}"
        if isinstance(symbol, EndpointId):
            found = [e.url for e in self.steps.history.endpoints if e.id == symbol.id]
            return f"${{{self.names.hook_at(found[0])}}}" if found else symbol.id
        return "${WEBHOOK_URL}" if isinstance(symbol, ReceiverUrl) else SECRET

    def _json_words(self, value: Json) -> str:
        """A JSON value as one shell word, with variables outside of the single quotes."""
        holes: list[str] = []

        def hole(symbol: Symbol, mark: str = "\x00") -> str:
            holes.append(self._symbol(symbol))
            return f"{mark}{len(holes) - 1}{mark}"

        def of_text(text: Text) -> str:
            return "".join(part if isinstance(part, str) else hole(part) for part in text)

        # The quotes around a number go with its mark.
        text = shlex.quote(json.dumps(filled(value, of_text, lambda moment: hole(moment, "\x00\x00"))))
        text = re.sub(r'"\\u0000\\u0000(\d+)\\u0000\\u0000"', r"\\u0000\1\\u0000", text)
        return re.sub(r"\\u0000(\d+)\\u0000", lambda match: f"'\"{holes[int(match[1])]}\"'", text)


def _of_key(account: int | None, scheme: Credentials) -> str:
    """The words that send the key of an account."""
    key = _key_of(account)
    return f'-H "Authorization: Bearer {key}"' if scheme is Credentials.BEARER else f'-u "{key}:"'


def _key_of(account: int | None) -> str:
    return "${QASHIER_API_KEY_2}" if account == 1 else "${QASHIER_API_KEY}"


_IN_LOWER_CASE: Final = {
    Credentials.BASIC: '-H "authorization: Basic $(printf %s \\"{key}:\\" | base64 | tr -d \'\\n\')"',
    Credentials.BEARER: '-H "authorization: Bearer {key}"',
}
_JSON_TYPE: Final = "-H 'Content-Type: application/json'"


def _in_quotes(text: str) -> str:
    """A text for between double quotes. At a prompt `!` means something even there, but not between single ones."""
    return re.sub(r'([\\"$`])', r"\\\1", text).replace("!", "\"'!'\"")


def _said(text: str) -> str:
    """What is only to be read, as a command that does nothing."""
    return ": " + shlex.quote(" ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split()))
