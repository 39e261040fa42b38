"""Two hosts serve one database on a third; whatever becomes of the networks between them, all keeps its promises."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from crash_harness import Pulse, Receiver, judge, pass_retries, writing
from hosts_harness import CUSTOMERS, HOSTS, Hosts, NotAllowed, several_hosts
from postgres_harness import stay_away
from store_harness import Place

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.soak

SECONDS = {"sample": 6, "full": 20}[os.environ.get("QASHIER_SOAK", "full")]
"""How long each trouble lasts; a process that is silent for five seconds is taken for dead."""
FIRST = HOSTS[0]


@pytest.fixture
def hosts(new_place: Callable[[str], Place]) -> Iterator[Hosts]:
    """Two hosts that serve one database."""
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need the program ip (iproute2), and there is none here")
    url = new_place("postgresql").url
    try:
        with several_hosts(f"qm{os.getpid()}") as hosts:
            hosts.serve(url)
            yield hosts
    except NotAllowed as error:
        pytest.skip(f"network namespaces are not allowed here: {error}")


def test_two_hosts_keep_their_promises_whatever_becomes_of_the_network(hosts: Hosts) -> None:
    """One is cut off from the database, then from its clients, then slowed to 200 ms."""
    pulse = Pulse()
    with hosts.inside("customers"), Receiver(pulse, host=CUSTOMERS) as receiver:
        with writing(hosts.urls, receiver, pulse, seed=10, is_refusal_certain=False) as writers:
            pulse.wait("answered", 50)
            for trouble in (
                hosts.cut_off(FIRST, "inner"),
                hosts.cut_off(FIRST, "outer"),
                hosts.slowed(FIRST, 0.2),
            ):
                with trouble:
                    stay_away(SECONDS)
                    pulse.wait("delivered", 10)  # the other host goes on, with the webhooks of all
                    pulse.wait("answered", 10)
                pulse.wait("answered", 50)
        for writer in writers:  # what one host acknowledged, the other one knows
            writer.url = hosts.urls[1 - hosts.urls.index(writer.url)]
        pass_retries(writers)  # of what the first one could not deliver while it was cut off
        judge(writers, receiver)
    checked = hosts.run(
        "customers",
        *("-m", "qashier_mock", "check", hosts.urls[0], "--max-time", f"{SECONDS * 2}s", "--strict"),
        *("--webhook-listen", f"{CUSTOMERS}:0"),
        env={"QASHIER_API_KEY": "sk_test_checker", "QASHIER_API_KEY_2": "sk_test_checker_2"},
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
