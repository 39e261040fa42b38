"""Options from four places: the command line, the environment, a configuration file, and defaults, in that order.

An option `--webhook-url` of `serve` is `QASHIER_MOCK_SERVE_WEBHOOK_URL` in the environment, and `webhook-url` in the
table `[tool.qashier-mock.serve]` of the nearest `pyproject.toml` or `qashier-mock.toml`. A name that no option has is
an error wherever it stands.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Final

from qashier_mock.cli import CommandError
from qashier_mock.cli.values import choice, host, integer

FILES: Final = ("qashier-mock.toml", "pyproject.toml")
"""Where configuration may stand, in order of preference within one folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a command.

    Attributes:
        name: As on the command line, without the dashes.
        default: Its value when nobody says anything; an empty tuple for a repeatable one.
        written: Value to text, as it could be typed.
        parse: Text to value; raises ValueError with a message that says what would be right.
        is_flag: Takes no value.
        is_repeatable: May be given several times; a list in a file, blank-separated in the environment.
        offers: What a shell may complete its value to, where `metavar` does not name the choices.
    """

    name: str
    help: str
    short: str | None = None
    metavar: str | None = None
    default: Any = None
    parse: Callable[[str], Any] = str
    written: Callable[[Any], str] = str
    is_flag: bool = False
    is_repeatable: bool = False
    offers: Callable[[], Iterable[str]] = tuple

    @property
    def key(self) -> str:
        """The attribute of the parsed options."""
        return self.name.replace("-", "_")

    @property
    def words(self) -> tuple[str, ...]:
        """What a shell may complete its value to: of `URL|none|auto`, the words in small letters."""
        choices = (self.metavar or "").split("|")
        named = [word for word in choices if (len(choices) > 1 and word != word.upper()) or word[:1].isdigit()]
        return (*named, *self.offers())


Flag: Final = partial(Option, is_flag=True, default=False)
"""An option without a value."""

Repeatable: Final = partial(Option, is_repeatable=True, default=())
"""An option that may be given several times."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise CommandError(f"{message}. See qashier-mock {self.prog.split()[-1]} --help.")


def parse(
    command: str,
    description: str,
    options: Sequence[Option],
    arguments: Sequence[str],
    *,
    positionals: Sequence[Option] = (),
) -> argparse.Namespace:
    """The options of a command, from what was typed behind its name and from the other three places.

    No positional may be left out. The nearest configuration file is looked for from the working directory on.

    Raises:
        CommandError: An unknown name or an impossible value, wherever it stands.
        SystemExit: Help was asked for and has been printed.
    """
    parser = _Parser(prog=f"qashier-mock {command}", description=description, allow_abbrev=False)
    for each in positionals:
        parser.add_argument(each.key, help=each.help, metavar=each.name.upper(), type=_converter(each))
    for option in options:
        _declare(parser, option)
    typed, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        raise CommandError(f"{_unknown(unknown, options)} See {parser.prog} --help.")
    layers = [
        _from_environment(command, options, os.environ),
        _from_file(command, options, _working_folder()),
    ]
    for option in options:
        if getattr(typed, option.key) is not None:
            continue
        found = next((layer[option.key] for layer in layers if option.key in layer), option.default)
        setattr(typed, option.key, found)
    return typed


