"""Bot and key → app: what is refused at the start, and what fastapi_poe's own app is spared."""

import errno
import json
import logging
import types

import fastapi_poe as fp
import httpx
import pytest

from handler.app.dispatch import App
from handler.app.load import BadBot, load
from handler.log.places import BOT
from handler.log.record import NAME, Record
from handler.secret.members import BadMember

pytestmark = pytest.mark.anyio

KEY = "k" * 32
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:poe-AbCdEf"


class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text="hello")


@pytest.fixture
def bot_module(monkeypatch):
    """What `import_bot` gives."""
    module = types.ModuleType("bot")
    monkeypatch.setattr("handler.app.load.import_bot", lambda folder: module)
    # No bot's file has changed logging here, and pytest's stays in its place.
    monkeypatch.setattr("handler.app.load.setup.keep", lambda: None)
    return module


class Secret:
    """Where the key is kept: each read gives what is there now, or raises it."""

    arn = ARN

    def __init__(self, members):
        self.members = members
        self.reads = 0

    def text(self):
        self.reads += 1
        if isinstance(self.members, Exception):
            raise self.members
        return json.dumps(self.members)

    fresh_text = text


def client(app):
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="https://bot"
    )


async def post(app, body, key=KEY, path="/"):
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with client(app) as http:
        return await http.post(path, content=content, headers=headers)


def query(**more):
    identifiers = {"user_id": "u", "conversation_id": "c", "message_id": "m"}
    messages = [{"role": "user", "content": "hello"}]
    return {"type": "query", "version": "1.2", "query": messages, **identifiers, **more}


# --- the start ---------------------------------------------------------------------------------


async def test_the_secrets_members_are_in_the_environment_before_the_bot_is_asked_for(bot_module):
    environ = {"POE_ACCESS_KEY": "an old one"}
    members = {"POE_ACCESS_KEY": f" {KEY}\n", "OPENAI_API_KEY": "o"}
    bot_module.bot = Bot()
    app = load(environ, Secret(members))
    assert environ["OPENAI_API_KEY"] == "o"
    assert environ["POE_ACCESS_KEY"] == KEY
    assert (await post(app, query())).status_code == 200


async def test_an_unreadable_secret_does_not_fall_back_to_the_environments_key(bot_module):
    bot_module.bot = Bot()
    with pytest.raises(RuntimeError, match="no network"):
        load({"POE_ACCESS_KEY": KEY}, Secret(RuntimeError("no network")))


@pytest.mark.parametrize("members", [{}, {"POE_ACCESS_KEY": "short"}, {"PATH": "/"}, "text"])
async def test_a_secret_that_is_refused_is_named(bot_module, members):
    bot_module.bot = Bot()
    with pytest.raises(BadMember, match=f"^the secret {ARN}: "):
        load({}, Secret(members))


async def test_without_a_secret_the_environments_key_is_valid(bot_module):
    bot_module.bot = Bot()
    app = load({"POE_ACCESS_KEY": KEY}, None)
    assert (await post(app, query())).status_code == 200


@pytest.mark.parametrize("environ", [{}, {"POE_API_KEY": KEY}, {"POE_ACCESS_KEY": "short"}])
async def test_a_server_without_a_proper_key_does_not_exist(bot_module, environ):
    bot_module.bot = Bot()
    with pytest.raises(BadMember):
        load(environ, None)


@pytest.mark.parametrize("kept", ["environment", "secret"])
async def test_a_persons_key_is_for_the_bots_own_calls_and_opens_nothing(bot_module, kept):
    bot_module.bot = Bot()
    members = {"POE_ACCESS_KEY": KEY, "POE_API_KEY": "p" * 32}
    environ = members if kept == "environment" else {}
    app = load(environ, None if kept == "environment" else Secret(members))
    assert environ["POE_API_KEY"] == "p" * 32
    assert (await post(app, query(), key="p" * 32)).status_code == 401
    assert (await post(app, query())).status_code == 200


@pytest.mark.parametrize("bot_key", [None, KEY])
async def test_a_persons_key_as_an_access_key_is_refused(bot_module, bot_key):
    bot_module.bot = Bot(access_key=bot_key)
    with pytest.raises(BadBot, match="on path / is POE_API_KEY's, which is a person's: copy"):
        load({"POE_ACCESS_KEY": KEY, "POE_API_KEY": KEY}, None)


