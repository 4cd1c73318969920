"""Whatever writes to stdout or stderr: the bot's own passes as it is, a library's text never, and
a line of the host's always begins a line. Each in a process of its own, set up as entries do."""

import json
import subprocess
import sys
import textwrap

import pytest

from infra.toolchain.folders import ROOT

SECRET = "the-text-of-a-message"

LIBRARY = """
import asyncio, io, json, logging, pprint, sys, threading, traceback, warnings
logger = logging.getLogger(__name__)

class Broken:
    def __init__(self, text):
        self.text = text
    def __repr__(self):
        raise ValueError(self.text)

class Deleted(Broken):
    def __del__(self):
        raise ValueError(self.text)

def emit(way, stream, text):
    out = getattr(sys, stream)
    WAYS[way](out, text)

def handling(out, text):
    try:
        raise KeyError(text)
    except KeyError as error:
        print("failed:", repr(error), file=out)

def in_a_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()

def fail(text):
    raise ValueError(text)

def chained(text):
    try:
        fail(text)
    except ValueError as error:
        raise RuntimeError(text) from error

def trace(out, text):
    try:
        chained(text)
    except RuntimeError:
        traceback.print_exc(file=out)

def log_exception(out, text):
    try:
        chained(text)
    except RuntimeError:
        logger.exception(f"failed with {text}")

def wrapped(out, text):
    again = io.TextIOWrapper(getattr(out, "buffer", out), "utf-8", write_through=True)
    again.write(text + "\\n")

def lost_task(out, text):
    async def main():
        async def failing():
            fail(text)
        asyncio.ensure_future(failing())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    asyncio.run(main())

def exception_as_message(out, text):
    logger.error(ValueError(text))

def named_like_the_host(out, text):
    logging.getLogger("handler.app").error(text)
    logging.getLogger("bot").info(text)

def pointing_at_the_caller(out, text):
    logger.error("got " + text, stacklevel=3)
    warnings.warn(text, stacklevel=3)

WAYS = {
    "print": lambda out, text: print("words", text, file=out),
    "print without end": lambda out, text: print(text, end="", file=out),
    "progress": lambda out, text: print(text, end="\\r", file=out),
    "write": lambda out, text: out.write(text + "\\n"),
    "lines": lambda out, text: out.writelines([text, "\\n", text]),
    "bytes": lambda out, text: getattr(out, "buffer", sys.__stdout__.buffer).write(text.encode()),
    "original": lambda out, text: print(text, file=sys.__stdout__),
    "other original": lambda out, text: print(text, file=sys.__stderr__),
    "wrapped": wrapped,
    "surrogate": lambda out, text: print(text + "\\ud83d", file=out),
    "pprint": lambda out, text: pprint.pprint({"text": text}, stream=out),
    "json": lambda out, text: json.dump({"text": text}, out),
    "handling": handling,
    "traceback": trace,
    "warning": lambda out, text: warnings.warn(text),
    "thread's print": lambda out, text: in_a_thread(print, text),
    "thread's error": lambda out, text: in_a_thread(fail, text),
    "lost task": lost_task,
    "__del__": lambda out, text: Deleted(text),
    "log": lambda out, text: logger.error(text),
    "log with colon": lambda out, text: logger.error(f"{text}: it failed"),
    "log template": lambda out, text: logger.error("failed with %s", text),
    "log built template": lambda out, text: logger.error(text + " %s", 1),
    "log prefix": lambda out, text: logger.error(f"Failed to send {text} text"),
    "log info": lambda out, text: logger.info("GET %s", text),
    "log broken": lambda out, text: logger.error("%d", text),
    "log repr": lambda out, text: logger.error("%r", Broken(text)),
    "log exception": log_exception,
    "log an exception": exception_as_message,
    "log in a thread": lambda out, text: in_a_thread(logger.error, text),
    "log by code made of a text": lambda out, text: exec(f"logger.error({text!r})"),
    "host's name": named_like_the_host,
    "caller's place": pointing_at_the_caller,
}
"""


