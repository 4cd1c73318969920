"""Several requests at once in one environment, as on Managed Instances."""

import asyncio
import json
from dataclasses import replace

import pytest

from infra.toolchain.errors import UserError
from local.aws_lambda.runtime_state import INVOCATION_ID, ConcurrentCalls, Refused
from local.aws_lambda.service import LocalLambda, Outcome
from tests.support.local_lambda import function_config, write_package

pytestmark = pytest.mark.anyio

SLOTS = 3
# One thread for each slot, each with a connection of its own; RULE is what it does with an event.
FUNCTION = """
import threading
PARTIES = threading.Barrier(int(os.environ["AWS_LAMBDA_MAX_CONCURRENCY"]))

def slot():
    poll = http.client.HTTPConnection(HOST, int(PORT))
    while True:
        poll.request("GET", BASE + "/invocation/next")
        reply = poll.getresponse()
        event = json.loads(reply.read())
        if reply.status != 200:
            print("refused", event["errorType"], flush=True)
            return
        id = reply.headers["Lambda-Runtime-Aws-Request-Id"]
        if event == "exit":
            os._exit(3)
        elif event == "never":
            time.sleep(1.5)
        elif event == "together":
            PARTIES.wait(10)
        token = {"Lambda-Runtime-Invocation-Id": reply.headers["Lambda-Runtime-Invocation-Id"]}
        connection = http.client.HTTPConnection(HOST, int(PORT))
        path = f"{BASE}/invocation/{id}/response"
        connection.request("POST", path, json.dumps([event, os.getpid()]).encode(), token)
        print("answered", connection.getresponse().status, flush=True)

more = int(os.environ.get("MORE", "0"))
slots = [threading.Thread(target=slot) for _ in range(PARTIES.parties + more)]
for each in slots:
    each.start()
"""


def config_of(tmp_path, **changes):
    package = write_package(tmp_path / "package", FUNCTION)
    return function_config(package, concurrency=SLOTS, **changes)


async def ask(function, event):
    return await function.invoke(json.dumps(event).encode())


async def test_one_process_serves_as_many_at_once_as_it_may(tmp_path):
    async with LocalLambda(config_of(tmp_path), on_line=print) as function:
        await function.warm()
        answers = await asyncio.gather(*(ask(function, "together") for _ in range(SLOTS)))
        await function.settled()
        assert len(function.pids) == 1
    assert {json.loads(answer.payload)[1] for answer in answers} == {function.records[0].pid}
    assert all(record.outcome is Outcome.DONE for record in function.records)


async def test_one_more_starts_another_environment(tmp_path):
    async with LocalLambda(config_of(tmp_path), on_line=print) as function:
        await function.warm()
        await asyncio.gather(*(ask(function, "never") for _ in range(SLOTS + 1)))
        await function.settled()
        assert len(function.pids) == 2


async def test_requests_share_an_environment_that_starts(tmp_path):
    """As many as it has slots; the next one starts another environment."""
    async with LocalLambda(config_of(tmp_path), on_line=print) as function:
        await asyncio.gather(*(ask(function, "together") for _ in range(2 * SLOTS)))
        await function.settled()
        assert len(function.pids) == 2
    assert all(record.outcome is Outcome.DONE for record in function.records)
    assert sum(record.init_ms is not None for record in function.records) == 2


async def test_a_request_after_a_change_is_for_the_new_function(tmp_path):
    """Although the old one has room, and still answers."""
    config = config_of(tmp_path)
    async with LocalLambda(config, on_line=print) as function:
        await function.warm()
        old = asyncio.ensure_future(ask(function, "never"))
        await asyncio.sleep(0.2)
        await function.warm(replace(config))
        new = await ask(function, "now")
        assert json.loads(new.payload)[1] != json.loads((await old).payload)[1]


async def test_an_environment_is_not_idle_while_it_answers_one(tmp_path):
    async with LocalLambda(config_of(tmp_path, idle_s=0.2), on_line=print) as function:
        await function.warm()
        answers = await asyncio.gather(ask(function, "now"), ask(function, "never"))
    assert [answer.error for answer in answers] == [None, None]


async def test_the_end_waits_for_no_start(tmp_path):
    package = write_package(tmp_path / "package", "print('started')\ntime.sleep(60)")
    config = function_config(package, concurrency=SLOTS)
    lines = []
    async with asyncio.timeout(8):  # a start may take 10 s
        async with LocalLambda(config, on_line=lines.append) as function:
            waiting = asyncio.ensure_future(ask(function, "now"))
            while not lines:
                await asyncio.sleep(0.01)
    await asyncio.wait([waiting])


async def test_a_start_that_fails_fails_the_requests_that_share_it(tmp_path):
    package = write_package(tmp_path / "package", "sys.exit(3)")
    config = function_config(package, concurrency=SLOTS)
    async with LocalLambda(config, on_line=print) as function:
        answers = await asyncio.gather(*(ask(function, "now") for _ in range(SLOTS)))
        await function.settled()
    assert {answer.error.type for answer in answers} == {"Runtime.ExitError"}
    assert len(function.records) == SLOTS


