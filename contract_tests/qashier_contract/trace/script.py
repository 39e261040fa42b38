"""A violation as a pytest function, which needs pytest and httpx alone.

It reads the target and the key from the environment, sends the steps, and then asserts what the finding expected. So it
fails where the clause is broken, and passes where it is kept.
"""

from __future__ import annotations

import re
import textwrap
from itertools import groupby
from typing import Final

from qashier_contract.findings import Delivered
from qashier_contract.history import CONTROL_PATH, Credentials, Operation
from qashier_contract.trace.assertions import Assertion
from qashier_contract.trace.credentials import of_key
from qashier_contract.trace.kit import imports_for, parts_for
from qashier_contract.trace.literals import literal
from qashier_contract.trace.names import ToWrite
from qashier_contract.trace.steps import Step
from qashier_contract.values import NOT_JSON, Json

_ROUNDS: Final = 20
"""How often a race is run, or what depends on chance: one lucky round proves nothing."""
_FAR_AHEAD_S: Final = 30
"""A clock that is further ahead of the machine's was set so."""
_LOOKED_AGAIN_NS: Final = 15 * 10**8
"""Between two lists of events further apart than this, a moment was let pass."""


def script(to_write: ToWrite, *, name: str, repeats: bool = False) -> str:
    """The source of a pytest function. If it `repeats`, it takes several tries to see the violation."""
    return _Script(to_write, name, repeats=repeats).render()


