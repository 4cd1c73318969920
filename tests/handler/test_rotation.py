"""A new key is valid without a redeploy, and wrong keys can't make us ask often."""

import asyncio

import pytest

from handler.app.dispatch import App
from handler.app.load import load
from handler.log.record import NAME, Record
from handler.secret.cache import MAX_AGE, PAUSE, CachedSecret
from handler.secret.members import BadMember
from tests.handler.test_dispatch import Bot, Secret, bot_module, post, query

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


async def refused(app):
    """A request with a wrong key, without the cost of a client."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"authorization", b"Bearer " + b"w" * 32)],
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


@pytest.mark.parametrize(
    "trouble",
    [BadMember("no"), RuntimeError("text"), {"POE_ACCESS_KEY": "short"}, {}, {"AWS_REGION": "x"}],
)
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


async def test_a_read_that_fails_for_a_known_reason_logs_it(bot_module, clock, caplog):
    app, secret = await served(bot_module, {"POE_ACCESS_KEY": OLD})
    secret.members = {"AWS_REGION": "x", "POE_ACCESS_KEY": OLD}
    clock.now += MAX_AGE
    assert await status(app, OLD) == 200
    assert f"the secret {secret.arn}: AWS_REGION would change" in caplog.text


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


async def test_members_with_one_bad_key_change_no_bot(bot_module, clock):
    a, b = Bot("/a", "a" * 32), Bot("/b", "b" * 32)
    members = {"POE_ACCESS_KEY": OLD, "A_KEY": "a" * 32, "B_KEY": "b" * 32}
    app, secret = await served(bot_module, members, [a, b])
    secret.members = {**members, "A_KEY": NEW, "B_KEY": "short"}
    clock.now += PAUSE
    assert await status(app, NEW, "/a") == 401
    assert (a.access_key, b.access_key) == ("a" * 32, "b" * 32)


async def test_without_a_secret_there_is_nothing_to_read(bot_module):
    bot_module.bot = Bot()
    app = load({"POE_ACCESS_KEY": OLD}, None)
    assert isinstance(app, App)
    assert await status(app, NEW) == 401
