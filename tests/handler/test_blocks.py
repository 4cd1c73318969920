"""A bot that blocks the event loop which it shares with other invocations: what is logged, when the
process ends, and what is never taken for a block. The real package with its real limits."""

import asyncio
import json
import os
import re
import signal
import threading
import time
from contextlib import asynccontextmanager

import pytest

from handler.__main__ import BadEnvironment, _block_limit
from handler.log import errors, lines, records
from handler.runtime import blocks
from handler.runtime.blocks import BlockWatch, Notices, RunningTime
from handler.runtime.deadlines import BLOCK_BEAT, BLOCK_LIMIT
from tests.handler.test_many import asking, in_seconds, text_of
from tests.support.package import KEY, started
from tests.support.runtime_api import function_url_event

pytestmark = pytest.mark.anyio

SLOTS = 8
BOT = '''
import asyncio, re, sys, threading, time
import fastapi_poe as fp

TEXT = "a user's message"

def first(seconds):
    time.sleep(seconds)

def second(seconds):
    time.sleep(seconds)

def grown(least):
    """A text for which the search takes so long, without letting another thread run."""
    for size in range(20, 40):
        text, began = "a" * size, time.process_time()
        re.match("(a+)+b", text)
        if time.process_time() - began > least:
            return text

class Bot(fp.PoeBot):
    async def get_response(self, request):
        word, _, seconds = request.query[-1].content.partition(" ")
        yield fp.PartialResponse(text="begun")
        if word == "first":
            first(float(seconds))
        elif word == "second":
            second(float(seconds))
        elif word == "late":  # on the loop's own account
            asyncio.get_running_loop().call_later(0.1, first, float(seconds))
        elif word == "search":
            re.match("(a+)+b", TEXTS[0])
        elif word == "leave":
            async def leave():
                sys.exit(3)
            self.task = asyncio.create_task(leave())
        elif word == "threads":
            yield fp.PartialResponse(text=str(sorted(each.name for each in threading.enumerate())))
            return
        await asyncio.sleep(0.2 if word != "wait" else 60)
        yield fp.PartialResponse(text=" and whole")

    async def on_feedback(self, feedback_request):
        await asyncio.sleep(60)

TEXTS = []
bot = Bot()
'''
FEEDBACK = function_url_event(
    headers={"authorization": f"Bearer {KEY}"},
    body=json.dumps(
        {"type": "report_feedback", "version": "1.2", "feedback_type": "like"}
        | {"user_id": "u", "conversation_id": "c", "message_id": "m"}
    ),
)


@pytest.fixture(scope="module")
def package(build_with_bot):
    return build_with_bot(BOT)


@asynccontextmanager
async def serving(package, python, slots=SLOTS, **variables):
    environment = {"POE_ACCESS_KEY": KEY, "AWS_LAMBDA_MAX_CONCURRENCY": str(slots), **variables}
    async with started(package, python, environment, concurrency=slots) as process:
        await process.double.idle(slots)
        yield process


async def written(process):
    """What it has logged until now: no more comes after the line of this invocation."""
    answer = await process.double.ask(asking("last"))
    found = []
    while not found or found[-1].get("requestId") != answer.id or "outcome" not in found[-1]:
        found.append(json.loads(await process.line()))
    return found


def warnings_in(found):
    return [line for line in found if line.get("logger") == blocks.__name__]


def line_of(text, nth=0):
    """The number of the line of the bot that has `text`."""
    return [number for number, line in enumerate(BOT.split("\n"), 1) if text in line][nth]


async def test_a_bot_that_blocks_gets_one_line_with_the_place_and_what_to_do(
    package, runtime_python
):
    async with serving(package, runtime_python) as process:
        ask = process.double.ask
        others = [ask(asking("other")) for _ in range(SLOTS - 2)]
        blocking, *answers = await asyncio.gather(ask(asking("first 3")), *others)
        assert {text_of(answer) for answer in (blocking, *answers)} == {"begun and whole"}
        [line] = warnings_in(await written(process))
    place = f"bot/bot.py:{line_of('time.sleep')} in first"
    assert re.match(rf"the bot has blocked the event loop for 1\.. s at {place},", line["message"])
    assert "`await asyncio.to_thread(…)`" in line["message"]
    assert line["requestId"] == blocking.id
    assert line["stackTrace"][-2:] == [
        f"bot/bot.py:{line_of('first(float')} in get_response",
        place,
    ]
    assert not any("__main__" in place for place in line["stackTrace"])
    assert "traceback" not in line