@pytest.fixture
def run(tmp_path):
    """Runs `bot.py` in a package with the host and a library; gives what it wrote, both streams
    through one pipe as on Lambda."""
    (tmp_path / "handler").symlink_to(ROOT / "handler")
    (tmp_path / "library.py").write_text(LIBRARY)
    (tmp_path / "bot").mkdir()

    def run(bot: str, *, debug: bool = False) -> str:
        (tmp_path / "bot" / "bot.py").write_text(textwrap.dedent(bot))
        start = (
            "import sys; sys.path.insert(0, '.')\n"
            "from handler.log import lines, setup\n"
            f"setup.set_up('DEBUG', shows_texts={debug})\n"
            "lines.request_id.set('id-1')\n"
            "from handler.app.user_module import import_bot\n"
            f"import_bot({str(tmp_path / 'bot')!r})\n"
            "setup.keep()\n"
            "sys.modules['bot'].serve()\n"
            "lines.write('INFO', {'message': 'the last line'})\n"
        )
        done = subprocess.run(
            [sys.executable, "-u", "-c", start],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"LANG": "C.UTF-8"},
        )
        assert done.returncode == 0, done.stdout.decode()
        return done.stdout.decode()

    return run


def lines_of(output):
    """Each line parsed, from its first character."""
    assert output.endswith("\n")
    return [json.loads(line) for line in output.splitlines()]


def messages_of(output):
    return [line["message"] for line in lines_of(output)]


# What a bot may do to logging and to the streams at its import
SETUPS = {
    "as it comes": "",
    "basicConfig": "logging.basicConfig(level=logging.DEBUG)",
    "forced basicConfig": "logging.basicConfig(level=logging.DEBUG, force=True)",
    "a second handler": "logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))",
    "a queue": """
from logging.handlers import QueueHandler, QueueListener
records = queue.Queue()
logging.getLogger().handlers = [QueueHandler(records)]
QueueListener(records, logging.StreamHandler()).start()
""",
    "dictConfig": """
logging.config.dictConfig({"version": 1, "root": {"level": "DEBUG", "handlers": ["console"]},
    "handlers": {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}}})
""",
    "captured warnings": "logging.captureWarnings(True)",
    "streams in UTF-8": "sys.stdout.reconfigure(encoding='utf-8')",
    "wrapped streams": "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, 'utf-8')",
    "detached streams": "sys.stderr = io.TextIOWrapper(sys.stderr.detach(), 'utf-8')",
    "a codec's writer": "sys.stdout = codecs.getwriter('utf-8')(sys.stdout.buffer)",
    "one stream for both": "sys.stderr = sys.stdout",
    "a stream of its own": """
class Tee(io.TextIOBase):
    def __init__(self, stream):
        self.below = [stream, io.StringIO()]
        self.buffer = stream.buffer
    def write(self, text):
        for each in self.below:
            self.put(each, text)
    def put(self, stream, text):
        stream.write(text)
sys.stdout, sys.stderr = Tee(sys.stdout), Tee(sys.stderr)
""",
    "a print of its own": """
def flushed(*words, print=print, **more):
    print(*words, flush=True, **more)
builtins.print = flushed
""",
    "a handler of its own": """
class Printing(logging.Handler):
    def emit(self, record):
        with contextlib.suppress(Exception):
            print(self.format(record))
logging.getLogger().addHandler(Printing())
""",
    "a handler for another logger": """
class Rich(logging.Handler):
    def emit(self, record):
        with contextlib.suppress(Exception):
            rich.print(record.getMessage(), file=sys.stderr)
logging.basicConfig(handlers=[Rich()], level=logging.DEBUG, force=True)
""",
    "a stream handler in colour": """
class Coloured(logging.StreamHandler):
    def emit(self, record):
        record.msg = f"*{record.msg}"
        super().emit(record)
logging.getLogger().handlers = [Coloured()]
""",
    "a filter that prints": """
class Printing(logging.Filter):
    def filter(self, record):
        with contextlib.suppress(Exception):
            print("seen:", record.getMessage())
        return True
logging.getLogger().handlers[0].addFilter(Printing())
""",
    "a logger of its own": """
class Loud(logging.Logger):
    def error(self, message, *arguments, **more):
        super().error(f"{message}!", *arguments, **more)
logging.setLoggerClass(Loud)
""",
}


