"""`app` in bot.py: pages and webhooks of the bot's own next to it, in each of the three ways."""

import json
from contextlib import asynccontextmanager

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


@asynccontextmanager
async def serving(folder, source, **modules):
    """A client of the function whose bot.py is `source`, with further modules next to it."""
    files = {"bot.py": source, **{f"{name}.py": text for name, text in modules.items()}}
    package = build_folder(folder, files)
    async with (
        served_by("bootstrap", package) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as http,
    ):
        yield http


async def answers(http, path=""):
    return await ask(f"{http.base_url}{path}", "hello") == "hello"


@pytest.fixture(scope="module")
def routes(build_with_bot):
    return build_with_bot(ROUTES)


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
    async with (
        serving(tmp_path, source) as http,
        http.stream("GET", "/pieces", params={"sign": str(sign)}) as reply,
    ):
        pieces = reply.aiter_text()
        assert await anext(pieces) == "first"
        sign.touch()
        assert "".join([piece async for piece in pieces]) == "second"


PAGE = "FastAPI Poe bot server"


@pytest.mark.parametrize("source", ["app = FastAPI()", "import app"])
async def test_without_a_page_of_its_own_a_bot_has_fastapi_poes(tmp_path, source):
    start = "import fastapi_poe as fp\nfrom fastapi import FastAPI\nbot = fp.PoeBot()\n"
    async with serving(tmp_path, start + source, app="") as http:
        assert PAGE in (await http.get("/")).text
        assert (await http.get("/elsewhere")).status_code == 404
        assert (await http.post("/elsewhere")).status_code == 404


HOSTED = {
    "make_app, imported by name": """
from fastapi_poe import make_app
import modal_like
app = make_app(Bot(), access_key='', bot_name='Mine', allow_without_key=True)
""",
    "make_app for a named bot and an app of its own": """
bot = Bot(bot_name='Mine')
app = FastAPI()
fp.make_app(bot, app=app)
""",
    "run": "fp.run(Bot(), access_key='k' * 32)",
    "run with make_app": "b = Bot()\napp = fp.make_app(b)\nfp.run(b, app=app)",
}
HOSTED_BOT = """
import os
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
    async with serving(tmp_path, HOSTED_BOT + hosting, modal_like="") as http:
        assert await answers(http)
        assert (await http.post("/", json=SETTINGS)).status_code == 401
        assert PAGE in (await http.get("/")).text


async def test_an_app_that_make_app_was_given_keeps_its_routes(tmp_path):
    source = """
mine = FastAPI()
mine.get('/privacy')(lambda: 'nothing is kept')
app = fp.make_app(Bot(), app=mine)
"""
    async with serving(tmp_path, HOSTED_BOT + source) as http:
        assert (await http.get("/privacy")).json() == "nothing is kept"
        assert await answers(http)


async def test_the_app_that_make_app_gave_may_have_any_name(tmp_path):
    source = """
class Modal: ...
api = fp.make_app(Bot())
app = Modal()
api.get('/health')(lambda: 'well')
"""
    async with serving(tmp_path, HOSTED_BOT + source) as http:
        assert (await http.get("/health")).json() == "well"
        assert await answers(http)


async def test_a_loop_over_the_bots_leaves_none_of_them_out(tmp_path):
    source = """
KEY = os.environ['POE_ACCESS_KEY']
bots = [Bot(path='/a', access_key=KEY), Bot(path='/b', access_key=KEY)]
for bot in bots:
    print(bot.path)
app = fp.make_app(bots)
"""
    async with serving(tmp_path, HOSTED_BOT + source) as http:
        assert await answers(http, "a")
        assert await answers(http, "b")


async def test_the_bots_own_choice_goes_before_what_make_app_was_given(tmp_path):
    """The other one doesn't have a key, and isn't served."""
    source = "app = fp.make_app(Bot(path='/other'), allow_without_key=True)\nbot = Bot()\n"
    async with serving(tmp_path, HOSTED_BOT + source) as http:
        assert await answers(http)
        assert (await http.post("/other", json=SETTINGS)).status_code == 404


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
