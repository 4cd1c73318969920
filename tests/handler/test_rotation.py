"""A new key is valid without a redeploy, and wrong keys can't make us ask often."""

import asyncio
import os
import threading
import types

import pytest

from handler.app.dispatch import App
from handler.app.load import load
from handler.log.record import NAME, Record
from handler.runtime.deadlines import RESTORE_READ
from handler.secret.cache import MAX_AGE, PAUSE, CachedSecret
from handler.secret.members import BadMember
from tests.handler.test_dispatch import Bot, Secret, bot_module, client, post, query

__all__ = ["bot_module"]

pytestmark = pytest.mark.anyio

OLD, NEW = "o" * 32, "n" * 32


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The wall clock, as the cached secret sees it."""
    clock = Clock()
    original = CachedSecret.__init__

    def with_clock(self, *args, **kwargs):
        original(self, *args, **{**kwargs, "clock": clock})

    monkeypatch.setattr(CachedSecret, "__init__", with_clock)
    return clock


async def served(bot_module, members, bot=None):
    """An app with its secret, just read once."""
    bot_module.bot = bot or Bot()
    secret = Secret(members)
    return load({}, secret), secret


async def status(app, key, path="/"):
    return (await post(app, query(), key, path)).status_code


async def test_a_new_key_is_taken_at_its_first_use(bot_module, clock):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    assert await status(app, OLD) == 200
    secret.members = {"POE_ACCESS_KEY": NEW}
    clock.now += PAUSE
    assert await status(app, NEW) == 200
    assert await status(app, OLD) == 401
    assert bot_module.bot.access_key == NEW


async def test_an_old_key_is_refused_after_300_seconds_though_nobody_sent_the_new_one(
    bot_module, clock
):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    secret.members = {"POE_ACCESS_KEY": NEW}
    clock.now += MAX_AGE - 1
    assert await status(app, OLD) == 200
    clock.now += 1
    assert await status(app, OLD) == 401


async def test_a_clock_that_was_set_back_does_not_keep_a_key_for_ever(bot_module, clock):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    secret.members = {"POE_ACCESS_KEY": NEW}
    clock.now -= 10 * MAX_AGE
    assert await status(app, OLD) == 401


async def test_ten_thousand_wrong_keys_cost_one_read_in_ten_seconds(bot_module, clock):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    started = clock.now
    for number in range(10_000):
        clock.now = started + PAUSE + number / 1000  # 1,000 a second
        assert await refused(app)
    assert secret.reads - 1 == 1  # the first 10 s; the start's own read apart
    secret.members = {"POE_ACCESS_KEY": NEW}
    clock.now += PAUSE
    assert await status(app, NEW) == 200  # and the new key gets in within 10 s of any flood


@pytest.mark.parametrize(
    "credentials",
    [
        [],
        [b""],
        [b"w" * 32],
        [b"Basic " + b"w" * 32],
        [b"Bearer"],
        [b"Bearer " + b"w" * 31],
        [b"Bearer " + b"w" * 33],
        [b"Bearer " + b"\xff" * 32],
        [b"Bearer " + "é".encode() * 16],
        [b"Bearer " + b"w" * 32] * 2,
    ],
)
async def test_what_cannot_be_a_key_never_causes_a_read(bot_module, clock, credentials):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    for age in (0, PAUSE, MAX_AGE, 10 * MAX_AGE):
        clock.now += age
        assert await refused(app, [(b"authorization", value) for value in credentials])
    assert secret.reads - 1 == 0


@pytest.mark.parametrize(("method", "path"), [("POST", "/x"), ("GET", "/"), ("PUT", "/")])
async def test_what_is_no_request_to_a_bot_never_causes_a_read(bot_module, clock, method, path):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    clock.now += MAX_AGE
    async with client(app) as http:
        await http.request(method, path, headers={"Authorization": f"Bearer {NEW}"})
    assert secret.reads - 1 == 0


async def refused(app, authorization=((b"authorization", b"Bearer " + b"w" * 32),)):
    """A request with a wrong key, without the cost of a client."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [*authorization],
    }
    await app(scope, None, send)
    return sent[0]["status"] == 401


async def test_a_hundred_at_once_share_one_read(bot_module, clock):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    secret.members = {"POE_ACCESS_KEY": NEW}
    clock.now += PAUSE
    answers = await asyncio.gather(*(status(app, NEW) for _ in range(100)))
    assert answers == [200] * 100
    assert secret.reads - 1 == 1


