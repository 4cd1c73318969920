"""`app` in bot.py: pages and webhooks of the bot's own next to it, in each of the three ways."""

import json

import httpx
import pytest

from tests.support.bot_folder import build_folder
from tests.support.entries import ENTRIES, ask, served_by
from tests.support.package import KEY, started

pytestmark = pytest.mark.anyio

HEADERS = {"Authorization": f"Bearer {KEY}"}
SETTINGS = {"type": "settings", "version": "1.2"}

ROUTES = """
from contextlib import asynccontextmanager

import fastapi_poe as fp
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.responses import PlainTextResponse

starts = []

@asynccontextmanager
async def lifespan(app):
    starts.append("up")
    yield {"colour": "green"}

app = FastAPI(lifespan=lifespan)

@app.middleware("http")
async def blocking(request, call_next):
    if request.url.path in ("/", "/blocked") and request.method == "POST":
        return PlainTextResponse("blocked", 418)
    return await call_next(request)

@app.get("/")
def home():
    return HTMLResponse("<h1>my bot</h1>")

@app.get("/starts")
def count(request: Request):
    return {"starts": len(starts), "colour": request.state.colour}

@app.post("/hook/{name}")
async def hook(name: str, request: Request):
    return {"name": name, "got": len(await request.body())}

@app.get("/stream")
def stream():
    async def words():
        for word in "one", "two":
            yield word
    return StreamingResponse(words())

@app.api_route("/{anything:path}", methods=["POST"])
def catch_all(anything: str):
    return {"caught": anything}

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text=request.query[-1].content)

bot = Bot()
"""


def built(tmp_path_factory, source):
    return build_folder(tmp_path_factory.mktemp("own"), {"bot.py": source})


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    return built(tmp_path_factory, ROUTES)


@pytest.mark.parametrize("entry", ENTRIES)
async def test_its_routes_answer_and_the_bot_stays_behind_its_key(routes, entry):
    async with served_by(entry, routes) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/")).text == "<h1>my bot</h1>"
        body = b"x" * 100_000
        hook = await http.post("/hook/tick", content=body)
        assert hook.json() == {"name": "tick", "got": len(body)}
        assert (await http.get("/stream")).text == "onetwo"
        assert (await http.post("/elsewhere")).json() == {"caught": "elsewhere"}
        assert (await http.post("/blocked")).status_code == 418
        assert (await http.get("/nowhere")).status_code == 405
        assert (await http.post("/", json=SETTINGS)).status_code == 401
        assert (await http.post("/", json=SETTINGS, headers=HEADERS)).status_code == 200
        assert await ask(url, "hello") == "hello"
        for _ in range(2):
            assert (await http.get("/starts")).json() == {"starts": 1, "colour": "green"}


async def test_a_route_streams(tmp_path):
    """The second piece is sent only after the first has arrived here."""
    source = """
import asyncio, os, fastapi_poe as fp
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()

@app.get("/pieces")
def pieces(sign: str):
    async def two():
        yield "first"
        while not os.path.exists(sign):
            await asyncio.sleep(0.01)
        yield "second"
    return StreamingResponse(two())

bot = fp.PoeBot()
"""
    sign = tmp_path / "arrived"
    package = build_folder(tmp_path, {"bot.py": source})
    async with (
        served_by("bootstrap", package) as url,
        httpx.AsyncClient(timeout=20) as http,
        http.stream("GET", f"{url}pieces", params={"sign": str(sign)}) as reply,
    ):
        pieces = reply.aiter_text()
        assert await anext(pieces) == "first"
        sign.touch()
        assert "".join([piece async for piece in pieces]) == "second"


@pytest.mark.parametrize(
    "source",
    [
        "app = FastAPI()",
        "app = fp.make_app(bot, bot_name='Mine')",
        "import app",
        "app = 'not an app'",
    ],
)
async def test_without_a_page_of_its_own_a_bot_has_fastapi_poes(tmp_path, source):
    start = "import fastapi_poe as fp\nfrom fastapi import FastAPI\nbot = fp.PoeBot()\n"
    files = {"bot.py": start + source, "app.py": ""}
    package = build_folder(tmp_path, files)
    async with served_by("bootstrap", package) as url, httpx.AsyncClient() as http:
        assert "FastAPI Poe bot server" in (await http.get(url)).text
        assert (await http.get(f"{url}elsewhere")).status_code == 404
        assert (await http.post(f"{url}elsewhere")).status_code == 404


