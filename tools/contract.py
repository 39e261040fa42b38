"""Judge a fresh mock by the contract tests, strictly: what `make contract` runs.

The mock is a process of its own on a free port, started and judged through the command line, as a user would. Further
arguments go to `qashier-mock check`.
"""

import json
import subprocess
import sys
from typing import Final

COMMAND: Final = (sys.executable, "-m", "qashier_mock")
# Seconds that a mock may take to stop once it was told to.
PATIENCE: Final = 20


def main() -> int:
    serve = [*COMMAND, "serve", "--port", "0", "--log-format", "json"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as mock:
        try:
            ready = mock.stdout.readline() if mock.stdout else ""
            if not ready:
                print("The mock ended before it was ready; what it said stands above.", file=sys.stderr)
                return 2
            check = [*COMMAND, "check", json.loads(ready)["url"], "--strict", *sys.argv[1:]]
            return subprocess.run(check, check=False).returncode
        finally:
            mock.terminate()
            mock.wait(PATIENCE)


if __name__ == "__main__":
    sys.exit(main())
