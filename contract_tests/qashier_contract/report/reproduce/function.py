"""A story as a pytest function: self-contained, with nothing but pytest and httpx."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from qashier_contract.history import CONTROL_PATH, Credentials, Exchange, Operation
from qashier_contract.report.reproduce.kit import imports_for, parts_for
from qashier_contract.report.reproduce.naming import is_other
from qashier_contract.report.reproduce.proofs import needs_older, prove
from qashier_contract.report.reproduce.story import SOON_S
from qashier_contract.trace.literals import WIDTH, Code, literal

if TYPE_CHECKING:
    from qashier_contract.report.reproduce.naming import Naming
    from qashier_contract.report.reproduce.story import Step
    from qashier_contract.values import Json

_ROUNDS: Final = 20
"""How often a race is run: one lucky round proves nothing."""
_METHODS: Final = {"GET": "get", "POST": "post", "PUT": "put", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Template:
    """What sessions of one line have in common: all but its amount, its quantity, and further fields."""

    currency: str
    name: str
    unit_amount: Json
    quantity: Json
    success_url: str
    return_url: str

    @classmethod
    def of(cls, body: Json) -> Template | None:
        """The template that a body gives; None if it has several lines, or odd ones."""
        try:
            (line,) = body["line_items"]
            price = line["price_data"]
            found = cls(
                price["currency"],
                price["product_data"]["name"],
                price["unit_amount"],
                line["quantity"],
                body["success_url"],
                body["return_url"],
            )
        except (KeyError, TypeError, ValueError):
            return None
        if isinstance(found.success_url, Code) or found.fields(body) is None:
            return None
        return found

    def fields(self, body: Json) -> dict[str, Json] | None:
        """How a body departs from the template, as arguments; None if it does so in another way."""
        if not isinstance(body, dict):
            return None
        try:
            (line,) = body["line_items"]
            amount, quantity = line["price_data"]["unit_amount"], line["quantity"]
        except (KeyError, TypeError, ValueError):
            return None
        price = {"currency": self.currency, "product_data": {"name": self.name}, "unit_amount": amount}
        if line != {"price_data": price, "quantity": quantity}:
            return None
        own = {"success_url": self.success_url, "return_url": self.return_url}
        if not own.keys() <= body.keys():
            return None
        changed: dict[str, Json] = {}
        if amount != self.unit_amount or type(amount) is not type(self.unit_amount):
            changed["unit_amount"] = amount
        if quantity != self.quantity or type(quantity) is not type(self.quantity):
            changed["quantity"] = quantity
        rest = {name: item for name, item in body.items() if name != "line_items" and own.get(name) != item}
        return {**changed, **rest} if all(name.isidentifier() for name in rest) else None

    def source(self) -> str:
        """The function that makes such bodies."""
        return textwrap.dedent(
            f"""

            def a_session(unit_amount={literal(self.unit_amount)}, quantity={literal(self.quantity)}, **fields):
                \"\"\"What to send to create a session.\"\"\"
                product = {{"name": {literal(self.name)}}}
                price = {{"currency": {literal(self.currency)}, "product_data": product, "unit_amount": unit_amount}}
                return {{
                    "line_items": [{{"price_data": price, "quantity": quantity}}],
                    "success_url": {literal(self.success_url)},
                    "return_url": {literal(self.return_url)},
                    **fields,
                }}
            """
        )


class Function:
    """The source of one test.

    Args:
        naming: The names of its story.
        name: The function's name.
        title: The statement of the clause.
        target: The URL on which the violation was seen.
        is_local: Whether that is this machine: then a key can be made up.
    """

    def __init__(self, naming: Naming, *, name: str, title: str, target: str, is_local: bool) -> None:
        self.naming = naming
        self.story = naming.story
        self.name = name
        self.title = title
        self.target = target
        self.is_local = is_local
        self._indent = 12 if self.story.is_concurrent else 8
        self._bodies: dict[str, str] = {}
        self._template = self._find_template()
        self._shared = self._repeated_bodies()

    def render(self) -> str:
        """The whole text: imports, what it needs, the function."""
        statements = self._statements()
        body = self._used_only(statements)
        text = "\n".join(body)
        if self.story.is_concurrent:
            text = f"        for _ in range({_ROUNDS}):\n" + text
        function = self._head(text) + text + "\n"
        constants = self._constants(function)
        parts = parts_for(function + constants)
        if self._template is not None and "a_session(" in function:
            parts += self._template.source()
        whole = constants + parts + "\n\n" + function
        return imports_for(whole) + "\n" + whole

    # ── around it ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _head(self, text: str) -> str:
        violation = self.story.violation
        clients = [f"{client} as {name}" for name, client in self._clients(text)]
        for place, endpoint in enumerate(self.story.endpoints):
            statuses = ", ".join(map(str, self.naming.answers(endpoint) or [200]))
            clients.append(f"Hook({statuses}) as hook{place + 1}")
        words = [self.title, f"Expected {violation.expected}; seen {violation.seen}."]
        doc = "\n\n".join(textwrap.fill(_plain(word), 96) for word in words)
        quoted = textwrap.indent(doc, "    ").strip().replace("\\", "\\\\").replace('"""', "'''")
        lines = [f"def {self.name}():", f'    """{quoted}\n    """']
        opened = ", ".join(clients)
        if not clients:
            lines.append("    if True:")
        elif len(opened) <= 90:
            lines.append(f"    with {opened}:")
        else:
            lines += ["    with (", *(f"        {client}," for client in clients), "    ):"]
        return "\n".join(lines) + "\n"

    def _clients(self, text: str) -> list[tuple[str, str]]:
        found = []
        limited = any(e.was_limited for e in self.story.history.exchanges)
        extra = ", transport=Patient()" if limited else ""
        for name, base, account in (
            ("api", "URL", 0),
            ("control", "CONTROL", 0),
            ("other", "URL", 1),
            ("other_control", "CONTROL", 1),
        ):
            if re.search(rf"\b{name}\b[.,]", text):
                key = "OTHER_KEY" if is_other(account) else "KEY"
                bearer = self.naming.scheme(account) is Credentials.BEARER
                auth = f'headers={{"Authorization": f"Bearer {{{key}}}"}}' if bearer else f'auth=({key}, "")'
                found.append((name, f"httpx.Client(base_url={base}, {auth}, timeout=60{extra})"))
        if re.search(r"\bcustomer\b", text):
            found.append(("customer", "httpx.Client(timeout=60)"))
        return found

    def _constants(self, function: str) -> str:
        root = "{0.scheme}://{0.netloc}".format(urlsplit(self.target))
        lines = [f'URL = os.environ.get("QASHIER_URL", "{self.target}")']
        if "CONTROL" in function:
            lines.append(f'CONTROL = os.environ.get("QASHIER_CONTROL_URL", "{root}") + "{CONTROL_PATH}"')
            if self.target == root:
                lines[-1] = f'CONTROL = os.environ.get("QASHIER_CONTROL_URL", URL) + "{CONTROL_PATH}"'
        for name, variable, fresh in (
            ("KEY", "QASHIER_API_KEY", '"sk_test_" + uuid4().hex + "a"'),
            # Who looks at the case of keys alone, or at their beginning, makes one account of both.
            ("OTHER_KEY", "QASHIER_API_KEY_2", 'KEY.removesuffix("a") + "A"'),
        ):
            if re.search(rf"\b{name}\b", function) or name == "KEY":
                made_up = self.is_local or (name == "OTHER_KEY" and "CONTROL" in function)
                value = f'os.environ.get("{variable}") or {fresh}' if made_up else f'os.environ["{variable}"]'
                lines.append(f"{name} = {value}")
        return "\n".join(lines) + "\n"

    # ── what it does ────────────────────────────────────────────────────────────────────────────────────────────────

    def _statements(self) -> list[str]:
        """The statements of the function, unindented but for their continuation lines."""
        done: list[str] = []
        if needs_older(self.naming) and self.story.guilty is not None:
            wanted = {"limit": 1, **self._filters(self.story.guilty)}
            done.append(f'older = api.get("/checkout/sessions", params={literal(wanted)}).json()["data"]')
        for group in self._moves_together():
            first = group[0].exchange
            if len(group) > 1 and group[0].moved_s is not None:
                done.append(self._moves_of(group))
                continue
            if self.story.clause == "LIS-11" and first.operation is Operation.LIST and first in self.story.told:
                done += self._walk(first)
            elif len(group) == 1:
                done += self._single(group[0])
            else:
                done += self._at_once(group)
        proofs = prove(self.naming)
        times = any(".times" in line for line in proofs)
        if not times:
            done = [re.sub(r"^ *hook\d+\.now .*\n?", "", line, flags=re.MULTILINE) for line in done]
            done = [line for line in done if line]
        text = "\n".join([*done, *proofs])
        before, after = self._clocks(text)
        if re.search(r"\brun\b", text):
            before.insert(0, "run = str(uuid4().int)[:10]")
        return [*before, *done, *after, *proofs]

    def _moves_together(self) -> list[tuple[Step, ...]]:
        """The groups of the story, with moves of one clock in a row as one."""
        together: list[tuple[Step, ...]] = []
        for group in self.story.groups:
            last = together[-1][0] if together else None
            both = last is not None and last.moved_s is not None and group[0].moved_s is not None
            if both and last is not None and last.exchange.account == group[0].exchange.account:
                together[-1] = (*together[-1], *group)
            else:
                together.append(group)
        return together

    def _moves_of(self, group: tuple[Step, ...]) -> str:
        control = "other_control" if is_other(group[0].exchange.account) else "control"
        seconds = ", ".join(str(step.moved_s) for step in group)
        hooks = "".join(f"    hook{place + 1}.now += seconds\n" for place in range(len(self.story.endpoints)))
        late = [place for place, endpoint in enumerate(self.story.endpoints, 1) if self.naming.is_late(endpoint)]
        wait = "".join(f"hook{place}.answered.wait(15)\n" for place in late)
        head = f"for seconds in ({seconds}):"
        if len(head) > WIDTH - 12:
            wrapped = textwrap.fill(seconds, WIDTH - 20, initial_indent="    ", subsequent_indent="    ")
            head = f"for seconds in (\n{wrapped}\n):"
        return f'{wait}{head}\n{hooks}    {control}.post("clock/advance", json={{"seconds": seconds}})'

    def _filters(self, exchange: Exchange) -> dict[str, Json]:
        return {name: value for name, value in exchange.request.parameters.items() if name == "status"}

    def _clocks(self, text: str) -> tuple[list[str], list[str]]:
        before, after = [], []
        for account in self.story.accounts:
            control = "other_control" if is_other(account) else "control"
            now = "other_now" if is_other(account) else "now"
            named = re.search(rf"\b{now}\b", re.sub(r"hook\d+\.now", "", text))
            moved = re.search(rf"(?<!\w){control}\.post\(\"clock", text)
            if self.naming.can_stop_clock and (named or moved):
                before.append(f'{now} = {control}.put("clock", json={{"frozen": True}}).json()["now"]')
                after.append(f'{control}.put("clock", json={{"frozen": False}})')
            elif named:
                client = "other" if is_other(account) else "api"
                body = literal(self._probe(account), indent=self._indent, used=40)
                before.append(f'{now} = {client}.post("/checkout/sessions", json={body}).json()["created"]')
        return before, after

    def _probe(self, account: int) -> Json:
        """A valid body: the first one that was accepted."""
        sessions = [observed for observed in self.story.ledger.sessions.values() if observed.account == account]
        body = sessions[0].born.request.json if sessions else {}
        return {name: value for name, value in body.items() if name != "expires_at"}

    def _single(self, step: Step) -> list[str]:
        exchange, name = step.exchange, ""
        if step.moved_s is not None:
            control = "other_control" if is_other(exchange.account) else "control"
            hooks = [f"hook{place + 1}.now += {step.moved_s}" for place in range(len(self.story.endpoints))]
            return [*hooks, f'{control}.post("clock/advance", json={{"seconds": {step.moved_s}}})']
        before = [f"time.sleep({SOON_S})"] if self.story.may_lag(exchange) else self._share_body(exchange)
        if step.batch:
            name = self.naming.batch(exchange)
            call = self._call(exchange, indent=self._indent + 4)
            inner = " " * 4
            return [
                *before,
                f'{name} = [\n{inner}{_deeper(call)}.json()["id"]\n{inner}for _ in range({len(step.batch)})\n]',
            ]
        name = self.naming.reply(exchange)
        statements = [*before, f"{name} = {self._call(exchange, indent=self._indent)}"]
        if exchange.operation is Operation.CREATE and exchange.succeeded:
            session_id = str(exchange.object.get("id"))
            if self.naming.id(session_id) == f"id{name[1:]}":
                statements.append(f'id{name[1:]} = {name}.json()["id"]')
        if exchange.operation is Operation.ENDPOINTS and exchange.request.method == "POST":
            hook = self.naming.hook(str(exchange.request.json.get("url")))
            statements.append(f'{hook}.id = {name}.json()["id"]')
        return statements

    def _at_once(self, group: tuple[Step, ...]) -> list[str]:
        before = [line for step in group for line in self._share_body(step.exchange)]
        names = ", ".join(self.naming.reply(step.exchange) for step in group)
        calls = [f"    lambda: {_deeper(self._call(step.exchange, indent=self._indent + 4))},\n" for step in group]
        statements = [*before, f"{names} = at_once(\n{''.join(calls)})"]
        for step in group:
            exchange, name = step.exchange, self.naming.reply(step.exchange)
            shown = str(exchange.object.get("id"))
            if exchange.operation is Operation.CREATE and self.naming.id(shown) == f"id{name[1:]}":
                statements.append(f'id{name[1:]} = {name}.json()["id"]')
        return statements

    def _walk(self, exchange: Exchange) -> list[str]:
        """All pages of a walk in one call, by the cursors that this target gives."""
        pages = [e for e in self.story.told if e.operation is Operation.LIST]
        if exchange is not pages[0]:
            return []
        cursors = [name for page in pages for name in ("starting_after", "ending_before") if name in page.request.query]
        cursor = cursors[-1] if cursors else "starting_after"
        query = dict(self.naming.parameters(exchange) or {})
        between = ""
        if any(self._created_between(first, second) for first, second in pairwise(pages)):
            body = self.naming.body(self.story.ledger.sessions[self.story.population(exchange)[0].id].born)
            shown = literal(body[1] if body else {}, indent=self._indent, used=40)
            between = f', between=lambda: api.post("/checkout/sessions", json={shown})'
        client = self.naming.client(exchange)
        return [f'met = walk({client}, "{cursor}"{between}, **{literal(query, indent=self._indent, used=50)})']

    def _created_between(self, first: Exchange, second: Exchange) -> bool:
        return any(
            first.number < e.number < second.number and e.account == first.account and e.succeeded
            for e in self.story.history.of(Operation.CREATE)
        )

    # ── one request ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, exchange: Exchange, *, indent: int) -> str:
        if exchange.page_of is not None:
            return self._on_page(exchange)
        if self.naming.is_odd(exchange):
            return self._raw(exchange, indent)
        path = self.naming.path(exchange)
        control = exchange.request.path.startswith(CONTROL_PATH)
        arguments = [literal(f"/{path}" if control and not isinstance(path, Code) else path)]
        if control:
            arguments = [literal(path)]
        parameters = self.naming.parameters(exchange)
        if parameters:
            arguments.append(f"params={literal(dict(parameters))}")
        arguments += self._content(exchange)
        headers = self.naming.headers(exchange)
        if exchange.account is None or (
            any(name.lower() == "authorization" for name in headers)
            and self.naming.scheme(exchange.account) is Credentials.BASIC
        ):
            arguments.append("auth=None")
        if headers:
            arguments.append(f"headers={literal(headers)}")
        method = _METHODS.get(exchange.request.method)
        has_content = exchange.request.body is not None
        if method is None or (has_content and method in {"get", "delete"}):
            arguments.insert(0, repr(exchange.request.method))
            method = "request"
        client = self.naming.client(exchange)
        return _called(f"{client}.{method}", arguments, indent)

    def _content(self, exchange: Exchange) -> list[str]:
        body = self.naming.body(exchange)
        if body is None:
            return []
        kind, value = body
        if kind == "raw":
            return [f"content={literal(value)}"]
        shown = self._shown(value, indent=0)
        return [f"json={shown}"] if kind == "json" else [f"content=json.dumps({shown})"]

    def _shown(self, value: Json, *, indent: int) -> str:
        if self._template is not None and (fields := self._template.fields(value)) is not None:
            return _called("a_session", [f"{name}={literal(item)}" for name, item in fields.items()], indent + 40)
        base, expiry = _split(value)
        name = self._bodies.get(_key(base))
        if name is None:
            return literal(value, indent=indent, used=40)
        return name if expiry is None else f'{{**{name}, "expires_at": {literal(expiry)}}}'

    def _created(self) -> list[Json]:
        """What the story's creates ask for, where that can be said as JSON."""
        bodies = [
            self.naming.body(step.exchange) for step in self.story.steps if step.exchange.operation is Operation.CREATE
        ]
        return [body[1] for body in bodies if body is not None and body[0] != "raw"]

    def _find_template(self) -> Template | None:
        """What several creates have in common; None if they are few, or all different."""
        bodies = self._created()
        for body in bodies:
            template = Template.of(body)
            if template is not None and sum(template.fields(other) is not None for other in bodies) > 1:
                return template
        return None

    def _repeated_bodies(self) -> set[str]:
        """The bodies that occur more than once, deadlines aside."""
        seen: dict[str, int] = {}
        for body in self._created():
            if self._template is None or self._template.fields(body) is None:
                key = _key(_split(body)[0])
                seen[key] = seen.get(key, 0) + 1
        return {key for key, count in seen.items() if count > 1 and len(key) > 60}

    def _share_body(self, exchange: Exchange) -> list[str]:
        body = self.naming.body(exchange) if exchange.page_of is None else None
        if body is None or body[0] == "raw" or exchange.operation is not Operation.CREATE:
            return []
        base, _ = _split(body[1])
        key = _key(base)
        if key not in self._shared or key in self._bodies:
            return []
        name = f"body{len(self._bodies) + 1}" if len(self._shared) > 1 else "body"
        self._bodies[key] = name
        return [f"{name} = {literal(base, used=len(name) + 3)}"]

    def _on_page(self, exchange: Exchange) -> str:
        observed = self.story.session_of(exchange)
        assert observed is not None
        url = f'{self.naming.session(observed)}["url"]'
        act = exchange.page_act or "view"
        if act == "view":
            return f"customer.get({url})"
        before = self.story.page_before(exchange)
        page = f"customer.get({url})" if before is None else self.naming.reply(before)
        return f'press(customer, {page}, "{act}")'

    def _raw(self, exchange: Exchange, indent: int) -> str:
        request = exchange.request
        path = self.naming.path(exchange)
        parameters = self.naming.parameters(exchange)
        query = request.query
        if parameters is not None and query:
            query = urlencode({name: str(value) for name, value in parameters.items()})
        target: Json = request.path + (f"?{query}" if query else "")
        if isinstance(path, Code):
            target = Code(f"{path} + {f'?{query}'!r}") if query else path
        headers = [[name, value] for name, value in self.naming.headers(exchange).items()]
        if exchange.account is not None and not any(str(name).lower() == "authorization" for name, _ in headers):
            key = "OTHER_KEY" if is_other(exchange.account) else "KEY"
            bearer = self.naming.scheme(exchange.account) is Credentials.BEARER
            headers.insert(0, ["Authorization", Code(f'f"Bearer {{{key}}}"' if bearer else f"basic({key})")])
        body = self.naming.body(exchange)
        content = ""
        if body is not None:
            kind, value = body
            if kind == "json":
                headers.append(["Content-Type", "application/json"])
            shown = literal(value) if kind == "raw" else f"json.dumps({self._shown(value, indent=indent)}).encode()"
            content = f", {shown}"
        pairs = ", ".join(f"({literal(name)}, {literal(value)})" for name, value in headers)
        return f"raw({request.method!r}, {literal(target)}, [{pairs}]{content})"

    # ── tidying up ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _used_only(self, statements: list[str]) -> list[str]:
        """The statements, indented, without variables that nothing uses."""
        kept: list[str] = []
        later = ""
        for statement in reversed(statements):
            match = re.match(r"(r\d+|id\d+|now|other_now|hook\d+\.id|batch\d+) = ", statement)
            text: str | None = statement
            if match is not None and not re.search(rf"(?<![\w.]){re.escape(match[1])}\b", later):
                plain = statement[match.end() :]
                text = None if match[1].startswith(("id", "hook")) else plain
            if text is not None:
                kept.append(textwrap.indent(text, " " * self._indent))
                later += "\n" + text
        return kept[::-1]


def _called(what: str, arguments: list[str], indent: int) -> str:
    """A call, on one line where it fits."""
    flat = f"{what}({', '.join(arguments)})"
    if "\n" not in flat and indent + len(flat) <= WIDTH:
        return flat
    return f"{what}(\n" + "".join(f"    {_deeper(argument)},\n" for argument in arguments) + ")"


def _split(value: Json) -> tuple[Json, Json]:
    """A body without its `expires_at`, and that."""
    if isinstance(value, dict) and value.get("expires_at") is not None:
        return {name: item for name, item in value.items() if name != "expires_at"}, value["expires_at"]
    return value, None


def _key(value: Json) -> str:
    return repr(value)


def _deeper(text: str) -> str:
    return text.replace("\n", "\n    ")


def _plain(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", "?", text)