def _working_folder() -> Path:
    """Where to begin looking for a configuration file; the root where the working folder was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def _unknown(typed: Sequence[str], options: Sequence[Option]) -> str:
    name = next((each for each in typed if each.startswith("-")), None)
    if name is None:
        return f"unexpected argument: {typed[0]}."
    name = name.partition("=")[0]
    near = get_close_matches(name, [f"--{option.name}" for option in options], n=1)
    return f"there is no option {name}; did you mean {near[0]}?" if near else f"there is no option {name}."


def _declare(parser: argparse.ArgumentParser, option: Option) -> None:
    names = [f"-{option.short}"] if option.short else []
    names.append(f"--{option.name}")
    text = option.help
    if option.default not in (None, (), False):
        text += " (on by default)" if option.is_flag else f" (default {option.default})"
    text = text.replace("%", "%%")
    if option.is_flag:
        parser.add_argument(*names, help=text, action=argparse.BooleanOptionalAction, default=None)
        return
    action = "append" if option.is_repeatable else "store"
    parser.add_argument(*names, help=text, action=action, type=_converter(option), metavar=option.metavar, default=None)


def _converter(option: Option) -> Callable[[str], Any]:
    def convert(value: str) -> Any:
        try:
            return option.parse(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


_SERVICE_LINK: Final = re.compile(
    r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|PORT=(tcp|udp|sctp)://."
)
"""A variable, without our prefix, that Kubernetes and Docker set for a service that is named like us, such as
`QASHIER_MOCK_SERVE_PORT=tcp://10.0.0.1:4010` for `qashier-mock-serve`."""


def _from_environment(command: str, options: Sequence[Option], environ: Mapping[str, str]) -> dict[str, Any]:
    prefix = f"QASHIER_MOCK_{command.upper()}_"
    by_name = {prefix + option.key.upper(): option for option in options}
    found: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(prefix) or _SERVICE_LINK.match(f"{name.removeprefix(prefix)}={text}"):
            continue
        option = by_name.get(name)
        if option is None:
            raise CommandError(f"the environment has {name}, which is not an option{_nearest(name, by_name)}")
        flag = _WORDS.get(text.strip().lower(), text) if option.is_flag else text
        found[option.key] = _configured(option, text.split() if option.is_repeatable else flag, name)
    return found


_WORDS: Final = {**dict.fromkeys(("1", "true", "yes", "on"), True), **dict.fromkeys(("0", "false", "no", "off"), False)}


def _value(option: Option, value: str, where: str) -> Any:
    try:
        return option.parse(value)
    except ValueError as error:
        raise CommandError(f"{where}: {error}") from None


def _from_file(command: str, options: Sequence[Option], folder: Path) -> dict[str, Any]:
    path, tables = _nearest_tables(folder)
    if path is None:
        return {}
    from qashier_mock.cli import COMMANDS  # noqa: PLC0415 - the commands import this module

    for name in tables:
        if name not in COMMANDS:
            raise CommandError(f"{path}: [tool.qashier-mock.{name}] names no command{_nearest(name, COMMANDS)}")
    table = tables.get(command, {})
    if not isinstance(table, dict):
        raise CommandError(f"{path}: tool.qashier-mock.{command} must be a table")
    by_name = {option.name: option for option in options}
    found: dict[str, Any] = {}
    for name, value in table.items():
        option = by_name.get(str(name).replace("_", "-"))
        where = f"{path}: {name} in [tool.qashier-mock.{command}]"
        if option is None:
            raise CommandError(f"{where} is not an option{_nearest(str(name), by_name)}")
        found[option.key] = _configured(option, value, where)
    return found


def _configured(option: Option, value: Any, where: str) -> Any:
    if option.is_flag:
        if not isinstance(value, bool):
            raise CommandError(f"{where} must be true or false, not {value!r}")
        return value
    if option.is_repeatable:
        if not isinstance(value, list):
            raise CommandError(f"{where} must be a list, not {value!r}")
        return [_value(option, str(each), where) for each in value]
    if isinstance(value, bool | list | dict):
        raise CommandError(f"{where} must be a single value, not {value!r}")
    return _value(option, str(value), where)


def _nearest_tables(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """The nearest file that speaks of us, and its tables by command."""
    for place in (folder, *folder.parents):
        for name in FILES:
            path = place / name
            if not path.is_file():
                continue
            import tomllib  # noqa: PLC0415 - most runs have no file

            try:
                content = tomllib.loads(path.read_text("utf-8"))
            except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
                raise CommandError(f"{path} cannot be read: {error}") from None
            tool = content.get("tool")
            tables = tool.get("qashier-mock") if isinstance(tool, dict) else None
            _refuse_misplaced(path, content)
            if isinstance(tables, dict):
                return path, tables
            if tables is not None:
                raise CommandError(f"{path}: tool.qashier-mock must be a table")
    return None, {}


def _refuse_misplaced(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse what can only be meant for us and stands where nobody looks."""
    tools = content.get("tool", {})
    tools = tools if isinstance(tools, dict) else {}
    wrong = [f"tool.{name}" for name in tools if name != "qashier-mock" and _folded(name) == "qashiermock"]
    if path.name == FILES[0]:
        wrong += [name for name in content if name != "tool"]
        wrong += [f"tool.{name}" for name in tools if name != "qashier-mock" and f"tool.{name}" not in wrong]
    if wrong:
        raise CommandError(f"{path}: nobody reads {wrong[0]}; the options of serve stand in [tool.qashier-mock.serve]")


def _folded(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"


def given(options: Sequence[Option], values: argparse.Namespace, *, without: Sequence[str] = ()) -> tuple[str, ...]:
    """The words that would give a command these values; what is as by default needs none."""
    words: list[str] = []
    for option in options:
        value = getattr(values, option.key)
        if option.name in without or value == option.default or value is None:
            continue
        if option.is_flag:
            words.append(f"--{option.name}" if value else f"--no-{option.name}")
            continue
        for one in value if option.is_repeatable else (value,):
            words += [f"--{option.name}", option.written(one)]
    return tuple(words)


def one_of(name: str, *words: str, help: str) -> Option:  # noqa: A002 - as in `Option`
    """An option that takes one of some words, by default the first."""
    return Option(name=name, metavar="|".join(words), default=words[0], parse=partial(choice, of=words), help=help)


HOST: Final = Option(name="host", short="H", metavar="HOST", default="127.0.0.1", parse=host, help="where to listen")
PORT: Final = partial(
    Option,
    name="port",
    short="p",
    metavar="PORT",
    parse=partial(integer, at_least=0, at_most=65_535, what="the port"),
    help="the port to listen on; 0 picks a free one",
)
POLICY: Final = Option(
    name="policy", metavar="FILE", help="a TOML file with answers to what the documentation leaves open"
)
SEED: Final = partial(
    Option, name="seed", metavar="N", parse=partial(integer, at_least=0, at_most=2**53 - 1, what="the seed")
)