@pytest.mark.parametrize("setup", SETUPS)
def test_no_way_of_writing_takes_a_librarys_text_out(run, setup):
    output = run(
        "import builtins, codecs, contextlib, io, logging, logging.config, queue, rich, sys\n"
        "import time, warnings\n"
        f"{SETUPS[setup]}\n"
        "import library\n"
        "warnings.simplefilter('always')\n"
        "def serve():\n"
        "    print('mine', file=sys.stderr)\n"
        "    print('mine')\n"
        "    for way in library.WAYS:\n"
        "        for stream in ('stdout', 'stderr'):\n"
        f"            library.emit(way, stream, f'{SECRET} {{way}} {{stream}}')\n"
        "    time.sleep(0.1)\n"
    )
    assert SECRET not in output
    assert output.startswith("mine\nmine\n")  # at once, whatever stands around a stream
    messages = messages_of(output.removeprefix("mine\nmine\n"))
    assert messages[-1] == "the last line"
    assert "an uncaught exception in a thread" in messages  # the host's own logger goes on


BOTS_OWN = {
    "print": "print('mine', 1)",
    "print to stderr": "print('mine', 1, file=sys.stderr)",
    "write": "sys.stdout.write('mine 1\\n')",
    "bytes": "sys.stdout.buffer.write(b'mine 1\\n')",
    "the original": "print('mine', 1, file=sys.__stderr__)",
    "lines": "sys.stderr.writelines(['mine ', '1', '\\n'])",
    "pprint": "pprint.pp('mine 1')",
    "json": "json.dump('mine 1', sys.stdout)",
    "a log": "logging.getLogger('weather').info('mine %s', 1)",
    "a root's log": "logging.info('mine 1')",
    "a handler": "own.warning('mine 1')",
    "rich": "rich.print('mine 1')",
    "rich to stderr": "rich.console.Console(stderr=True).print('mine 1')",
    "click": "click.echo('mine 1', err=True)",
    "a lambda": "list(map(print, ['mine 1']))",
    "a stream of its own": "print('mine', 1, file=Shouting())",
    "a handler of its own": "shouting.info('mine %s', 1)",
    "a method called write": "asyncio.run(Shouting().write_later())",
}


def test_what_the_bot_writes_passes_whole(run):
    ways = "".join(f"    start({way!r})\n    {code}\n" for way, code in BOTS_OWN.items())
    output = run(
        "import asyncio, click, json, logging, pprint, rich, rich.console, sys\n"
        "class Shouting(logging.Handler):\n"
        "    def emit(self, record):\n"
        "        print(self.format(record))\n"
        "    def write(self, text):\n"
        "        sys.stdout.write(text)\n"
        "    async def write_later(self):\n"
        "        print('mine 1')\n"
        "shouting = logging.getLogger('shouting')\n"
        "shouting.handlers, shouting.propagate = [Shouting()], False\n"
        "own = logging.getLogger('own')\n"
        "own.addHandler(logging.StreamHandler())\n"
        "own.propagate = False\n"
        "def start(way):\n"
        "    print('\\n---', way)\n"
        f"def serve():\n{ways}"
        "    start('end')\n"
    )
    _, *parts, _ = output.split("\n--- ")
    written = dict(part.split("\n", 1) for part in parts)
    assert written.keys() == BOTS_OWN.keys()
    for way, text in written.items():
        [line] = text.splitlines()
        assert "mine 1" in line, way
        assert "left out" not in line, way


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("rest", ["", "\\r", "\\ud83d", "é"])
def test_a_line_of_the_hosts_begins_a_line_whatever_the_bot_has_left_unfinished(run, stream, rest):
    output = run(f"import sys\ndef serve():\n    print('one', end='{rest}', file=sys.{stream})\n")
    unfinished, last = output.split("\n")[:2]
    assert unfinished.startswith("one")
    assert json.loads(last)["message"] == "the last line"
    assert output.count("\n") == 2


