import multiprocessing


def ask(mock, session_id):
    for _ in range(100):
        assert mock.call("GET", f"/checkout/sessions/{session_id}")["id"] == session_id


def test_forked_children_and_their_parent_each_get_their_own_answers(qashier_mock):
    mine, first, second = (qashier_mock.create_session()["id"] for _ in range(3))
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=ask, args=(qashier_mock, each)) for each in (first, second)]
    for child in children:
        child.start()
    ask(qashier_mock, mine)
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