async def test_a_key_on_the_bot_object_is_checked_too(bot_module):
    """fastapi_poe takes any."""
    bot_module.bot = Bot(access_key="short")
    with pytest.raises(BadMember, match="path /"):
        load({}, None)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/b", "B_ACCESS_KEY"),
        ("/deep/er-bot", "DEEP_ER_BOT_ACCESS_KEY"),
        ("/4o", "BOT_4O_ACCESS_KEY"),
        ("/", "POE_ACCESS_KEY"),
    ],
)
async def test_a_bot_without_a_key_has_the_one_that_its_path_names(bot_module, path, name):
    bot_module.bot = [Bot("/a", KEY), Bot(path)]
    with pytest.raises(BadMember, match=rf"the bot on path {path}: .* {name}\b"):
        load({}, None)
    bot_module.bot[1].access_key = None
    app = load({name: "b" * 32}, None)
    assert (await post(app, query(), "b" * 32, path)).status_code == 200


async def test_several_bots_each_have_their_key_and_path(bot_module):
    bot_module.bot = [Bot("/a", "a" * 32), Bot("/b", "b" * 32)]
    app = load({}, None)
    assert (await post(app, query(), "a" * 32, "/a")).status_code == 200
    assert (await post(app, query(), "a" * 32, "/b")).status_code == 401
    assert (await post(app, query(), "b" * 32, "/b")).status_code == 200
    assert (await post(app, query(), "b" * 32, "/c")).status_code == 404


@pytest.mark.parametrize(
    ("bot", "words"),
    [
        (None, "has to end with `bot = …`"),
        ([], "has to end with"),
        (Bot, "end it with `bot = Bot.."),
        ([Bot(access_key=KEY), "x"], "has to end with"),
        ([Bot("/a", KEY), Bot("/a", KEY)], "two bots have the path /a"),
        (Bot("echo", KEY), "begin with a slash"),
        (iter([Bot("/a", KEY), Bot("/a", KEY)]), "two bots have the path /a"),
    ],
)
async def test_what_is_not_a_bot_is_refused_with_what_to_do(bot_module, bot, words):
    bot_module.bot = bot
    with pytest.raises(BadBot, match=words):
        load({"POE_ACCESS_KEY": KEY}, None)


async def test_a_module_without_a_bot_is_refused(bot_module):
    with pytest.raises(BadBot, match="has to end with `bot = …`"):
        load({"POE_ACCESS_KEY": KEY}, None)


async def test_a_bot_with_a_name_calls_nobody_and_warns_of_nothing(monkeypatch, caplog):
    """make_app would push the settings over the network at each start, key in the URL."""

    def refuse(*args, **kwargs):
        raise AssertionError("a call to Poe")

    monkeypatch.setattr(httpx, "post", refuse)
    bot = Bot(access_key=KEY, bot_name="Named")
    response = await post(App([bot]), {"type": "settings", "version": "1.2"})
    assert response.json()["server_bot_dependencies"] == {}
    assert bot.bot_name == "Named"
    assert not [record for record in caplog.records if record.name == "uvicorn.default"]
    assert not logging.getLogger("uvicorn.default").disabled


# --- requests ----------------------------------------------------------------------------------

APP = App([Bot(access_key=KEY)])


async def test_anybody_may_see_that_a_bot_lives_here_and_nothing_else():
    async with client(APP) as http:
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/docs")).status_code == 404
        assert (await http.get("/openapi.json")).status_code == 404
        assert (await http.post("/", json=query())).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "refused"),
    [
        ("GET", "/", 200, "page", False),
        ("HEAD", "/", 405, "other", True),
        ("OPTIONS", "/", 405, "other", True),
        ("PUT", "/", 405, "other", True),
        ("x", "/", 405, "other", True),
        ("GET", "/favicon.ico", 404, "other", True),
        ("POST", "/wp-login.php", 404, "other", True),
    ],
)
async def test_what_strangers_get_is_known_as_such_to_the_log(method, path, status, kind, refused):
    record = Record()

    async def recorded(scope, receive, send):
        await APP({**scope, "state": {NAME: record}}, receive, send)

    async with client(recorded) as http:
        response = await http.request(method, path)
    assert response.status_code == status
    assert (record.type, record.refused) == (kind, refused)
    assert response.headers.get("allow") == ("GET, POST" if status == 405 else None)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"x"', b"{}", b'{"type": 1}', b"\xff", b"[" * 99_999]
)
async def test_what_fastapi_poe_answers_with_500_is_a_400(body):
    response = await post(APP, body)
    assert response.status_code == 400
    assert response.json()["error"]


async def test_missing_fields_are_a_400_and_an_unknown_type_a_501():
    assert (await post(APP, {"type": "query", "version": "1.2"})).status_code == 400
    assert (await post(APP, {"type": "settings"})).status_code == 400
    assert (await post(APP, {"type": "new"})).status_code == 501


