import pytest

RUN = ("-p", "pytest_socket", "-p", "qashier_mock.pytest_plugin", "--disable-socket")


@pytest.fixture(autouse=True)
def _project(pytester):
    pytester.makepyfile("def test_it(qashier_mock): qashier_mock.create_session()")


def test_forbidden_sockets_are_told_in_a_line(pytester):
    result = pytester.runpytest_subprocess(*RUN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*this run forbids sockets*add --allow-hosts=127.0.0.1*"])
    assert "Traceback" not in result.stdout.str()
    assert "pytest_plugin.py" not in result.stdout.str()


def test_what_the_line_says_to_do_is_enough(pytester):
    pytester.runpytest_subprocess(*RUN, "--allow-hosts=127.0.0.1").assert_outcomes(passed=1)