async def test_a_slow_read_holds_up_nobody_else(bot_module, clock):
    """Other answers run on the same event loop."""
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    released, read = threading.Event(), secret.fresh_text

    def slow():
        assert released.wait(10), "the event loop waits for the read"
        return read()

    secret.fresh_text = slow
    clock.now += MAX_AGE
    waiting = asyncio.ensure_future(status(app, OLD))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    released.set()
    assert await waiting == 200


@pytest.mark.parametrize("trouble", [BadMember("no"), RuntimeError("text"), "no object", []])
async def test_a_read_that_fails_keeps_the_old_key_and_is_counted(
    bot_module, clock, trouble, caplog
):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    secret.members = trouble
    clock.now += MAX_AGE
    assert await status(app, OLD) == 200
    assert await status(app, NEW) == 401
    assert secret.reads - 1 == 1
    assert "text" not in caplog.text
    assert "the known key stays valid" in caplog.text
    secret.members = {"POE_ACCESS_KEY": NEW}
    clock.now += PAUSE
    assert await status(app, NEW) == 200


@pytest.mark.parametrize("key", ["short", 7, None, "\0" * 32, "é" * 32])
async def test_a_malformed_key_is_an_operators_mistake_and_keeps_the_known_one(
    bot_module, clock, key, caplog
):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    secret.members = {"POE_ACCESS_KEY": key}
    clock.now += MAX_AGE
    assert await status(app, OLD) == 200
    assert "what is faulty keeps the value that it had" in caplog.text
    assert "`make set-key`" in caplog.text
    secret.members = {"POE_ACCESS_KEY": NEW}
    clock.now += PAUSE
    assert await status(app, NEW) == 200
    assert await status(app, OLD) == 401


@pytest.mark.parametrize(
    "faulty",
    [
        {"AWS_REGION": "x"},
        {"OPENAI_API_KEY": 7},
        {"lower": "x"},
        {"": ""},
        {"X": "\0"},
        {"X": None},
        {"X": {"a": [1, {}]}},
        {"X": float("nan")},
        {"X": "\ud800"},
    ],
)
async def test_a_malformed_member_elsewhere_holds_up_no_key(bot_module, clock, faulty, caplog):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    secret.members = {**faulty, "POE_ACCESS_KEY": NEW}
    clock.now += PAUSE
    assert await status(app, NEW) == 200
    assert await status(app, OLD) == 401
    assert f"the secret {secret.arn}: " in caplog.text
    assert "`make set-secret" in caplog.text


@pytest.mark.parametrize(
    "faulty",
    [
        f'"X": {"1" * 5000}',
        f'"X": {"[" * 16_000}{"]" * 16_000}',
        f'"X": [{{"Y": "]}}"}}, {"[" * 16_000}{"]" * 16_000}]',
        '"X": {"a": 1, "a": 2}',
        '"X": "1", "X": "2"',
        '"X": "1", "X": "2", "X": "3"',
        '"lower": 1, "lower": 2',
        f'"X": {"[" * 500 + "]" * 500}',
    ],
)
async def test_a_member_that_python_would_not_parse_holds_up_no_key(
    bot_module, clock, faulty, caplog
):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    secret.fresh_text = lambda: f'{{{faulty}, "POE_ACCESS_KEY": "{NEW}"}}'
    clock.now += PAUSE
    assert await status(app, NEW) == 200
    assert await status(app, OLD) == 401
    assert f"the secret {secret.arn}: " in caplog.text


async def test_a_key_that_stands_twice_is_faulty_itself(bot_module, clock, caplog):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    secret.fresh_text = lambda: f'{{"POE_ACCESS_KEY": "{NEW}", "POE_ACCESS_KEY": "{"x" * 32}"}}'
    clock.now += PAUSE
    assert await status(app, OLD) == 200
    assert await status(app, NEW) == 401
    assert "the secret has POE_ACCESS_KEY more than once" in caplog.text