OF_OTHERS = [
    '{"timestamp": "2026-01-02T03:04:05.678Z", "level": "INFO", "requestId": "", "type": "query"}',
    '{"time":"2026-01-02T03:04:05.678Z","type":"platform.report","record":{}}',
    "START RequestId: 1",
    "END RequestId: 1",
    "REPORT RequestId: 1\tDuration: 1 ms",
    "INIT_REPORT Init Duration: 1 ms",
    "RESTORE_START Runtime Version: python:3.13.v1",
    "RESTORE_REPORT Restore Duration: 1 ms",
]


def test_a_line_that_a_bot_prints_passes_for_no_line_of_the_hosts_or_of_lambdas(run):
    bot = (
        "import sys\n"
        f"lines = {OF_OTHERS!r}\n"
        "def serve():\n"
        "  for line in lines:\n"
        "    print(line)\n"
        "    print('said: hello', line, 'more', sep='\\n')\n"
        "    print(f'one\\n{line}\\n\\n{line}\\n')\n"
        "    for each in line: print(each, end='')\n"
        "    print()\n"
        "    print(line[:9], end='')\n"
        "    print(line[9:])\n"
        "    sys.stderr.buffer.write(line.encode() + b'\\n')\n"
    )
    *printed, last = run(bot).splitlines()
    assert json.loads(last)["message"] == "the last line"
    for line in OF_OTHERS:
        assert line not in printed
        assert printed.count(f" {line}") == 5
        # In pieces the space is where the piece came that would have made it one.
        whole = [each.replace(" ", "") for each in printed]
        assert whole.count(line.replace(" ", "")) == 7


def test_other_lines_of_a_bots_pass_as_they_are(run):
    lines = ["I am", '{"timestamp": 1}', '{"_aws": {}}', "x START RequestId: 1", '{"time":"x"}']
    output = run(
        f"def serve():\n  for line in {lines!r}:\n    print(line)\n"
        "    print('a', line, sep='\\n')\n"
    )
    assert output.splitlines()[:-1] == [each for line in lines for each in (line, "a", line)]


def test_a_line_of_the_bots_that_is_finished_is_followed_by_no_empty_one(run):
    output = run("def serve():\n    print('one')\n    print('two', end='')\n    print()\n")
    assert output.startswith("one\ntwo\n{")


def test_a_print_of_a_librarys_is_one_line_that_says_where_and_how_long(run):
    output = run("import library\ndef serve():\n    library.emit('print', 'stderr', 'x' * 20)\n")
    above = LIBRARY[: LIBRARY.index('"print": ')].count("\n")
    where = f"library.py:{above + 1}"
    line, _ = lines_of(output)
    assert line["message"] == (
        f"{where} wrote 27 characters to stderr: left out, since they may quote a key or a message"
    )
    assert (line["level"], line["place"], line["requestId"]) == ("WARN", where, "id-1")


def test_a_print_of_several_lines_is_one_line(run):
    bot = "import library\ndef serve():\n    library.emit('print', 'stdout', 'x\\ny\\n\\nz')\n"
    assert len(lines_of(run(bot))) == 2


def test_a_print_about_an_error_has_its_type_and_place(run):
    line, _ = lines_of(
        run("import library\ndef serve():\n    library.emit('handling', 'stdout', 'x')\n")
    )
    assert line["errorType"] == "KeyError"
    assert line["stackTrace"][0].endswith(" in handling")


def test_an_empty_line_of_a_librarys_is_no_line(run):
    bot = "import library\ndef serve():\n    library.emit('print', 'stdout', 'x')\n"
    bot += "    for text in ('', ' ', '\\n'):\n        library.emit('write', 'stdout', text)\n"
    assert len(lines_of(run(bot))) == 2


