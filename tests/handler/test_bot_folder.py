"""A bot's own folder at run time: plain imports, plain files, names that others have too."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from infra.toolchain.folders import ROOT
from tests.support.bot_folder import write_folder
from tests.support.entries import ENTRIES, ask, needs_awslambdaric, served_by
from tests.support.explained import explained
from tests.support.package import KEY, started

pytestmark = pytest.mark.anyio

ANSWERING = """
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text=answer())

bot = Bot()
"""

# Modules with names of the host's own, of Python's and of a library's, a package bot/, a data file.
CLASHING = {
    "bot.py": """
import os, sys
from importlib.resources import files
from pathlib import Path

import app, bot as package, log
from events.names import EVENT
from utils import WORDS

if __name__ == "__main__":
    raise AssertionError("run as a script")

def answer():
    words = open("data/wörds.txt", encoding="utf-8").read()
    by_path = Path(__file__).with_name("data").joinpath("wörds.txt").read_text("utf-8")
    resource = files("events").joinpath("names.txt").read_text("utf-8")
    assert words == by_path == WORDS
    assert os.getcwd() == sys.path[0] == os.path.dirname(__file__)
    return " ".join([app.NAME, log.NAME, package.NAME, EVENT, resource, words])
"""
    + ANSWERING,
    "app.py": "NAME = 'app'\n",
    "log.py": "import app\nNAME = app.NAME + '+log'\n",
    "bot/__init__.py": "from bot.wire import NAME\n",
    "bot/wire.py": "NAME = 'package'\n",
    "events/__init__.py": "",
    "events/names.py": "EVENT = 'event'\n",
    "events/names.txt": "resource",
    "utils.py": "WORDS = open('data/wörds.txt', encoding='utf-8').read()\n",
    "data/wörds.txt": "grün",
    # What the host, or a library of its, imports while it serves.
    "queue.py": "raise AssertionError('Python asks for another')\n",
    "httpx.py": "raise AssertionError('fastapi_poe asks for another')\n",
    "anyio.py": "raise AssertionError('starlette asks for another')\n",
}


@pytest.mark.parametrize("entry", ENTRIES)
async def test_a_folder_runs_as_it_is_under_every_entry(build_with_bot, entry):
    package = build_with_bot(CLASHING["bot.py"], CLASHING)
    settings = {"type": "settings", "version": "1.2"}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with served_by(entry, package) as url, httpx.AsyncClient() as http:
        assert await ask(url, "hi") == "app app+log package event resource grün"
        answer = await http.post(url, json=settings, headers=headers)
    assert answer.status_code == 200


LOADING = """
import asyncio

async def load(text):
    await asyncio.sleep(0)
    return text
