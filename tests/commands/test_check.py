"""`make check` against bots that are served well, and against those that are not."""

import asyncio
import io
import json
import socket
import ssl
import struct
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fastapi_poe as fp
import httpx
import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from commands import check
from local.aws_lambda.service import FunctionConfig, LocalLambda
from poe.check import probe as check_probe
from poe.check.finding import Finding, Verdict
from poe.check.probe import Probe
from poe.check.promises import PROMISES, https
from poe.client import access
from poe.client.access import Unusable
from poe.client.sse import encode_event
from poe.client.turn import Limits
from tests.support.aws import aws, run
from tests.support.bots import KEY, PacedBot, served, served_bot
from tests.support.closed import CLOSED
from tests.support.entries import needs_awslambdaric

SLOW_BOT = """
import asyncio
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        for number in range(6):
            await asyncio.sleep(0.2)
            yield fp.PartialResponse(text=f"{number} ")

bot = Bot()
"""

pytestmark = pytest.mark.anyio


async def check_of(url: str) -> dict[str, Finding]:
    return {promise.name: finding async for promise, finding in check.check(url, KEY)}


def failures(found: dict[str, Finding]) -> set[str]:
    return {name for name, finding in found.items() if finding.verdict is Verdict.FAIL}


@pytest.fixture(scope="module")
def slow_package(build_with_bot: Callable[[str], Path]) -> Path:
    return build_with_bot(SLOW_BOT)


def local_lambda(package: Path, python: Path, **changes: Any) -> LocalLambda:
    config = FunctionConfig(package, python, environment={"POE_ACCESS_KEY": KEY}, **changes)
    return LocalLambda(config, on_line=lambda line: None)


async def test_the_package_keeps_every_promise(slow_package: Path, runtime_python: Path) -> None:
    async with local_lambda(slow_package, runtime_python) as function:
        found = await check_of(function.url)
    assert list(found) == [promise.name for promise in PROMISES]
    kept = {name for name, finding in found.items() if finding.verdict is Verdict.PASS}
    assert found.keys() - kept == {"HTTPS"}


@needs_awslambdaric
async def test_a_plain_mangum_deployment_is_caught_by_its_arrival_times(
    slow_package: Path,
) -> None:
    python = Path(sys.executable)
    buffered = local_lambda(slow_package, python, wrapper=None, invoke_mode="BUFFERED")
    async with buffered as function:
        found = await check_of(function.url)
    assert failures(found) == {"query streams", "no event late"}
    assert "the answer is buffered before it is sent" in found["query streams"].figure


@needs_awslambdaric
async def test_a_streaming_url_before_a_handler_that_does_not_stream_is_caught(
    slow_package: Path,
) -> None:
    async with local_lambda(slow_package, Path(sys.executable), wrapper=None) as function:
        found = await check_of(function.url)
    assert "done last" in failures(found)
    assert "not text/event-stream" in found["done last"].figure


def buffering(target: str) -> Any:
    """A proxy that collects a whole answer before it sends any of it."""

    async def answer(request: Request) -> Response:
        headers = {"Authorization": request.headers.get("authorization", "")}
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            body = await request.body()
            reply = await client.request(request.method, target, headers=headers, content=body)
        kind = reply.headers.get("content-type")
        return Response(reply.content, reply.status_code, {"content-type": kind})

    return Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])


async def test_a_proxy_that_buffers_is_caught() -> None:
    with served_bot(PacedBot(6, pause=0.2)) as bot, served(buffering(bot)) as url:
        found = await check_of(url)
    assert failures(found) == {"query streams", "no event late", "unknown role ignored"}


@pytest.mark.parametrize(
    "bot", [PacedBot(8), PacedBot(1), PacedBot(8, think=0.6)], ids=["quick", "short", "thinking"]
)
async def test_a_quick_a_short_and_a_thinking_bot_are_not_called_buffered(bot: PacedBot) -> None:
    with served_bot(bot) as url:
        finding = (await check_of(url))["query streams"]
    assert finding.verdict is Verdict.UNPROVED
    assert "TEXT=" in finding.figure


