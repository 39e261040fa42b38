"""Judge a fresh mock by the contract tests: what `make contract` runs.

The mock is a process of its own on a free port. It is ours, so it is judged by the document to the letter, and every
clause is a hard one, an assumed one included; `qashier-mock check` asks no such thing of anybody. The exit code is 0 if
every clause was exercised and passed, 1 if not, and 2 if the mock did not start or could not be tested.
"""

import argparse
import json
import shutil
import subprocess
import sys
from typing import Final

from qashier_contract import Verdict, check
from qashier_contract.errors import CheckError
from qashier_contract.report import terminal

from qashier_mock.cli.colour import wants_colour

COMMAND: Final = (sys.executable, "-m", "qashier_mock", "serve", "--port", "0", "--log-format", "json", "--quiet")
# Seconds that a mock may take to stop once it was told to.
PATIENCE: Final = 20


def judge(url: str, options: argparse.Namespace) -> int:
    report = check(url, own=True, seed=options.seed, max_time_s=options.max_time)
    width = shutil.get_terminal_size().columns
    print(terminal.summary(report, colour=wants_colour(sys.stdout), width=width))
    left_out = [entry.clause.id for entry in report.clauses if not entry.exercised]
    if left_out:
        print(f"Not exercised, though our own mock allows every clause: {', '.join(left_out)}", file=sys.stderr)
    return 1 if left_out or report.verdict is not Verdict.PASSED else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge a fresh mock by the contract tests.")
    parser.add_argument("--seed", type=int, help="what is drawn is drawn from this; by default drawn, and printed")
    parser.add_argument("--max-time", type=float, default=120.0, help="the most that it takes, in seconds")
    options = parser.parse_args()
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as mock:
        try:
            ready = mock.stdout.readline() if mock.stdout else ""
            if not ready:
                print("The mock ended before it was ready; what it said stands above.", file=sys.stderr)
                return 2
            return judge(json.loads(ready)["url"], options)
        except CheckError as error:
            print(error, file=sys.stderr)
            return 2
        finally:
            mock.terminate()
            mock.wait(PATIENCE)


if __name__ == "__main__":
    sys.exit(main())