@pytest.mark.parametrize("left", [{}, {"AWS_REGION": "x"}, {"OTHER_KEY": OLD}])
async def test_a_key_whose_member_is_gone_is_valid_no_longer(bot_module, clock, left, caplog):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD, "OTHER_KEY": OLD})
    secret.members = left
    clock.now += MAX_AGE
    assert await status(app, OLD) == 401
    assert await status(app, "") == 401
    assert "the bot on path / refuses every caller: POE_ACCESS_KEY is gone" in caplog.text
    secret.members = {"POE_ACCESS_KEY": NEW}
    clock.now += PAUSE
    assert await status(app, NEW) == 200


async def test_a_failed_read_is_in_the_line_of_its_request(bot_module, clock):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    secret.members = RuntimeError()
    clock.now += MAX_AGE
    records = []

    async def stateful(scope, receive, send):
        records.append(Record())
        await app({**scope, "state": {NAME: records[-1]}}, receive, send)

    assert await status(stateful, OLD) == 200
    assert await status(stateful, OLD) == 200
    assert [record.secret_read_failures for record in records] == [1, 0]


async def test_each_of_several_bots_follows_its_own_member(bot_module, clock):
    a, b, c = Bot("/a", "a" * 32), Bot("/b", "b" * 32), Bot("/c", "c" * 32)
    members = {"POE_ACCESS_KEY": OLD, "A_KEY": "a" * 32, "B_KEY": "b" * 32}
    app, secret = await served(bot_module, members, [a, b, c])
    secret.members = {**members, "A_KEY": NEW}
    clock.now += PAUSE
    assert await status(app, NEW, "/a") == 200
    assert [bot.access_key for bot in (a, b, c)] == [NEW, "b" * 32, "c" * 32]


async def test_a_malformed_key_of_one_bot_holds_up_no_other_bots(bot_module, clock, caplog):
    a, b = Bot("/a", "a" * 32), Bot("/b", "b" * 32)
    members = {"POE_ACCESS_KEY": OLD, "A_KEY": "a" * 32, "B_KEY": "b" * 32}
    app, secret = await served(bot_module, members, [a, b])
    secret.members = {**members, "A_KEY": NEW, "B_KEY": "short"}
    clock.now += PAUSE
    assert await status(app, NEW, "/a") == 200
    assert (a.access_key, b.access_key) == (NEW, "b" * 32)
    assert "the access key of the bot on path /b: B_KEY: " in caplog.text


SAME = {"POE_ACCESS_KEY": OLD, "A_KEY": OLD, "B_KEY": f"{OLD}\n"}


@pytest.fixture
def in_environment(monkeypatch, bot_module):
    """Serves a list of bots from a function that reads `os.environ`, as a bot's module does."""
    environ = os.environ.copy()

    def serve(members, bots):
        secret = Secret(members)
        monkeypatch.setattr(
            "handler.app.load.import_bot", lambda folder: types.SimpleNamespace(bot=bots())
        )
        return load(os.environ, secret), secret

    yield serve
    os.environ.clear()
    os.environ.update(environ)


def two_bots():
    return [Bot("/a", os.environ["A_KEY"]), Bot("/b", os.getenv("B_KEY"))]


@pytest.mark.parametrize("path", ["/a", "/b"])
async def test_keys_of_equal_values_follow_the_names_that_the_bots_read(
    in_environment, clock, path
):
    app, secret = in_environment(SAME, two_bots)
    secret.members = {**SAME, f"{path[1:].upper()}_KEY": NEW}
    clock.now += MAX_AGE
    for each in ("/a", "/b"):
        assert await status(app, NEW, each) == (200 if each == path else 401)
        assert await status(app, OLD, each) == (401 if each == path else 200)


async def test_equal_keys_that_change_at_once_do_not_change_places(in_environment, clock):
    app, secret = in_environment(SAME, two_bots)
    secret.members = {"POE_ACCESS_KEY": "p" * 32, "A_KEY": "a" * 32, "B_KEY": "b" * 32}
    clock.now += MAX_AGE
    assert await status(app, "a" * 32, "/a") == 200
    assert await status(app, "b" * 32, "/b") == 200
    assert await status(app, "p" * 32, "/b") == 401


async def test_a_bot_without_a_key_of_its_own_follows_poes_though_another_is_equal(
    in_environment, clock
):
    app, secret = in_environment(SAME, Bot)
    secret.members = {**SAME, "A_KEY": "a" * 32, "POE_ACCESS_KEY": NEW}
    clock.now += MAX_AGE
    assert await status(app, NEW) == 200