async def test_what_looks_buffered_once_is_asked_for_again() -> None:
    """A hiccup before a quick answer, head and all, doesn't prove buffering."""
    asked = 0

    async def answer(request: Request) -> Response:
        nonlocal asked
        body = await request.json()
        if body["type"] != "query":
            return Response("{}")
        asked += 1
        if asked == 2:  # the warm one
            await asyncio.sleep(0.8)
        words = b"".join(encode_event("text", {"text": f"{n} "}) for n in range(8))
        return Response(words + encode_event("done", {}), media_type="text/event-stream")

    with served(Starlette(routes=[Route("/", answer, methods=["POST"])])) as url:
        found = await check_of(url)
    assert found["query streams"].verdict is Verdict.UNPROVED
    assert failures(found) >= {"no key refused", "wrong key refused", "unknown type 501"}


async def test_fastapi_poe_under_uvicorn_streams_and_its_one_fault_is_named() -> None:
    bot = PacedBot(5, pause=0.1)
    with served_bot(bot) as url:
        found = await check_of(url)
    # What fastapi_poe 0.0.83 makes of a role that it does not know.
    assert failures(found) == {"unknown role ignored"}
    assert found["unknown role ignored"].figure.startswith("status 500")
    assert found["query streams"].verdict is Verdict.PASS
    assert found["calls declared"] == Finding(Verdict.PASS, "Echo × 2")
    assert len(bot.told) == 2


class FailingBot(PacedBot):
    """Calls another bot, as Poe lets it: not at all, for a message that is not from Poe."""

    def __init__(self, error: str) -> None:
        super().__init__(0)
        self.error = error

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterator[Any]:
        yield fp.ErrorResponse(text=self.error)


async def test_a_bot_that_only_poe_can_make_answer_is_unproved_not_at_fault() -> None:
    with served_bot(FailingBot("Poe knows no such message")) as url:
        found = await check_of(url)
    assert failures(found) == {"unknown role ignored"}
    assert "only an error: Poe knows no such message" in found["query streams"].figure
    assert found["calls declared"].verdict is Verdict.UNPROVED