async def test_after_the_limit_all_are_told_and_the_process_ends(package, runtime_python):
    """With the limit as it comes: long before any deadline."""
    async with serving(package, runtime_python) as process:
        ask = process.double.ask
        reports = [asyncio.ensure_future(ask(FEEDBACK)) for _ in range(2)]
        waiting = [asyncio.ensure_future(ask(asking("wait"))) for _ in range(SLOTS - 4)]
        await asyncio.sleep(0.3)
        blocking = await ask(asking("first 60"))
        waiting, reports = await asyncio.gather(*waiting), await asyncio.gather(*reports)
        status, found = await process.end()
    begun = [blocking, *waiting]
    assert {answer.kind for answer in begun} == {"response"}
    assert {answer.error["errorType"] for answer in begun} == {"EventLoopBlocked"}
    assert {report.kind for report in reports} == {"error"}
    assert {json.loads(report.body)["errorType"] for report in reports} == {"EventLoopBlocked"}
    assert status == 1
    ended = [line for line in found if "outcome" in line]
    assert {line["outcome"] for line in ended} == {"deadline"}
    assert all(line["DeadlineEndings"] == 1 for line in ended)
    assert sorted(line["requestId"] for line in ended) == sorted(
        answer.id for answer in (*begun, *reports)
    )
    [fatal] = [line for line in found if line["level"] == "FATAL"]
    place = f"bot/bot.py:{line_of('time.sleep')} in first"
    assert fatal["message"].startswith(f"the bot has blocked the event loop for 5 s at {place}")
    end = f": this process ends with its {len(ended)} answers, another one takes over"
    assert fatal["message"].endswith(end)
    assert (fatal["requestId"], fatal["stackTrace"][-1]) == (blocking.id, place)
    assert len(warnings_in(found)) == 1


async def test_the_limit_is_a_variable_and_holds_for_what_the_loop_itself_calls(
    package, runtime_python
):
    async with serving(package, runtime_python, BOT_BLOCK_LIMIT="1") as process:
        answer = await process.double.ask(asking("late 60"))
        assert answer.error["errorType"] == "EventLoopBlocked"
        _, found = await process.end()
    assert "for 1 s at " in found[-2]["message"]
    assert found[-2]["requestId"] == answer.id


async def test_without_a_limit_a_bot_may_block_for_longer(package, runtime_python):
    """As in a debugger."""
    async with serving(package, runtime_python, BOT_BLOCK_LIMIT="0") as process:
        answer = await process.double.ask(asking(f"first {BLOCK_LIMIT + 4 * BLOCK_BEAT}"))
        assert text_of(answer) == "begun and whole"
        assert len(warnings_in(await written(process))) == 1


async def test_an_earlier_deadline_is_not_missed(package, runtime_python):
    async with serving(package, runtime_python) as process:
        answer = await process.double.ask(asking("first 60"), **in_seconds(2))
        assert answer.error["errorType"] == "Deadline"


async def test_a_process_that_stood_still_has_not_blocked(package, runtime_python):
    """Such as on a laptop that was closed, or where the environment was frozen."""
    async with serving(package, runtime_python, BOT_BLOCK_LIMIT="1") as process:
        answer = asyncio.ensure_future(process.double.ask(asking("other")))
        for _ in range(2):
            await asyncio.sleep(0.05)
            os.kill(process._process.pid, signal.SIGSTOP)
            await asyncio.sleep(2.5)
            os.kill(process._process.pid, signal.SIGCONT)
        assert text_of(await answer) == "begun and whole"
        assert warnings_in(await written(process)) == []


async def test_blocks_in_one_function_share_a_line_and_those_in_another_have_their_own(
    package, runtime_python
):
    async with serving(package, runtime_python) as process:
        for words in ("first 2.5", "first 2.5", "first 2.5", "second 2.5"):
            await process.double.idle(SLOTS)
            await process.double.ask(asking(words))
        messages = [line["message"] for line in warnings_in(await written(process))]
    assert [" in first" in message for message in messages] == [True, False]
    assert "(left out since the last such line: 2)" in messages[1]


async def test_code_that_lets_no_thread_run_is_reported_afterwards(build_with_bot, runtime_python):
    calibrated = BOT.replace("TEXTS = []", "TEXTS = [grown(0.7) + 'a']")
    async with serving(build_with_bot(calibrated), runtime_python) as process:
        assert text_of(await process.double.ask(asking("search"))) == "begun and whole"
        [line] = warnings_in(await written(process))
    assert " in get_response, and no other answer can go on: " in line["message"]


async def test_the_loop_is_watched_although_a_task_has_stopped_it(package, runtime_python):
    async with serving(package, runtime_python, BOT_BLOCK_LIMIT="1") as process:
        assert text_of(await process.double.ask(asking("leave"))) == "begun and whole"
        await process.double.idle(SLOTS)
        answer = await process.double.ask(asking("first 60"))
        assert answer.error["errorType"] == "EventLoopBlocked"


async def test_one_at_a_time_nothing_watches(package, runtime_python):
    async with serving(package, runtime_python, slots=1, BOT_BLOCK_LIMIT="nonsense") as process:
        answer = await process.double.ask(asking("threads"))
        assert text_of(answer) == "begun['MainThread', 'watchdog']"
        await process.double.idle(1)
        assert text_of(await process.double.ask(asking("first 1.5"))) == "begun and whole"
        await process.double.idle(1)
        assert warnings_in(await written(process)) == []


async def test_nothing_is_said_of_a_start_that_takes_its_time(build_with_bot, runtime_python):
    source = f"""{BOT}
from contextlib import asynccontextmanager
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app):
    time.sleep(1.5)
    yield

app = FastAPI(lifespan=lifespan)
"""
    async with serving(build_with_bot(source), runtime_python, BOT_BLOCK_LIMIT="1") as process:
        assert warnings_in(await written(process)) == []


