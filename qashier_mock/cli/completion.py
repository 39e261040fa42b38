"""`qashier-mock completion`: a script that completes commands, options and their values in bash, zsh or fish."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Final

from qashier_mock.cli import COMMANDS, DONE
from qashier_mock.cli.control import EVENTS
from qashier_mock.cli.options import Option, parse
from qashier_mock.cli.values import choice

SHELLS: Final = ("bash", "zsh", "fish")
ARGUMENTS: Final[Mapping[str, Sequence[str]]] = {"trigger": EVENTS, "completion": SHELLS}
"""What may stand behind a command that takes one of some words."""


def run(_name: str, arguments: Sequence[str]) -> int:
    """Print the script of a shell."""
    description = 'Print a completion script. bash, zsh: eval "$(qashier-mock completion bash)"; fish: … | source.'
    shell = Option(name="shell", parse=partial(choice, of=SHELLS), help=" or ".join(SHELLS))
    options = parse("completion", description, (), arguments, positionals=(shell,))
    print(_SCRIPTS[options.shell](_table()), end="")  # noqa: T201 - a command prints
    return DONE


def _table() -> Mapping[str, Sequence[Option]]:
    """The options of every command."""
    modules = {name: import_module(f"qashier_mock.cli.{module}") for name, (module, _) in COMMANDS.items()}
    return {name: getattr(module, "OPTIONS", ()) for name, module in modules.items()}


def _words(options: Sequence[Option]) -> list[str]:
    words = []
    for option in options:
        words.append(f"--{option.name}")
        if option.is_flag:
            words.append(f"--no-{option.name}")
    return [*words, "--help"]


def _takes_file(option: Option) -> bool:
    return (option.metavar or "").endswith("FILE")


def _bash(table: Mapping[str, Sequence[Option]]) -> str:
    cases = "\n".join(f'    {name}) words="{" ".join(_words(options))}" ;;' for name, options in table.items())
    values = "\n".join(
        f"    {name}:--{option.name}) values={shlex.quote(' '.join(option.words))} ;;"
        for name, options in table.items()
        for option in options
        if option.words
    )
    values += "".join(f"\n    {name}:*) values={shlex.quote(' '.join(of))} ;;" for name, of in ARGUMENTS.items())
    return f"""_qashier_mock() {{
  local words values current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
  case "$COMP_CWORD:${{COMP_WORDS[1]}}" in
    1:*) words="{" ".join(table)} --help --version"; values="$words" ;;
    *) case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    case "${{COMP_WORDS[1]}}:$before" in
{values}
    esac ;;
  esac
  [[ $current == -* ]] || words="$values"
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  [[ ${{COMPREPLY[0]-}} != *[=/] ]] || compopt -o nospace
}}
complete -o default -F _qashier_mock qashier-mock
"""


def _zsh(table: Mapping[str, Sequence[Option]]) -> str:
    commands = " ".join(shlex.quote(f"{name}:{COMMANDS[name][1]}") for name in table)
    arguments = {name: " ".join([*map(_zsh_word, options), _zsh_argument(name)]) for name, options in table.items()}
    cases = "\n".join(f"    {name}) _arguments {words} ;;" for name, words in arguments.items())
    return f"""#compdef qashier-mock
_qashier_mock() {{
  local -a commands=({commands})
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
{cases}
  esac
}}
compdef _qashier_mock qashier-mock
"""


def _zsh_word(option: Option) -> str:
    said = option.help.replace("'", "").replace("[", "(").replace("]", ")").replace(":", ";")
    value = "" if option.is_flag else f":{option.metavar or 'value'}:{_zsh_action(option)}"
    repeats = "*" if option.is_repeatable else ""
    return f"'{repeats}--{option.name}[{said}]{value}'"


def _zsh_action(option: Option) -> str:
    if option.words:
        return "(" + " ".join(word.replace(":", "\\:") for word in option.words) + ")"
    return "_files" if _takes_file(option) else " "


def _zsh_argument(command: str) -> str:
    return f"':argument:({' '.join(ARGUMENTS[command])})'" if command in ARGUMENTS else "'*:file:_files'"


def _fish(table: Mapping[str, Sequence[Option]]) -> str:
    lines = ["complete -c qashier-mock -n __fish_use_subcommand -f"]
    for name, options in table.items():
        lines.append(f"complete -c qashier-mock -n __fish_use_subcommand -a {name} -d {_fish_text(COMMANDS[name][1])}")
        condition = f"complete -c qashier-mock -n '__fish_seen_subcommand_from {name}'"
        if name in ARGUMENTS:
            lines.append(f"{condition} -f -a {_fish_text(' '.join(ARGUMENTS[name]))}")
        lines += [
            f"{condition} -l {option.name}{_fish_value(option)} -d {_fish_text(option.help)}" for option in options
        ]
    return "\n".join(lines) + "\n"


def _fish_value(option: Option) -> str:
    if option.is_flag:
        return ""
    if option.words:
        return f" -x -a {_fish_text(' '.join(option.words))}"
    return " -r -F" if _takes_file(option) else " -x"


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SCRIPTS: Final[Mapping[str, Callable[[Mapping[str, Sequence[Option]]], str]]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