class RaisingBot(PacedBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterator[Any]:
        raise ValueError("boom")
        yield


class Refusing(fp.PoeBot):
    """Declares no other bot, and answers each question with an error."""

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterator[Any]:
        yield fp.ErrorResponse(text="out of order")


@pytest.mark.parametrize(
    ("bot", "words"),
    [
        (RaisingBot(0), "The bot encountered an unexpected issue."),
        (Refusing("/", KEY), "out of order"),
    ],
    ids=["raises", "refuses"],
)
async def test_a_bot_whose_every_answer_is_an_error_fails(bot: fp.PoeBot, words: str) -> None:
    with served_bot(bot) as url:
        found = await check_of(url)
    assert found["answers not errors"] == Finding(Verdict.FAIL, f"each answer is an error: {words}")


class OnceFailingBot(PacedBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterator[Any]:
        self.told.append(request)
        yield (
            fp.ErrorResponse(text="busy")
            if len(self.told) == 2
            else fp.PartialResponse(text="hello")
        )


async def test_an_error_among_answers_is_open() -> None:
    with served_bot(OnceFailingBot(0)) as url:
        found = await check_of(url)
    assert found["answers not errors"].verdict is Verdict.UNPROVED
    assert "one of 2 answers is an error: busy" in found["answers not errors"].figure


def refusing(app: Any, refuses: Callable[[str, Any], bool], status: int) -> Any:
    """The app behind something that refuses requests by their method and JSON body."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        request = Request(scope, receive)
        body = await request.body()
        if refuses(scope["method"], json.loads(body or b"{}")):
            return await Response("no", status)(scope, receive, send)

        async def again() -> Any:
            if parts:
                return {"type": "http.request", "body": parts.pop()}
            return await receive()

        parts = [body]
        await app(scope, again, send)

    return answer


async def test_a_page_that_is_forbidden_fails() -> None:
    app = refusing(fp.make_app(PacedBot(1)), lambda method, body: method == "GET", 403)
    with served(app) as url:
        found = await check_of(url)
    assert found["GET answers"].verdict is Verdict.FAIL
    assert found["GET answers"].figure.startswith("status 403: is the URL public?")


@pytest.mark.parametrize("kind", ["feedback", "reaction", "error"])
@pytest.mark.parametrize("status", [403, 500, 501])
async def test_a_report_type_that_is_refused_fails(kind: str, status: int) -> None:
    app = refusing(
        fp.make_app(PacedBot(1)), lambda method, body: body.get("type") == f"report_{kind}", status
    )
    with served(app) as url:
        finding = (await check_of(url))["reports accepted"]
    assert finding.verdict is Verdict.FAIL
    assert f"{kind} {status}" in finding.figure
    assert finding.figure.count(" 200") == 3  # the other two, and what is asked for


class Lumps(PacedBot):
    """Says a word every 50 ms; what follows the tenth comes 1.2 s later, `lump` words at once."""

    def __init__(self, lump: int) -> None:
        super().__init__(40)
        self.lump = lump

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterator[Any]:
        for number in range(self.words):
            if number == 10:
                await asyncio.sleep(1.2)
            elif not 10 < number < 10 + self.lump:
                await asyncio.sleep(0.05)
            yield fp.PartialResponse(text=f"{number} ")


@pytest.mark.parametrize(
    ("lump", "verdict"),
    [(24, Verdict.FAIL), (4, Verdict.UNPROVED), (0, Verdict.PASS)],
    ids=["held", "thinks and says a little", "thinks"],
)
async def test_one_long_hold_fails_and_a_bot_that_thinks_does_not(
    lump: int, verdict: Verdict
) -> None:
    with served_bot(Lumps(lump)) as url:
        finding = (await check_of(url))["no event late"]
    assert finding.verdict is verdict, finding


async def test_a_call_that_was_not_declared_is_a_fault() -> None:
    words = "Message m called on bot that has 0 or undefined call count in settings."
    with served_bot(FailingBot(words)) as url:
        found = await check_of(url)
    assert found["calls declared"] == Finding(Verdict.FAIL, words)


@pytest.mark.parametrize(
    ("settings", "verdict", "words"),
    [
        ({"allow_attachments": "perhaps"}, Verdict.FAIL, "allow_attachments: "),
        ({"field_of_later": 1}, Verdict.UNPROVED, "fields unknown here: field_of_later"),
    ],
)
async def test_settings_that_poe_would_refuse_are_named(
    settings: dict[str, Any], verdict: Verdict, words: str
) -> None:
    async def answer(request: Request) -> Response:
        return Response(json.dumps(settings))

    with served(Starlette(routes=[Route("/", answer, methods=["POST"])])) as url:
        found = (await check_of(url))["settings valid"]
    assert (found.verdict, words in found.figure) == (verdict, True), found


async def test_a_server_that_hangs_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_probe, "REPLY_SECONDS", 0.1)
    monkeypatch.setattr(check_probe, "_LIMITS", Limits(0.1, 0.2))

    async with hanging() as url, asyncio.timeout(20):
        found = await check_of(url)
    assert found["first answer in 5 s"].figure == "no answer within 0.1 s"
    assert found["GET answers"].figure == "no answer within 0.1 s"
    assert len(found) == len(PROMISES)


@asynccontextmanager
async def hanging() -> AsyncIterator[str]:
    """A server that takes connections and sends nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


async def test_a_server_that_resets_every_connection_passes_nothing() -> None:
    def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_once = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.transport.abort()

    async with await asyncio.start_server(reset, "127.0.0.1", 0) as it:
        found = await check_of("http://127.0.0.1:{1}/".format(*it.sockets[0].getsockname()))
    assert Verdict.PASS not in {finding.verdict for finding in found.values()}
    assert all(finding.figure for finding in found.values())
    assert found["settings valid"].figure.count("did not answer in HTTP") == 1


async def test_http_is_a_fault_for_a_public_host_and_open_for_this_machine() -> None:
    for url, verdict in (
        ("http://bot.example/", Verdict.FAIL),
        ("http://localhost:9000/", Verdict.UNPROVED),
    ):
        async with Probe(url, KEY) as probe:
            assert (await https(probe)).verdict is verdict


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is there on Linux alone")
async def test_https_is_kept_with_a_trusted_certificate_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.2").configure_cert(tls)
    app = fp.make_app(PacedBot(1))
    with served(app, "127.0.0.2", ssl_context_factory=lambda config, default: tls) as url:
        refused = await check_of(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        found = await check_of(url)
    [finding] = refused.values()
    assert "CERTIFICATE_VERIFY_FAILED" in finding.figure
    assert found["HTTPS"] == Finding(Verdict.PASS, "TLSv1.3")


# The command


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served_bot(PacedBot(3)) as url:
        yield url


def keep_key(build: Path, key: str) -> None:
    (build / "run").mkdir(parents=True)
    (build / "run" / "access-key").write_text(key + "\n")


def key_for(url: str, stack: str | None = None) -> str:
    return check.key_for(url, Namespace(stack=stack, bot_dir=None, caller=None))


def test_a_line_per_promise_and_the_sum_are_printed_and_status_1_says_that_one_is_broken(
    url: str,
) -> None:
    done = run("commands.check", "--url", url, variables={"POE_ACCESS_KEY": KEY})
    assert (done.returncode, done.stderr) == (1, "")
    *lines, summary = done.stdout.splitlines()
    assert [
        line[10:].startswith(promise.name) for line, promise in zip(lines, PROMISES, strict=True)
    ]
    assert {line.split()[0] for line in lines} == {"pass", "fail", "unproved"}
    assert summary.startswith("12 pass, 1 fail, 2 unproved. ")
    assert summary.endswith("Fix what failed before you register this URL.")
    assert KEY not in done.stdout


@pytest.mark.parametrize(
    ("number", "words"),
    [(1, "The URL is ready to be registered."), (2, "Nothing failed, but not everything")],
)
def test_status_0_says_that_none_is_broken(
    url: str,
    number: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(check, "PROMISES", PROMISES[:number])
    monkeypatch.setenv("POE_ACCESS_KEY", KEY)
    assert check.main(["--url", url]) == 0
    assert words in capsys.readouterr().out


def test_what_a_server_says_back_shows_neither_the_key_nor_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def say_back(request: Request) -> Response:
        return Response(f"\x1b[2J {request.headers['authorization']}", 500)

    monkeypatch.setattr(check, "PROMISES", PROMISES[:1])
    with served(Starlette(routes=[Route("/", say_back, methods=["POST"])])) as url:
        assert not check.run(url, KEY)
    assert "status 500: [2J Bearer <the key>\n" in capsys.readouterr().out


def test_nothing_at_the_url_gives_one_line_of_one_promise() -> None:
    done = run("commands.check", "--url", f"http://{CLOSED}/", variables={"POE_ACCESS_KEY": KEY})
    assert (done.returncode, done.stderr) == (1, "")
    assert f"nothing answers at http://{CLOSED}/" in done.stdout.splitlines()[0]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing built yet, no key, no terminal."""
    monkeypatch.setattr(access, "BUILD", tmp_path)
    monkeypatch.delenv("POE_ACCESS_KEY", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return tmp_path


def test_the_key_of_make_run_is_for_this_machine_alone(alone: Path) -> None:
    keep_key(alone, KEY)
    assert key_for("http://127.0.0.1:9000/") == KEY
    with pytest.raises(Unusable, match=r"no access key for bot.example: set POE_ACCESS_KEY"):
        key_for("https://bot.example/")


def test_the_stacks_key_is_for_the_stacks_url_alone(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function_url = "https://abc.lambda-url.us-east-1.on.aws/"
    with aws() as cloud:
        deployed = cloud.stack(url=function_url)
        for name, value in deployed.environment.items():
            monkeypatch.setenv(name, value)
        assert key_for(function_url, deployed.name) == KEY
        monkeypatch.setenv("POE_ACCESS_KEY", "another")
        assert key_for(function_url, deployed.name) == KEY
        assert key_for(function_url.replace("abc", "xyz"), deployed.name) == "another"
        assert key_for(function_url, "no-such-stack") == "another"
