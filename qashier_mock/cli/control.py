"""`qashier-mock pay | fail | cancel | events | resend | advance | trigger`: the control API from a shell."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from qashier_mock.cli import DONE, CommandError
from qashier_mock.cli.keys import DEFAULT_KEY, KEY_FILE, VARIABLE, account_key
from qashier_mock.cli.options import Option, parse
from qashier_mock.cli.values import choice, duration, http_url
from qashier_mock.client import MockAccount
from qashier_mock.connections import MockError, MockRefused, MockUnreachable
from qashier_mock.core.credentials import hint_of

DEFAULT_URL: Final = "http://127.0.0.1:4010"
EVENTS: Final = ("checkout.session.completed", "checkout.session.expired")

_BACK: Final = re.compile(r"-\d")

_KEY_HINT: Final = f" {VARIABLE} is not set, so this looked in the account of {DEFAULT_KEY}."

URL: Final = Option(name="url", metavar="URL", default=DEFAULT_URL, parse=http_url, help="where the mock is")
OPTIONS: Final = (URL, KEY_FILE)

_ID: Final = Option(name="id", help="the id of a session")
_HELP: Final[Mapping[str, tuple[str, Sequence[Option]]]] = {
    "pay": ("Pay a session, as the customer; prints the session.", (_ID,)),
    "fail": ("Let the payment of a session fail; it stays open. Prints the session.", (_ID,)),
    "cancel": ("Cancel the payment of a session; it stays open. Prints the session.", (_ID,)),
    "events": ("Print every event so far, oldest first.", ()),
    "resend": (
        "Send an event again to every endpoint; prints the attempts.",
        (Option(name="id", help="the id of an event"),),
    ),
    "advance": (
        "Move the account's clock forward, with all that falls due; prints the clock and what expired.",
        (Option(name="duration", parse=duration, help="how far: 90s, 30m, 25h, 1h30m"),),
    ),
    "trigger": (
        "Make a sample session and take it to an event; prints the event.",
        (Option(name="event", parse=partial(choice, of=EVENTS), help=" or ".join(EVENTS)),),
    ),
}


def run(name: str, arguments: Sequence[str]) -> int:
    """Act on the account of QASHIER_API_KEY (default sk_test_default), and print what came of it as JSON."""
    description, positionals = _HELP[name]
    if name == "advance" and (back := next((each for each in arguments if _BACK.match(each)), None)):
        raise CommandError(f"{back}: a clock only moves forward. Use another key: its account has a clock of its own.")
    note = f" The account is that of {VARIABLE}, by default {DEFAULT_KEY}; it is named on stderr."
    options = parse(name, description + note, OPTIONS, arguments, positionals=positionals)
    key = account_key(options.api_key_file)
    try:
        with MockAccount(options.url, key) as account:
            result = _act(name, account, options)
            print(f"account of {hint_of(key)}", file=sys.stderr)  # noqa: T201
    except MockUnreachable as error:
        raise CommandError(
            f"{error}. Is a mock running there? Start one with qashier-mock serve, or give --url."
        ) from None
    except MockRefused as error:
        raise CommandError(f"{error}{_KEY_HINT if _is_about_the_key(error, key) else ''}") from None
    except (MockError, ValueError) as error:
        raise CommandError(str(error)) from None
    print(json.dumps(result, indent=2, ensure_ascii=False))  # noqa: T201 - a command prints
    return DONE


def _is_about_the_key(error: MockRefused, key: str) -> bool:
    """Whether what was not found may be in another account than the one that nobody chose."""
    return error.code in {"session_not_found", "not_found"} and key == DEFAULT_KEY


def _act(name: str, account: MockAccount, options: Any) -> Any:
    match name:
        case "advance":
            return account.advance(seconds=options.duration)
        case "trigger":
            return _trigger(account, options.event)
        case "events":
            return account.events
        case "resend":
            return account.deliver_again(options.id)
        case _:
            return getattr(account, name)(options.id)


def _trigger(account: MockAccount, event: str) -> Any:
    session = account.create_session()
    if event == EVENTS[0]:
        account.pay(session["id"])
    else:
        account.expire_session(session["id"])
    return next(each for each in account.events if each["data"]["object"]["id"] == session["id"])