@pytest.mark.parametrize("others", [False, True])
def test_a_chatty_library_does_not_flood_the_log(run, others):
    output = run(
        "import library\n"
        "def serve():\n"
        "    for _ in range(1000):\n"
        "        library.emit('print', 'stdout', 'x')\n"
        f"{'        print(0)' if others else ''}\n"
    )
    told = [line for line in output.splitlines() if line != "0"]
    assert len(lines_of("\n".join([*told, ""]))) == (11 if others else 2)
    assert (", 512 times by now: " if others else "wrote 8000 characters") in output


def test_texts_of_threads_do_not_mingle_and_each_line_is_whole(run):
    output = run(
        "import logging, threading, library\n"
        "def write(number):\n"
        "    for _ in range(50):\n"
        "        print('tok', end='')\n"
        "        logging.info('mine')\n"
        "        library.emit('print', 'stderr', 'x')\n"
        "def serve():\n"
        "    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]\n"
        "    for each in threads: each.start()\n"
        "    for each in threads: each.join()\n"
    )
    rest = [line for line in output.splitlines() if set(line) - set("tok")]
    assert [json.loads(line)["message"] for line in rest].count("mine") == 400


def test_a_thread_that_is_stuck_while_it_writes_silences_nobody(run):
    output = run(
        "import logging, threading, time\n"
        "class Slow:\n"
        "    def __str__(self):\n"
        "        time.sleep(60)\n"
        "from handler.log import output\n"
        "def hold():\n"
        "    output._lock.acquire()\n"
        "    time.sleep(60)\n"
        "def serve():\n"
        "    threading.Thread(target=logging.info, args=(Slow(),), daemon=True).start()\n"
        "    threading.Thread(target=lambda: logging.info(Slow()), daemon=True).start()\n"
        "    threading.Thread(target=hold, daemon=True).start()\n"
        "    time.sleep(0.2)\n"
        "    logging.info('alive')\n"
        "    print('alive, too')\n"
    )
    assert output.count("alive") == 2


def test_a_stream_has_what_libraries_ask_a_stream_for(run):
    output = run(
        "import io, os, subprocess, sys\n"
        "def serve():\n"
        "    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):\n"
        "        assert isinstance(stream, io.TextIOWrapper)\n"
        "        assert os.fstat(stream.fileno())\n"
        "        assert not stream.isatty()\n"
        "        assert stream.encoding.lower() == 'utf-8'\n"
        "        assert stream.errors == 'backslashreplace'\n"
        "        assert (stream.writable(), stream.readable()) == (True, False)\n"
        "        assert stream.name in ('<stdout>', '<stderr>')\n"
        "        stream.flush()\n"
        "        stream.reconfigure(encoding='latin-1', line_buffering=True)\n"
        "        stream.write('\\ud83d\\n')\n"
        "        stream.close()\n"
        "    subprocess.run([sys.executable, '-c', 'print(7)'], stdout=sys.stdout, check=True)\n"
    )
    assert output.count("\\ud83d\n") == 4
    assert "\n7\n" in output


def test_with_bot_debug_every_text_is_shown_in_lines_still(run):
    output = run(
        "import library, time, warnings\n"
        "warnings.simplefilter('always')\n"
        "def serve():\n"
        "    for way in library.WAYS:\n"
        f"        library.emit(way, 'stdout', f'{SECRET} {{way}} end')\n"
        "    time.sleep(0.1)\n",
        debug=True,
    )
    shown = [json.dumps(line) for line in lines_of(output)]
    ways = [line.split('": ')[0].strip(' "') for line in LIBRARY.splitlines() if '": ' in line]
    missing = [way for way in ways if not any(f"{SECRET} {way} end" in line for line in shown)]
    # Below WARNING; and what can't be turned into a text.
    assert missing == ["log info", "log broken", "log repr"]


def test_with_bot_debug_an_error_has_its_causes(run):
    [line] = [
        line
        for line in lines_of(
            run(
                "import library\n"
                f"def serve():\n    library.emit('log exception', 'stdout', '{SECRET}')\n",
                debug=True,
            )
        )
        if "traceback" in line
    ]
    assert f"ValueError: {SECRET}\n" in line["traceback"]
    assert f"RuntimeError: {SECRET}" in line["traceback"]
    assert '  File "library.py", line ' in line["traceback"]
