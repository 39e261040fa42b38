import pytest


@pytest.mark.parametrize(("how", "outcome"), [("", {"errors": 1}), ("thread=False", {"passed": 1})])
def test_patched_threads_are_told_in_a_line(pytester, how, outcome):
    pytester.makepyfile("def test_it(qashier_mock): qashier_mock.create_session()")
    pytester.makeconftest(f"import eventlet; eventlet.monkey_patch({how})")
    result = pytester.runpytest_subprocess("-p", "qashier_mock.pytest_plugin", timeout=60)
    result.assert_outcomes(**outcome)
    if "errors" in outcome:
        result.stdout.fnmatch_lines(["*eventlet.monkey_patch has patched threading*monkey_patch(thread=False)*"])
        assert "Traceback" not in result.stdout.str()
