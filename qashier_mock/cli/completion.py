"""`qashier-mock completion`: a script that completes commands and options in bash, zsh or fish."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Final

from qashier_mock.cli import COMMANDS, DONE, CommandError
from qashier_mock.cli.options import Option, choice, parse

SHELLS: Final = ("bash", "zsh", "fish")


def run(_name: str, arguments: Sequence[str]) -> int:
    """Print the script of a shell."""
    description = 'Print a completion script. bash, zsh: eval "$(qashier-mock completion bash)"; fish: … | source.'
    options = parse("completion", description, (), arguments, positionals={"shell": " or ".join(SHELLS)})
    try:
        shell = choice(options.shell, of=SHELLS)
    except ValueError as error:
        raise CommandError(f"shell: {error}") from None
    print(_SCRIPTS[shell](_table()), end="")  # noqa: T201 - a command prints
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


def _bash(table: Mapping[str, Sequence[Option]]) -> str:
    cases = "\n".join(f'    {name}) words="{" ".join(_words(options))}" ;;' for name, options in table.items())
    return f"""_qashier_mock() {{
  local words current="${{COMP_WORDS[COMP_CWORD]}}"
  case "$COMP_CWORD:${{COMP_WORDS[1]}}" in
    1:*) words="{" ".join(table)} --help --version" ;;
    *) case "${{COMP_WORDS[1]}}" in
{cases}
    esac ;;
  esac
  if [[ $current == -* || $COMP_CWORD == 1 ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
}}
complete -o default -F _qashier_mock qashier-mock
"""


def _zsh(table: Mapping[str, Sequence[Option]]) -> str:
    commands = " ".join(shlex.quote(f"{name}:{COMMANDS[name][1]}") for name in table)
    arguments = {name: " ".join(map(_zsh_word, options)) for name, options in table.items()}
    cases = "\n".join(f"    {name}) _arguments {words} '*:file:_files' ;;" for name, words in arguments.items())
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
    value = "" if option.is_flag else f":{option.metavar or 'value'}:_files"
    repeats = "*" if option.is_repeatable else ""
    return f"'{repeats}--{option.name}[{said}]{value}'"


def _fish(table: Mapping[str, Sequence[Option]]) -> str:
    lines = ["complete -c qashier-mock -n __fish_use_subcommand -f"]
    for name, options in table.items():
        lines.append(f"complete -c qashier-mock -n __fish_use_subcommand -a {name} -d {_fish_text(COMMANDS[name][1])}")
        for option in options:
            takes = "" if option.is_flag else " -r"
            condition = f"'__fish_seen_subcommand_from {name}'"
            lines.append(
                f"complete -c qashier-mock -n {condition} -l {option.name}{takes} -d {_fish_text(option.help)}"
            )
    return "\n".join(lines) + "\n"


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SCRIPTS: Final[Mapping[str, Callable[[Mapping[str, Sequence[Option]]], str]]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