class _Script:
    def __init__(self, to_write: ToWrite, name: str, *, repeats: bool) -> None:
        self.to_write, self.steps, self.names = to_write, to_write.steps, to_write.names
        self.violation, self.name = to_write.violation, name
        self.repeats = repeats or any(len(group) > 1 for group in self.steps.groups)
        self.hooks = self.names.hooks
        self.base = self.names.common_body()

    def render(self) -> str:
        """The whole text: imports, constants, what it needs, the function."""
        if (reason := self.to_write.too_long) is not None:
            return f"# {reason}\n"
        asserted = Assertion(self.violation, self.names).lines()
        # Once to see which variables are used, and once with those alone.
        self._statements()
        sent = self._statements()
        before, after = self._around("\n".join(asserted))
        text = "\n".join([*before, *sent, *after, *asserted])
        if self.repeats:
            text = f"for _ in range({_ROUNDS}):\n" + textwrap.indent(text, "    ")
        function = self._head(text) + textwrap.indent(text, " " * 8) + "\n"
        constants = self._constants(function)
        whole = constants + parts_for(function + constants) + "\n\n" + function
        return imports_for(whole) + "\n" + whole

    # Around the steps.

    def _head(self, text: str) -> str:
        clients = []
        names = self.names
        accounts = (names.main, 1, *names.further)
        for name, base, account in (
            *((names.api(each), "URL", each) for each in accounts),
            ("nobody", "URL", None),
            *((names.control(each), "CONTROL", each) for each in accounts),
            ("customer", '""', None),
        ):
            if re.search(rf"\b{name}\b(?=[.,)])", text):
                clients.append(f"httpx.Client(base_url={base}{self._auth(account)}, timeout=60) as {name}")
        places: dict[str, int] = {}
        for place, (url, answers) in enumerate(self.hooks.items(), 1):
            first = places.setdefault(url.partition("?")[0], place)
            beside = [f"beside=hook{first}"] if first != place else []
            clients.append(f"Hook({', '.join([*map(str, answers), *beside])}) as hook{place}")
        words = [self.to_write.title, f"Expected {self.violation.expected}. Seen {self.violation.seen}."]
        doc = "\n\n".join(textwrap.fill(_plain(word), 96) for word in words)
        quoted = textwrap.indent(doc, "    ").strip().replace("\\", "\\\\").replace('"""', "'''")
        lines = [f"def {self.name}():", f'    """{quoted}\n    """']
        opened = ", ".join(clients) or "nullcontext()"
        if len(opened) <= 90:
            lines.append(f"    with {opened}:")
        else:
            lines += ["    with (", *(f"        {client}," for client in clients), "    ):"]
        return "\n".join(lines) + "\n"

    def _auth(self, account: int | None) -> str:
        if account is None:
            return ""
        key = self.names.key(account)
        if self.names.scheme(account) is Credentials.BEARER:
            return f', headers={{"Authorization": f"Bearer {{{key}}}"}}'
        return f', auth=({key}, "")'

    def _constants(self, function: str) -> str:
        lines = [f'URL = os.environ.get("QASHIER_URL", "{self.to_write.target}")']
        if "CONTROL" in function:
            lines.append(
                'CONTROL = os.environ.get("QASHIER_CONTROL_URL", "{0.scheme}://{0.netloc}".format(urlsplit(URL)))'
            )
            lines.append(f'CONTROL += "{CONTROL_PATH}"')
        for name, variable, fresh in (
            ("KEY", "QASHIER_API_KEY", '"sk_test_" + uuid4().hex + "a"'),
            # Who looks at the case of keys alone, or at their beginning, makes one account of both.
            ("OTHER_KEY", "QASHIER_API_KEY_2", 'KEY.removesuffix("a") + "A"'),
        ):
            if re.search(rf"\b{name}\b", function) or name == "KEY":
                made_up = self.to_write.makes_keys_up or (name == "OTHER_KEY" and "CONTROL" in function)
                value = f'os.environ.get("{variable}") or {fresh}' if made_up else f'os.environ["{variable}"]'
                lines.append(f"{name} = {value}")
        further = ((self.names.key(account), self.steps.key_end(account)) for account in self.names.further)
        lines += [f'{name} = KEY.removesuffix("a") + "{end}"' for name, end in further]
        if re.search(r"\bSESSION\b", function) and self.base is not None:
            lines.append(f"SESSION = {literal(self.base)}")
        return "\n".join(lines) + "\n"

    def _around(self, asserted: str) -> tuple[list[str], list[str]]:
        """What comes before the steps and after them: the word of this run, and clocks that stand meanwhile."""
        before = ["run = str(uuid4().int)[:10]"] if "run" in self.names.used else []
        after = []
        for account in self.steps.accounts:
            now, control = self.names.now(account), self.names.control(account)
            moves = any(step.moved_s is not None and step.account == account for step in self.steps.all)
            if self.steps.ledger.clock_runs(account):
                before += [f'{now} = {control}.get("clock").json()["now"]'] if now in self.names.used else []
            elif self.steps.can_move_clock and (now in self.names.used or moves):
                put = f'{control}.put("clock", json={{"frozen": True}})'
                before.append(f'{now} = {put}.json()["now"]' if now in self.names.used else put)
                ahead_s = self.names.ahead_s(account)
                if ahead_s > _FAR_AHEAD_S and re.search(rf"\b{now}\b", asserted):
                    # What is judged is a time: whose it is shows where the account's is not the machine's.
                    moved = f'{control}.post("clock/advance", json={{"seconds": {ahead_s}}})'
                    before.append(f'{now} = {moved}.json()["now"]')
                after.append(f'{control}.put("clock", json={{"frozen": False}})')
            elif now in self.names.used:
                before.append(f"{now} = int(time.time())")
        return before, after

    # The steps.

    def _statements(self) -> list[str]:
        lines: list[str] = []
        last_look_ns = 0
        for account, groups in groupby(self.steps.groups, _moves_clock_of):
            if account is not None:
                moves = list(groups)
                lines += [line for group in moves for line in self._doors(group)]
                lines += self._moves(account, [group[0].moved_s or 0 for group in moves])
                continue
            for group in groups:
                lines += self._doors(group)
                exchange = group[0].exchange
                if exchange.operation is Operation.EVENTS:
                    if last_look_ns and exchange.sent_ns - last_look_ns > _LOOKED_AGAIN_NS:
                        lines.append("time.sleep(2)")
                    last_look_ns = exchange.sent_ns
                lines += self._single(group[0]) if len(group) == 1 else self._at_once(group)
                lines += self._deliveries(group)
        return lines

    def _moves(self, account: int, moves: list[int]) -> list[str]:
        if not self.hooks:
            return [self._advance(account, sum(moves))]
        wrapped = textwrap.fill(f"{', '.join(map(str, moves))},", 80, initial_indent="    ", subsequent_indent="    ")
        places = range(1, len(self.hooks) + 1)
        hooks = [f"    hook{place}.move(seconds)" for place in places]
        # When a try comes matters: it gets the time to, before the clock moves on.
        waits = [f"    hook{place}.settle(0.25)" for place in places] if self._is_about_tries else []
        post = f"    {self._advance(account, 'seconds')}"
        return ["\n".join([f"for seconds in (\n{wrapped}\n):", *hooks, post, *waits])]

    def _advance(self, account: int | None, seconds: int | str) -> str:
        return f'{self.names.control(account)}.post("clock/advance", json={{"seconds": {seconds}}})'

    @property
    def _is_about_tries(self) -> bool:
        wanted = self.violation.expectation
        return isinstance(wanted, Delivered) and (wanted.since is not None or bool(wanted.delays))

    def _doors(self, group: tuple[Step, ...]) -> list[str]:
        """Listen at endpoints, or do not any more."""
        doors = self.steps.doors.get(group[0].exchange.number, ())
        return [f"{self.names.hook_at(url)}.{'open' if listens else 'shut'}()" for url, listens in doors]

    def _deliveries(self, group: tuple[Step, ...]) -> list[str]:
        """Wait for the deliveries that came before the next step."""
        ends = any(step.press or step.exchange.operation in {Operation.EXPIRE, Operation.PAY} for step in group)
        return [f"hook{place}.settle()" for place in range(1, len(self.hooks) + 1)] if ends else []

    def _single(self, step: Step) -> list[str]:
        reply = self.names.reply_name(step.exchange)
        call, carried = self._call(step), self._carried(step, reply)
        return [f"{reply} = {call}" if carried or reply in self.names.used else call, *carried]

    def _carried(self, step: Step, reply: str) -> list[str]:
        """What later steps need of a reply: an id, a time, where an endpoint is."""
        fields = dict(self.names.carried(step.exchange))
        if step.registers is not None:
            fields[f"{self.names.hook_at(step.registers)}.id"] = "id"
        return [f'{name} = {reply}.json()["{field}"]' for name, field in fields.items() if name in self.names.used]

    def _at_once(self, group: tuple[Step, ...]) -> list[str]:
        calls = []
        for step in group:
            call = self._call(step) if step.moved_s is None else self._advance(step.account, step.moved_s)
            calls.append(f"    lambda: {call},")
        names = [self.names.reply_name(step.exchange) for step in group]
        lines = [f"{', '.join(names)} = at_once(\n" + "\n".join(calls) + "\n)"]
        for step, name in zip(group, names, strict=True):
            lines += self._carried(step, name) if step.moved_s is None else []
        return lines

    def _call(self, step: Step) -> str:
        exchange = step.exchange
        if exchange.page_of is not None:
            return self._on_page(step)
        if self.names.is_odd(step):
            return self._raw(step)
        path, method = self.names.text(step.path), exchange.request.method
        client = self.names.client(exchange)
        url = self.names.url(step)
        arguments = [url if path else '""', *self._content(step)]
        headers = self._headers(step)
        if headers:
            arguments.append(f"headers={literal(headers)}")
        if "Authorization" in headers and client != "nobody":
            arguments.append("auth=None")
        has_body = exchange.request.body is not None
        known = method.lower() if method in {"GET", "POST", "PUT", "PATCH", "DELETE"} else None
        if known is None or (has_body and known in {"get", "delete"}):
            return f"{client}.request({', '.join([repr(method), *arguments])})"
        return f"{client}.{known}({', '.join(arguments)})"

    def _content(self, step: Step) -> list[str]:
        body = self._body(step)
        if body is None or not body[0]:
            return [f"content={body[1]}"] if body is not None else []
        request = step.exchange.request
        plain = request.header("Content-Type") == "application/json" and b"\\u" not in (request.body or b"")
        return [f"json={body[1]}"] if plain else [f"content=json.dumps({body[1]})"]

    def _body(self, step: Step) -> tuple[bool, str] | None:
        if step.body is None:
            return None
        value = self.names.asked(step)
        return (False, self.names.raw_body(step.body)) if value is NOT_JSON else (True, self._shown(value))

    def _shown(self, value: Json) -> str:
        """A body, by what it has in common with the others where it has much."""
        base = self.base
        if base is None or not isinstance(value, dict) or not base.keys() <= value.keys():
            return literal(value, used=40)
        changed = {name: item for name, item in value.items() if name not in base or repr(base[name]) != repr(item)}
        if len(changed) >= len(base):
            return literal(value, used=40)
        inner = literal(changed, used=50)[1:-1].strip()
        return f"{{**SESSION, {inner}}}" if changed else "SESSION"

    def _headers(self, step: Step) -> dict[str, Json]:
        is_typed = any(content.startswith("json=") for content in self._content(step))
        named = [(name, text) for name, text in step.headers if not (is_typed and name.lower() == "content-type")]
        account = step.account or 0
        if step.authorization not in {None, of_key(account, self.names.scheme(account))}:
            named.append(("Authorization", step.authorization or ()))
        return {name: self.names.code(text) for name, text in named}

    def _raw(self, step: Step) -> str:
        headers = [f"({literal(name)}, {literal(self.names.code(text))})" for name, text in step.headers]
        if step.authorization is not None:
            name = "authorization" if step.exchange.request.in_lower_case else "Authorization"
            headers.insert(0, f'("{name}", {self.names.text(step.authorization)})')
        body = self._body(step)
        content = ""
        if body is not None:
            content = f", json.dumps({body[1]}).encode()" if body[0] else f", {body[1]}"
        return f"raw({step.exchange.request.method!r}, {self.names.url(step)}, [{', '.join(headers)}]{content})"

    def _on_page(self, step: Step) -> str:
        url = self.names.page(step.exchange)
        if step.press is None:
            return f"[customer.head({url})]" if step.exchange.request.method == "HEAD" else f"opened(customer, {url})"
        before = self.names.page_before(step.exchange)
        page = f"{before}[-1]" if before else f"opened(customer, {url})[-1]"
        how = f', "{step.forced_method}"' if step.forced_method else ""
        return f'press(customer, {page}, "{step.press}"{how})'


def _moves_clock_of(group: tuple[Step, ...]) -> int | None:
    """Whose clock a group moves, None if it is anything but a move."""
    return (group[0].account or 0) if len(group) == 1 and group[0].moved_s is not None else None


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", " ", text).split())