@pytest.mark.parametrize("rotated", [*SAME])
async def test_a_key_whose_name_was_lost_is_never_kept_when_any_member_of_its_value_changes(
    in_environment, clock, rotated
):
    app, secret = in_environment(SAME, lambda: Bot(access_key=f"{os.environ['A_KEY']}"))
    secret.members = {**SAME, rotated: NEW}
    clock.now += MAX_AGE
    assert await status(app, OLD) == 401
    assert await status(app, NEW) == 200
    secret.members = {**SAME, rotated: "x" * 32}
    clock.now += MAX_AGE
    assert await status(app, "x" * 32) == 200


async def test_a_key_of_the_bots_own_follows_no_member(bot_module, clock):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD}, Bot(access_key="own" + OLD[3:]))
    secret.members = {"POE_ACCESS_KEY": NEW}
    clock.now += MAX_AGE
    assert await status(app, "own" + OLD[3:]) == 200
    assert await status(app, NEW) == 401


async def test_a_key_that_the_bot_sets_later_is_the_bots(bot_module, clock):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    bot_module.bot.access_key = "own" + OLD[3:]
    secret.members = {"POE_ACCESS_KEY": NEW}
    clock.now += MAX_AGE
    assert await status(app, "own" + OLD[3:]) == 200


# --- the environment ---------------------------------------------------------------------------


async def test_the_environment_follows_the_secret(in_environment, clock):
    members = {"POE_ACCESS_KEY": OLD, "X_KEY": "x1", "GONE_KEY": "g", "BAD_KEY": "b"}
    app, secret = in_environment(members, Bot)
    secret.members = {"POE_ACCESS_KEY": NEW, "X_KEY": "x2", "NEW_KEY": "n", "BAD_KEY": 7}
    clock.now += MAX_AGE
    assert await status(app, NEW) == 200
    assert {name: os.environ.get(name) for name in {*members, *secret.members}} == {
        "POE_ACCESS_KEY": NEW,
        "X_KEY": "x2",
        "NEW_KEY": "n",
        "GONE_KEY": None,
        "BAD_KEY": "b",
    }
    assert type(os.environ["POE_ACCESS_KEY"]) is str


async def test_what_a_bot_puts_into_the_environment_itself_stays(in_environment, clock):
    members = {"POE_ACCESS_KEY": OLD, "X_KEY": "x1", "Y_KEY": "y1", "Z_KEY": "z1"}

    def bots():
        os.environ["X_KEY"] = "the bot's"
        os.environ["ADDED_KEY"] = "the bot's"
        return Bot()

    app, secret = in_environment(members, bots)
    os.environ["Y_KEY"] = "the bot's"
    del os.environ["Z_KEY"]
    for number in (2, 3):
        secret.members = {
            "POE_ACCESS_KEY": OLD,
            **{f"{name}_KEY": str(number) for name in ("X", "Y", "Z", "ADDED")},
        }
        clock.now += MAX_AGE
        assert await status(app, OLD) == 200
    for name in ("X_KEY", "Y_KEY", "ADDED_KEY"):
        assert os.environ[name] == "the bot's"
    assert "Z_KEY" not in os.environ


async def test_a_persons_key_becomes_no_access_key_by_rotation(bot_module, clock, caplog):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD, "POE_API_KEY": NEW})
    secret.members = {"POE_ACCESS_KEY": NEW, "POE_API_KEY": NEW}
    clock.now += MAX_AGE
    assert await status(app, NEW) == 401
    assert await status(app, OLD) == 200
    assert "it is POE_API_KEY's" in caplog.text


async def test_without_a_secret_there_is_nothing_to_read(bot_module):
    bot_module.bot = Bot()
    app = load({"POE_ACCESS_KEY": OLD}, None)
    assert isinstance(app, App)
    assert await status(app, NEW) == 401


async def test_the_read_after_a_restore_has_its_own_limit_and_makes_the_secret_fresh():
    clock, limits = Clock(), []

    def read(*limit):
        limits.append(limit)
        return {}

    cached = CachedSecret(read, lambda members: [], clock)
    clock.now += 100 * MAX_AGE  # the snapshot is old
    await cached.restore()
    await cached.freshen()
    assert not await cached.read_again()
    assert limits == [(RESTORE_READ,)]