async def test_a_bot_behind_a_root_path_is_found():
    """As uvicorn's --root-path, or a mount in another app, has it."""
    transport = httpx.ASGITransport(App([Bot("/bot", KEY)]), root_path="/stage")
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="https://bot") as http:
        found = await http.post("/stage/bot", json=query(), headers=headers)
        unknown = await http.post("/stage/other", json=query(), headers=headers)
    assert (found.status_code, unknown.status_code) == (200, 404)
    assert "hello" in found.text


async def test_a_refusal_comes_before_the_body_is_looked_at():
    assert (await post(APP, b"{", key="wrong")).status_code == 401


@pytest.mark.parametrize("role", ["moderator", "assistant"])
async def test_an_unknown_role_is_ignored_not_refused(role):
    messages = [{"role": role, "content": "new"}, {"role": "user", "content": "hello"}]
    response = await post(APP, query(query=messages))
    assert response.status_code == 200
    assert '"hello"' in response.text


async def test_an_unknown_feedback_type_is_accepted_and_does_not_reach_the_bot():
    feedback = {"user_id": "u", "conversation_id": "c", "message_id": "m", "version": "1.2"}
    received = []

    class Listening(Bot):
        async def on_feedback(self, feedback_request):
            received.append(feedback_request.feedback_type)

    app = App([Listening(access_key=KEY)])
    for kind in ("like", "applause"):
        document = {"type": "report_feedback", **feedback, "feedback_type": kind}
        response = await post(app, document)
        assert (response.status_code, response.json()) == (200, {})
    assert received == ["like"]


async def test_reports_reach_the_bot_with_what_is_unknown_left_out():
    seen = []

    class Listening(Bot):
        async def on_error(self, error_request):
            seen.append(error_request)

    document = {"type": "report_error", "version": "1.2", "message": "m", "metadata": {}, "new": 1}
    response = await post(App([Listening(access_key=KEY)]), document)
    assert response.status_code == 200
    assert seen[0].message == "m"


async def test_the_schemes_case_does_not_matter_to_any_request():
    """It does to fastapi_poe, which gets what is not a query."""
    async with client(APP) as http:
        headers = {"Authorization": f"bearer {KEY}"}
        for document in (query(), {"type": "settings", "version": "1.2"}):
            response = await http.post("/", json=document, headers=headers)
            assert response.status_code == 200


async def test_a_key_that_was_changed_on_the_bot_is_valid_at_once():
    bot = Bot(access_key=KEY)
    app = App([bot])
    assert (await post(app, query())).status_code == 200
    bot.access_key = "n" * 32
    assert (await post(app, query())).status_code == 401
    assert (await post(app, query(), key="n" * 32)).status_code == 200


@pytest.mark.parametrize(("key", "refused"), [("wrong", True), (KEY, False)])
async def test_a_refusal_is_in_the_requests_record(key, refused):
    record = Record()

    async def recorded(scope, receive, send):
        await APP({**scope, "state": {NAME: record}}, receive, send)

    await post(recorded, query(), key)
    assert record.refused is refused


async def test_lambdas_event_has_its_body_for_the_bots_own_routes_and_not_for_a_query():
    """The query has it already, and so has the HTTP request, for those that ask it."""
    seen = []

    class Looking(Bot):
        async def get_response_with_context(self, request, context):
            http = context.http_request
            seen.append((http.scope["aws.event"], await http.body()))
            yield fp.PartialResponse(text="x")

    async def own(scope, receive, send):
        seen.append(scope["aws.event"])
        await APP(scope, receive, send)

    app = App([Looking(access_key=KEY)], own=own)
    event = {"version": "2.0", "body": "the body"}

    async def with_event(scope, receive, send):
        await app({**scope, "aws.event": event}, receive, send)

    await post(with_event, b"{}", path="/hook")
    assert seen.pop() == event
    body = json.dumps(query()).encode()
    await post(with_event, body)
    assert seen.pop() == ({"version": "2.0"}, body)
    assert event == {"version": "2.0", "body": "the body"}


