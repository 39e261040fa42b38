import anyio
import pytest

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def told(qashier_mock):
    bodies = []

    async def app(_scope, receive, send):
        bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    qashier_mock.deliver_webhooks_to(app)
    return bodies


async def test_an_application_is_told_in_process_whatever_loop_the_test_runs_in(qashier_mock, told):
    qashier_mock.pay(qashier_mock.create_session())
    await qashier_mock.aflush()
    assert len(told) == 1


async def test_waiting_in_a_task_says_what_to_await(qashier_mock):
    qashier_mock.deliver_webhooks_to("http://127.0.0.1:9/hook")
    qashier_mock.pay(qashier_mock.create_session())
    with pytest.raises(RuntimeError, match="aflush"):
        qashier_mock.flush()
    await anyio.lowlevel.checkpoint()
