"""What a command needs beyond the plain installation."""

from __future__ import annotations

from importlib.util import find_spec

from qashier_mock.cli import CommandError


def needs_contract(command: str) -> None:
    """Refuse to go on without the packages of the extra `contract`.

    Raises:
        CommandError: One is missing; the message says what to install.
    """
    missing = [name for name in ("hypothesis", "schemathesis") if not find_spec(name)]
    if missing:
        raise CommandError(
            f"{command} needs {', '.join(missing)}, which this installation does not have: "
            "pip install 'qashier-mock[contract]'"
        )