"""


CLOSING = (
    'LOOP = asyncio.get_event_loop()\nNOW = LOOP.run_until_complete(load("now"))\nLOOP.close()'
)


# uvicorn has no loop yet. (The others run a coroutine by asyncio.run in the next test.)
@pytest.mark.parametrize(
    ("entry", "now"),
    [
        ("bootstrap", CLOSING),
        pytest.param("awslambdaric", CLOSING, marks=needs_awslambdaric),
        ("uvicorn", 'NOW = asyncio.run(load("now"))'),
    ],
    ids=["bootstrap", "awslambdaric", "uvicorn"],
)
async def test_a_bot_may_run_a_coroutine_at_import_under_every_entry(build_with_bot, entry, now):
    source = f"{LOADING}{now}\ndef answer(): return NOW\n{ANSWERING}"
    async with served_by(entry, build_with_bot(source)) as url:
        assert await ask(url, "hi") == "now"


# uvicorn makes its loop after the import.
@pytest.mark.parametrize("entry", ENTRIES[:2])
async def test_a_task_created_at_import_runs_on_the_loop_that_serves(build_with_bot, entry):
    made = 'LATER = asyncio.get_event_loop().create_task(load("later"))\nasyncio.run(load("now"))\n'
    answering = ANSWERING.replace("answer()", "await LATER")
    async with served_by(entry, build_with_bot(LOADING + made + answering)) as url:
        assert await ask(url, "hi") == "later"


def run(folder: Path, script: str) -> object:
    """What `script` prints as JSON once the bot of `folder` is imported, as `module`."""
    code = (
        "import json, os, sys\n"
        "from handler.app.user_module import BadBot, import_bot\n"
        f"module = import_bot({str(folder)!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + script], cwd=ROOT, capture_output=True, text=True
    )
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


def test_a_module_that_imports_bot_gets_the_bot_that_is_being_imported(tmp_path):
    write_folder(tmp_path, {"bot.py": "X = 1\nimport words\nY = 2\n", "words.py": "import bot\n"})
    script = "import words; print(json.dumps([words.bot is module, module.Y, module.__name__]))"
    assert run(tmp_path, script) == [True, 2, "bot"]


@pytest.mark.parametrize("folder", ["bot/words.txt", "bot/words.py"])
def test_a_folder_bot_that_is_not_a_package_does_not_hide_bot_py(tmp_path, folder):
    write_folder(tmp_path, {"bot.py": "", folder: ""})
    assert run(tmp_path, "import bot; print(json.dumps(bot is module))") is True


def test_the_folder_comes_first_and_what_was_on_the_path_stays_where_it_was(tmp_path):
    write_folder(tmp_path, {"bot.py": "", "shared.py": "origin = 'bot'"})
    script = (
        "import infra, shared\n"  # infra by the entry "", which meant the directory before
        "print(json.dumps([sys.path[0], os.getcwd(), shared.origin]))\n"
    )
    assert run(tmp_path, script) == [str(tmp_path), str(tmp_path), "bot"]


# Starts that fail


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "from handler.prompts import x",
            "ModuleNotFoundError: No module named 'handler.prompts' (bot.py:1 in <module>):"
            " modules lie next to bot.py, so write `prompts` for `handler.prompts`",
        ),
        (
            "\nfrom . import prompts",
            "ImportError: attempted relative import with no known parent package"
            " (bot.py:2 in <module>): bot.py isn't in a package, so write"
            " `from prompts import …` without the dot",
        ),
        (
            "import asyncio\nasyncio.create_task(print)",
            "RuntimeError (bot.py:2 in <module>): no loop runs during imports,"
            " so write `asyncio.get_event_loop().create_task(…)`",
        ),
        (
            "import words",
            "ModuleNotFoundError: No module named 'missing' (words.py:2 in <module>):"
            " if missing is a library, add it to requirements.txt by its name on PyPI;"
            " if it's yours, put missing.py into the bot's folder",
        ),
        (
            "import fastapi_poe.missing",
            "ModuleNotFoundError: No module named 'fastapi_poe.missing' (bot.py:1 in <module>):"
            " fastapi_poe has no such module, in the version that requirements.lock has",
        ),
        (
            "from fine import missing",
            "ImportError: cannot import name 'missing' from 'fine' (bot/fine.py)"
            " (bot.py:1 in <module>)",
        ),
        (
            "import os\nos.environ['A_KEY']",
            "KeyError: 'A_KEY' (bot.py:2 in <module>): run `make set-secret NAME=A_KEY`",
        ),
        (
            "{}['A_KEY']",
            "KeyError: 'A_KEY' (bot.py:1 in <module>)",
        ),
        (
            "raise OSError(30, 'a secret text')",
            "OSError (bot.py:1 in <module>): on Lambda only /tmp can be written to, and each"
            " environment has its own: keep what has to last in a database",
        ),
        (
            "raise BaseExceptionGroup('a secret text', [SystemExit(1)])",
            "BaseExceptionGroup (bot.py:1 in <module>)",
        ),
    ],
)
def test_a_failure_that_many_bots_come_with_gets_a_sentence(tmp_path, source, message):
    files = {"bot.py": source, "words.py": "\nimport missing\n", "fine.py": ""}
    assert explained(tmp_path, files) == message


async def test_a_package_without_a_bot_says_so(build_with_bot, runtime_python):
    package = build_with_bot(ANSWERING)
    (package / "bot/bot.py").unlink()
    async with started(package, runtime_python) as process:
        status, _ = await process.end()
        [request] = process.double.requests
    assert (status, request.path) == (1, "init/error")
    message = json.loads(request.body)["errorMessage"]
    assert message == f"there is no bot.py in {package}/bot: it has to define the bot, as `bot = …`"