async def test_a_second_start_serves_all_that_shared_the_first(tmp_path):
    """As on Lambda, a start that took too long begins again."""
    package = write_package(tmp_path / "package", "time.sleep(1)\n" + FUNCTION)
    config = function_config(package, concurrency=SLOTS, init_timeout_s=0.5)
    async with LocalLambda(config, on_line=print) as function:
        await asyncio.gather(*(ask(function, "together") for _ in range(SLOTS)))
        await function.settled()
        assert len(function.pids) == 1
    assert all(record.outcome is Outcome.DONE for record in function.records)


async def test_a_process_knows_that_it_runs_on_an_instance(tmp_path):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        respond(id, os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"])
        next_invocation()
        """,
    )
    async with LocalLambda(function_config(package, concurrency=2), on_line=print) as function:
        assert (await ask(function, 1)).payload == b'"lambda-managed-instances"'


def test_snapstart_is_not_combined_with_several_at_once(tmp_path):
    with pytest.raises(UserError, match="SnapStart and a concurrency of 2 can't be combined"):
        function_config(tmp_path, concurrency=2, snapstart=True)


async def test_a_timeout_ends_one_invocation_and_its_late_answer_is_refused(tmp_path):
    lines = []
    config = config_of(tmp_path, timeout_s=1)
    async with LocalLambda(config, on_line=lines.append) as function:
        await function.warm()
        late, answer = await asyncio.gather(ask(function, "never"), ask(function, "now"))
        assert late.error.type == "Sandbox.Timeout"
        assert answer.error is None
        while "answered 410" not in lines:
            await asyncio.sleep(0.01)
        answers = await asyncio.gather(*(ask(function, "together") for _ in range(SLOTS)))
        assert {json.loads(each.payload)[1] for each in answers} == set(function.pids)


async def test_an_exit_fails_all_that_the_process_has(tmp_path):
    async with LocalLambda(config_of(tmp_path), on_line=print) as function:
        await function.warm()
        others = [asyncio.ensure_future(ask(function, "never")) for _ in range(SLOTS - 1)]
        await asyncio.sleep(0.2)
        answers = await asyncio.gather(ask(function, "exit"), *others)
        assert {answer.error.type for answer in answers} == {"Runtime.ExitError"}
        await function.settled()
        assert (await ask(function, "now")).error is None


async def test_more_calls_of_next_than_slots_are_refused(tmp_path):
    lines = []
    config = config_of(tmp_path, environment={"MORE": "1"})
    async with LocalLambda(config, on_line=lines.append) as function:
        await function.warm()
        while "refused InvalidStateTransition" not in lines:
            await asyncio.sleep(0.01)
        assert (await ask(function, "now")).error is None


def running(slots, *ids):
    calls = ConcurrentCalls(slots)
    for name in ids:
        calls.next()
        calls.hand_out(name, f"{name}-token")
    return calls


def answer(calls, name, token=None):
    calls.answer(name, {INVOCATION_ID: token or f"{name}-token"})


def test_a_slot_takes_one_invocation_at_a_time():
    calls = running(2, "a", "b")
    with pytest.raises(Refused, match="all 2 slots"):
        calls.next()
    with pytest.raises(Refused, match="no slot waits"):
        calls.hand_out("c")
    answer(calls, "b")
    with pytest.raises(Refused, match="all 2 slots"):
        calls.next()
    calls.answered("b")
    calls.next()


def test_each_answer_belongs_to_its_own_invocation():
    calls = running(2, "a", "b")
    for name, token in [("c", None), ("a", "b-token"), ("", None)]:
        with pytest.raises(Refused, match="equest ID|another one"):
            answer(calls, name, token)
    answer(calls, "a")
    with pytest.raises(Refused, match="InvocationResponse to InvocationResponse"):
        answer(calls, "a")
    calls.answered("a")
    answer(calls, "b")


def test_a_timeout_frees_the_slot_and_shuts_the_answer_out():
    calls = running(1, "a")
    calls.time_out("a")
    with pytest.raises(Refused, match="Invoke timeout"):
        answer(calls, "a")
    calls.next()
    calls.hand_out("b", "b-token")
    answer(calls, "b")


def test_a_timeout_shuts_out_an_answer_that_has_begun():
    calls = running(1, "a")
    answer(calls, "a")
    calls.time_out("a")
    with pytest.raises(Refused, match="Invoke timeout"):
        calls.answered("a")
    calls.next()


def test_an_init_cannot_fail_once_a_slot_waits():
    calls = ConcurrentCalls(2)
    calls.next()
    with pytest.raises(Refused):
        calls.fail_init()
    failed = ConcurrentCalls(2)
    failed.fail_init()
    with pytest.raises(Refused):
        failed.next()