async def test_with_bot_debug_the_line_shows_the_code(package, runtime_python):
    async with serving(package, runtime_python, BOT_DEBUG="1") as process:
        await process.double.ask(asking("first 2.5"))
        [line] = warnings_in(await written(process))
    assert "    time.sleep(seconds)" in line["traceback"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("1", 1), ("2.5", 2.5), ("900", 900), ("0.0", 0), ("060", 60)]
)
def test_a_limit_is_a_number_of_seconds(text, seconds):
    assert _block_limit({"BOT_BLOCK_LIMIT": text}) == seconds


def test_the_limit_is_five_seconds_unless_it_is_set():
    assert _block_limit({}) == 5


@pytest.mark.parametrize(
    "text", ["", " ", "5s", "0.5", "901", "-1", "1e2", "inf", "nan", "٣", "5 ", "1000", "5\n", ".5"]
)
def test_a_limit_that_cannot_be_is_one_clear_line(text):
    with pytest.raises(BadEnvironment) as error:
        _block_limit({"BOT_BLOCK_LIMIT": text})
    assert str(error.value) == (
        f"BOT_BLOCK_LIMIT is {text!r}: use 1 to 900 (seconds), or 0 for no limit"
    )


async def test_a_start_with_a_limit_that_cannot_be_fails_with_that_line(package, runtime_python):
    environment = {"POE_ACCESS_KEY": KEY, "AWS_LAMBDA_MAX_CONCURRENCY": "2"}
    environment["BOT_BLOCK_LIMIT"] = "5s"
    async with started(package, runtime_python, environment, concurrency=2) as process:
        status, [line] = await process.end()
        [request] = process.double.requests
    assert (status, request.path) == (1, "init/error")
    expected = "BOT_BLOCK_LIMIT is '5s': use 1 to 900 (seconds), or 0 for no limit"
    assert json.loads(request.body)["errorMessage"] == expected
    assert line["message"] == f"the bot cannot start: {expected}"


async def test_a_loop_that_comes_back_meanwhile_waits_for_the_process_end():
    """What it wrote then would mingle with the last words."""
    order = []

    def end_process():
        ending.set()
        time.sleep(0.3)
        order.append("ended")
        watch._stopped.set()

    ending = threading.Event()
    watch = BlockWatch(asyncio.get_running_loop(), 0.01, end_process)
    with watch:
        await asyncio.sleep(0.3)
        assert ending.wait(5)  # which blocks
        await asyncio.sleep(0)
        order.append("turned")
        watch.join(5)
    assert order == ["ended", "turned"]


async def test_nothing_watches_any_more_when_the_serving_is_over():
    watch = BlockWatch(asyncio.get_running_loop(), 0.01, lambda: pytest.fail("ended"))
    with watch:
        await asyncio.sleep(0.3)
    watch.join(5)
    assert not watch.is_alive()


def waiting_for(call, *arguments):
    """Its result, once the loop waits."""
    time.sleep(0.2)
    return call(*arguments)


async def test_a_thread_that_holds_pythons_lock_is_not_blamed_on_the_loop(capsys):
    records.configure("INFO")
    await asyncio.to_thread(waiting_for, Notices().write, 2.0)
    line = json.loads(capsys.readouterr().out)
    assert line["message"] == (
        "no answer could go on for 2.0 s, because code in a thread holds Python's lock (the GIL):"
        " run that code in a process of its own"
    )
    assert line["stackTrace"] == []


async def test_a_function_has_its_next_line_after_a_minute(capsys, monkeypatch):
    records.configure("INFO")
    now = [1000.0]
    monkeypatch.setattr(blocks.time, "monotonic", lambda: now[0])
    notices = Notices()
    for moment in (0, 59, 61, 119, 122):
        now[0] = 1000.0 + moment
        notices.write(1)
    messages = [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()]
    assert ["(left out since the last such line: 1)" in message for message in messages] == [
        False,
        True,
        True,
    ]
    assert lines.request_id.get() == ""


def test_what_a_sleeping_machine_has_missed_is_no_time():
    clocks = iter([(10.0, 3.0), (10.25, 3.2), (70.0, 3.3), (73.0, 6.2)])
    time_of = RunningTime.__init__.__globals__["time"]
    with pytest.MonkeyPatch.context() as patch:
        pair = [None]

        def monotonic():
            pair[0] = next(clocks)
            return pair[0][0]

        patch.setattr(time_of, "monotonic", monotonic)
        patch.setattr(time_of, "process_time", lambda: pair[0][1])
        clock = RunningTime()
        laps = [clock.lap() for _ in range(3)]
    assert laps == pytest.approx([0.25, 0.25, 2.9])


async def test_a_loop_that_has_called_nothing_is_stuck_nowhere():
    stuck = await asyncio.to_thread(waiting_for, errors.Stuck)
    assert (stuck.place, stuck.request_id, stuck.fields) == ("", "", {"stackTrace": ()})
