"""A server that is killed and served again, run as a program by the tests: `serve_again.py STORE COUNT`.

It binds a port, imports all that a server needs, and forks COUNT servers. For each line `kill N` on its standard input
it kills the Nth with SIGKILL and forks another one, so that a restart costs no imports and clients keep the address;
for `pid N` it tells the process id; at the end of the input it stops all. Each answer is one line.

SIGUSR1 sets the calendar of a server an hour back, SIGUSR2 an hour forward.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import NoReturn

from qashier_mock.address import Listener, bind, url_of
from qashier_mock.app import MockApp, Settings
from qashier_mock.machine import MachineClock, wall
from qashier_mock.server import Server, new_event_loop
from qashier_mock.stores.factory import open_store

HOUR = 3_600


def serve(listener: Listener, store: str, ready: int) -> NoReturn:
    """Be a server, until SIGTERM or SIGKILL."""
    code = 1
    try:
        shift = 0

        def set_calendar(which: int, _frame: object) -> None:
            nonlocal shift
            shift += -HOUR if which == signal.SIGUSR1 else HOUR

        for each in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(each, set_calendar)
        app = MockApp(Settings(seed=7), store=open_store(store), clock=MachineClock(wall=lambda: wall() + shift))
        app.listen_on(url_of(listener), host="127.0.0.1")

        async def main() -> None:
            await app.open()
            server = Server(app)

            def stop() -> None:
                server.should_exit = True

            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
            serving = await server.begin(listener)
            if server.started:
                os.write(ready, b".")
            await serving

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def start(listener: Listener, store: str) -> int:
    """Fork a server and wait until it can answer."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        sys.stdin.close()
        serve(listener, store, writing)
    os.close(writing)
    if os.read(reading, 1) != b".":
        sys.exit("a server could not start")
    os.close(reading)
    return pid


def main(store: str, count: str) -> None:
    """Obey."""
    listener = bind("127.0.0.1", 0)
    pids = [start(listener, store) for _ in range(int(count))]
    print(url_of(listener), flush=True)  # noqa: T201
    for line in sys.stdin:
        command, number = line.split()
        place = int(number)
        if command == "kill":
            os.kill(pids[place], signal.SIGKILL)
            os.waitpid(pids[place], 0)
            pids[place] = start(listener, store)
        print(pids[place], flush=True)  # noqa: T201
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    sys.exit(max(codes))


if __name__ == "__main__":
    main(*sys.argv[1:])