ANSWER = "async def get_response(self, request):"
YIELD = "yield fp.PartialResponse(text='hello')"
SLIPS = {
    f"{ANSWER} yield 'hello'": "yields str values: write `yield fp.",
    f"{ANSWER} yield {{'text': 'hello'}}": "yields dict values: write `yield fp.",
    f"{ANSWER} yield None": "yields None values: write `yield fp.",
    f"{ANSWER} return 'hello'": "doesn't yield: write `yield fp.",
    f"{ANSWER} pass": "doesn't yield: write `yield fp.",
    "def get_response(self, request): return 'hello'": "doesn't yield: write `yield fp.",
    f"def get_response(self, request): {YIELD}": f"isn't asynchronous: write `{ANSWER[:-1]}`",
    f"async def get_response(request): {YIELD}": (
        f"can't be called with what Poe sends: write `{ANSWER[:-1]}`"
    ),
    f"async def get_response_with_context(self, request): {YIELD}": (
        "can't be called with what Poe sends:"
        " write `async def get_response_with_context(self, request, context)`"
    ),
    "def __init__(self, path='', access_key=''): self.access_key = access_key": (
        "doesn't call `super().__init__()`: begin with that"
    ),
}
SETTINGS = "async def get_settings(self, setting):"
SLIPS_IN_SETTINGS = {
    f"{SETTINGS} return {{'a': 1}}": "returns dict values: write `return fp.SettingsResponse(…)`",
    f"{SETTINGS} pass": "returns None values: write `return fp.SettingsResponse(…)`",
    f"{SETTINGS} yield fp.SettingsResponse()": "yields: write `return fp.SettingsResponse(…)`",
    "def get_settings(self, setting): return fp.SettingsResponse()": (
        f"isn't asynchronous: write `{SETTINGS[:-1]}`"
    ),
    "async def get_settings(self): return fp.SettingsResponse()": (
        f"can't be called with what Poe sends: write `{SETTINGS[:-1]}`"
    ),
}


def of_the_bots(method):
    """A bot with `method`, whose code stands in the bot's file, in its third line."""
    names = {"__name__": "bot"}
    source = f"import os, fastapi_poe as fp\nclass Slip(fp.PoeBot):\n    {method}\n"
    exec(compile(source, f"{BOT}/bot.py", "exec"), names)
    return names["Slip"](access_key=KEY)


@pytest.mark.parametrize("method", SLIPS)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
async def test_a_slip_that_fails_in_fastapi_poe_names_the_bots_function(method, caplog):
    response = await post(App([of_the_bots(method)]), query())
    assert response.text.endswith("event: done\r\ndata: {}\r\n\r\n")
    name = method.partition("(")[0].split()[-1]
    assert f"{name} (bot/bot.py:3) {SLIPS[method]}" in caplog.text


@pytest.mark.parametrize("method", SLIPS_IN_SETTINGS)
async def test_a_slip_in_the_settings_names_the_bots_function(method, caplog):
    settings = {"type": "settings", "version": "1.2"}
    assert (await post(App([of_the_bots(method)]), settings)).status_code == 500
    assert f"get_settings (bot/bot.py:3) {SLIPS_IN_SETTINGS[method]}" in caplog.text


async def test_a_variable_that_an_answer_lacks_is_named_with_where_it_belongs(caplog):
    bot = of_the_bots(f"{ANSWER} yield os.environ['A_KEY_OF_MINE']")
    await post(App([bot]), query())
    assert "A_KEY_OF_MINE isn't set: add it to secrets.json" in caplog.text
    assert "`make set-secret NAME=A_KEY_OF_MINE`" in caplog.text


async def test_a_write_outside_tmp_is_answered_with_where_to_write(caplog):
    bot = of_the_bots(f"{ANSWER} yield (_ for _ in '').throw(OSError({errno.EROFS}, 'x'))")
    await post(App([bot]), query())
    assert "on Lambda only /tmp can be written to" in caplog.text


@pytest.mark.parametrize("key", ["os.environ[request.query[-1].content]", "{}['A_KEY_OF_MINE']"])
async def test_a_missing_key_that_no_constant_names_is_not_quoted(key, caplog):
    bot = of_the_bots(f"{ANSWER} yield {key}")
    said = [{"role": "user", "content": "A_KEY_OF_MINE"}]
    await post(App([bot]), query(query=said))
    assert "secrets.json" not in caplog.text


async def test_an_error_of_the_bots_own_code_is_no_slip(caplog):
    source = (
        "import fastapi_poe as fp\n"
        "class Failing(fp.PoeBot):\n"
        "    async def get_response(self, request):\n"
        "        None.upper()\n"
        "        yield fp.PartialResponse(text='hello')\n"
    )
    names = {"__name__": "bot"}
    exec(compile(source, f"{BOT}/bot.py", "exec"), names)
    await post(App([names["Failing"](access_key=KEY)]), query())
    assert "write `yield" not in caplog.text


@pytest.mark.parametrize("shown", [True, False])
async def test_poe_gets_an_exceptions_text_with_bot_debug_alone(monkeypatch, shown):
    class Failing(fp.PoeBot):
        async def get_response(self, request):
            raise ValueError("the text\nof it")
            yield

    monkeypatch.setattr("handler.log.shows_texts", shown)
    response = await post(App([Failing(access_key=KEY)]), query())
    [data] = [line for line in response.text.splitlines() if "raw_response" in line]
    raw = json.loads(data.removeprefix("data: "))["raw_response"]
    assert ("Traceback (most recent call last):\n" in raw) is shown
    assert ("ValueError: the text\nof it" in raw) is shown