HOSTED = {
    "make_app alone": "app = fp.make_app(Bot(), access_key='', bot_name='Mine')",
    "make_app, imported by name": (
        "from fastapi_poe import make_app\nimport modal_like\napp = make_app(Bot())"
    ),
    "make_app with an app of its own": "app = FastAPI()\nfp.make_app(Bot(), app=app)",
    "without a key": "app = fp.make_app(Bot(), allow_without_key=True)",
    "run": "fp.run(Bot(), access_key='k' * 32)",
    "run with make_app": "b = Bot()\napp = fp.make_app(b)\nfp.run(b, app=app)",
    "a bot with a name": "bot = Bot(bot_name='Mine')\napp = fp.make_app(bot)",
}
HOSTED_BOT = """
import httpx, socket
import fastapi_poe as fp
from fastapi import FastAPI

def refuse(*arguments, **more):
    raise AssertionError("a call to Poe")

socket.create_connection = socket.getaddrinfo = httpx.post = httpx.Client.send = refuse

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text=request.query[-1].content)

"""


@pytest.mark.parametrize("hosting", HOSTED.values(), ids=HOSTED)
async def test_lines_for_another_host_may_stay_in_the_file(tmp_path, hosting):
    files = {"bot.py": HOSTED_BOT + hosting, "modal_like.py": ""}
    package = build_folder(tmp_path, files)
    async with served_by("bootstrap", package) as url, httpx.AsyncClient() as http:
        assert await ask(url, "hello") == "hello"
        assert (await http.post(url, json=SETTINGS)).status_code == 401


async def test_an_app_that_make_app_was_given_keeps_its_routes(tmp_path):
    source = HOSTED_BOT + (
        "mine = FastAPI()\nmine.get('/privacy')(lambda: 'nothing is kept')\n"
        "app = fp.make_app(Bot(), app=mine)\n"
    )
    package = build_folder(tmp_path, {"bot.py": source})
    async with served_by("bootstrap", package) as url, httpx.AsyncClient() as http:
        assert (await http.get(f"{url}privacy")).json() == "nothing is kept"
        assert await ask(url, "hello") == "hello"


async def test_the_app_that_make_app_gave_may_have_any_name(tmp_path):
    source = HOSTED_BOT + (
        "class Modal: ...\napi = fp.make_app(Bot())\napp = Modal()\n"
        "api.get('/health')(lambda: 'well')\n"
    )
    package = build_folder(tmp_path, {"bot.py": source})
    async with served_by("bootstrap", package) as url, httpx.AsyncClient() as http:
        assert (await http.get(f"{url}health")).json() == "well"
        assert await ask(url, "hello") == "hello"


async def test_a_loop_over_the_bots_leaves_none_of_them_out(tmp_path):
    source = HOSTED_BOT + (
        "KEY = os.environ['POE_ACCESS_KEY']\n"
        "bots = [Bot(path='/a', access_key=KEY), Bot(path='/b', access_key=KEY)]\n"
        "for bot in bots:\n    print(bot.path)\n"
        "app = fp.make_app(bots)\n"
    )
    package = build_folder(tmp_path, {"bot.py": "import os\n" + source})
    async with served_by("bootstrap", package) as url:
        assert await ask(f"{url}a", "hello") == "hello"
        assert await ask(f"{url}b", "hello") == "hello"


async def test_the_bots_own_choice_goes_before_what_make_app_was_given(tmp_path):
    """The other one doesn't have a key, and isn't served."""
    source = HOSTED_BOT + (
        "app = fp.make_app(Bot(path='/other'), allow_without_key=True)\nbot = Bot()\n"
    )
    package = build_folder(tmp_path, {"bot.py": source})
    async with served_by("bootstrap", package) as url, httpx.AsyncClient() as http:
        assert await ask(url, "hello") == "hello"
        assert (await http.post(f"{url}other", json=SETTINGS)).status_code == 404


async def test_a_wsgi_app_is_not_served_and_said_so(tmp_path, runtime_python):
    source = HOSTED_BOT + (
        "class Flask:\n    def wsgi_app(self): ...\n    def __call__(self, environ, start): ...\n"
        "app, bot = Flask(), Bot()\n"
    )
    package = build_folder(tmp_path, {"bot.py": source})
    async with started(package, runtime_python) as process:
        line = json.loads(await process.line())
    assert line["level"] == "WARN"
    assert "WSGI" in line["message"]
