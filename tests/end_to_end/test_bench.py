"""The parts of the benchmark work; how fast anything is isn't tested."""

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import cost, http, picture, proc, results
from bench.behind import BehindLocalLambda
from bench.environment import Process, Variant
from bench.many import Conversation, Slots, converse
from bench.measure import Figure, compare
from bench.questions import query
from bench.results import PEER_MEASURES, Report, Row
from bench.variants import Secret, Variants
from infra.toolchain.folders import ROOT

PEERS = ROOT / "bench" / "peers"
KEY = "k" * 32
FIGURE = Figure(0.3, 0.4, 0.75, 0.7, 0.8)
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the bench is for Linux")


def received(*pieces: bytes) -> http.Message:
    near, far = socket.socketpair()
    with near, far:
        for piece in pieces:
            far.sendall(piece)
        return http.receive(near)


def test_a_chunked_message_is_read_to_its_end_and_its_first_event_is_noticed() -> None:
    head = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    message = received(head, b"10\r\nevent: text\r\n\r\n\r\n\r\n", b"0\r\n\r\n")
    assert message.target == "/x"
    assert 0 < message.first_event_at <= message.end_at


def test_a_message_with_a_length_is_read_to_its_end() -> None:
    message = received(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", b"te", b"xt")
    assert message.body == b"text"
    assert not message.first_event_at


def test_ratios_are_of_the_rounds_and_not_of_the_medians() -> None:
    figure = Figure.of([2.0, 20.0, 6.0], [1.0, 10.0, 6.0])
    assert (figure.value, figure.reference, figure.ratio) == (6.0, 6.0, 2.0)
    assert figure.low <= figure.ratio <= figure.high


def test_the_two_sides_take_turns_and_go_first_alternately() -> None:
    order = []

    def take(name):
        return lambda: order.append(name) or {"x": 1.0}

    compare(take("a"), take("b"), rounds=3)
    assert "".join(order) == "baabba"


@needs_linux
def test_the_package_answers_the_bench(build_with_bot, runtime_python: Path) -> None:
    package = build_with_bot((PEERS / "bench_bot.py").read_text())
    command = [str(package / "bootstrap"), str(runtime_python), "/var/runtime/bootstrap.py"]
    environment = {"LAMBDA_TASK_ROOT": str(package), "POE_ACCESS_KEY": KEY}
    with Process(Variant("ours", command, package, environment)) as process:
        assert process.ready_cpu > 0
        for _ in range(2):
            answer = process.ask("3 0", KEY)
            assert 0 < answer.first_event <= answer.total
            assert answer.cpu > 0
        assert process.peak_memory() > 10


@pytest.fixture
def peer_server() -> Iterator[Process]:
    command = [sys.executable, "web_server.py", "asgi_app:app"]
    environment = {"POE_ACCESS_KEY": KEY, "PYTHONWARNINGS": "ignore"}
    with Process(Variant("uvicorn", command, PEERS, environment, is_web_server=True)) as process:
        yield process


@needs_linux
def test_a_web_server_answers_the_bench(peer_server: Process) -> None:
    answer = peer_server.ask("3 0", KEY)
    assert 0 < answer.first_event <= answer.total
    burst = peer_server.ask_many(query("3 0"), KEY, 5)
    assert len(burst.first_events) == 5
    assert min(burst.first_events) > 0
    assert burst.events == 15
    assert burst.cpu > 0
    with pytest.raises(ConnectionResetError, match="cut short"):
        peer_server.ask_many(query("3 0"), "wrong", 1)


@needs_linux
def test_a_runtime_answers_several_at_once_and_again(build_with_bot, runtime_python: Path) -> None:
    package = build_with_bot((PEERS / "bench_bot.py").read_text())
    command = [str(package / "bootstrap"), str(runtime_python), "/var/runtime/bootstrap.py"]
    environment = {"LAMBDA_TASK_ROOT": str(package), "POE_ACCESS_KEY": KEY}
    with Process(Variant("ours", command, package, environment, slots=3)) as process:
        for count in (3, 2):
            burst = process.ask_many(query("2 0.1", history=200_000), KEY, count)
            assert len(burst.first_events) == count
            assert burst.events == 2 * count
        with pytest.raises(AssertionError, match="key is wrong"):
            process.ask_many(query("2 0"), "wrong", 1)


@needs_linux
def test_a_function_behind_the_local_lambda_answers_the_bench(
    build_with_bot, runtime_python: Path
) -> None:
    package = build_with_bot((PEERS / "bench_bot.py").read_text())
    variants = Variants(package, PEERS, Secret("", PEERS), runtime_python)
    with BehindLocalLambda(variants.behind_local_lambda(3)) as process:
        burst = process.ask_many(query("3 0"), KEY, 3)
        assert burst.events == 9
        assert 0 < burst.cpu < proc.cpu_of(process._process.pid)  # the local Lambda's is more


@needs_linux
def test_memory_is_read_while_all_are_in_their_midst(peer_server: Process) -> None:
    seen: list[float] = []
    peer_server.ask_many(query("2 1"), KEY, 3, lambda: seen.append(peer_server.memory()))
    assert len(seen) == 1
    assert seen[0] > 1000
    with pytest.raises(RuntimeError, match="before each had its first event"):
        # Of two, the first is over before the other one begins.
        converse(
            [peer_server.conversation(query(asked), KEY) for asked in ("1 0", "1 0.5")], seen.clear
        )


def test_a_runtime_that_asks_for_more_than_its_slots_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        slots = stack.enter_context(closing(Slots(listener, 1)))
        calls = [socket.create_connection(listener.getsockname()) for _ in range(2)]
        for call in calls:
            stack.enter_context(call)
            call.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(RuntimeError, match="more than 1 calls"):
            slots.wait()


def test_an_answer_that_is_cut_short_is_an_error() -> None:
    near, far = socket.socketpair()
    with near, far:
        conversation = Conversation(near, b"")
        far.sendall(b"HTTP/1.1 200 OK\r\n\r\n5\r\nevent")
        assert not conversation.receive()
        far.close()
        with pytest.raises(ConnectionResetError, match="cut short"):
            conversation.receive()


@needs_linux
def test_what_is_least_answers_as_a_runtime_and_under_a_web_server() -> None:
    quiet = {"PYTHONWARNINGS": "ignore"}
    runtime = Variant("floor", [sys.executable, "floor.py"], PEERS, quiet)
    with Process(replace(runtime, slots=2)) as process:
        for _ in range(2):
            assert process.ask_many(query("3 0"), KEY, 2).events == 6
    server = [sys.executable, "web_server.py", "floor:app"]
    for variant in (runtime, Variant("floor", server, PEERS, quiet, is_web_server=True)):
        with Process(variant) as process:
            for _ in range(2):
                assert process.ask("3 0", KEY).first_event > 0


def test_a_report_becomes_tables_and_a_picture() -> None:
    figure = FIGURE
    report = Report("a machine")
    report.targets = [
        Row("start", "peer", figure, 0.75, floor=figure),
        Row("size", "", figure, 0.2, True),
    ]
    report.peers = {"this & that": dict.fromkeys(PEER_MEASURES, figure)}
    report.curve = {512: figure}
    text = results.markdown(report)
    assert (
        "| start | peer | 300.0 ms | 400.0 ms | 0.75 × (0.70–0.80) | 0.75 × | ≤ 0.75 × ✓ |" in text
    )
    assert "≤ 0.2 ✗" in text
    assert "| 512 MB | 300.0 ms |" in text
    assert "| start | peer | 55 µs |" in results.markdown(
        Report("a machine", many=[Row("start", "peer", Figure(55e-6, 1, 1, 1, 1), None)])
    )
    assert "this & that" in "".join(ElementTree.fromstring(picture.svg(report)).itertext())


@pytest.mark.parametrize("measured_before", [True, False])
def test_single_sections_replace_their_own_in_the_results(measured_before: bool) -> None:
    targets, old_rows, rows = ([Row(name, "x", FIGURE, None)] for name in "abc")
    old = Report("old", targets, old_rows if measured_before else [], curve={512: FIGURE})
    text = results.merged(results.markdown(old), results.markdown(Report("new", many=rows)))
    expected = results.markdown(Report("old", targets, rows, curve={512: FIGURE}))
    many = "## 64 conversations at once\n\n"
    assert text == expected.replace(f"{many}old", f"{many}new")


def test_a_figure_has_other_units() -> None:
    assert Figure(300, 400, 0.75, 0.7, 0.8) == FIGURE * 1000


def test_peers_have_the_same_versions_as_the_package() -> None:
    def versions(file: Path) -> dict[str, str]:
        return dict(re.findall(r"^([\w-]+)==([\w.]+)", file.read_text(), re.M))

    ours = versions(ROOT / "handler" / "requirements.txt")
    peers = versions(PEERS / "requirements.txt")
    shared = {name: version for name, version in ours.items() if name in peers}
    assert {"fastapi", "pydantic", "mangum"} <= shared.keys()
    assert shared == {name: peers[name] for name in shared}


def test_lambdas_price_goes_by_memory_and_time() -> None:
    assumptions = cost.Assumptions(least_cold_share=0, log_bytes=0, secret=0)
    million = cost.on_lambda(1_000_000, assumptions, 512)
    assert million == pytest.approx(1e6 * 10 / 2 * 0.0000133334 + 0.20)
    assert cost.on_lambda(1_000_000, assumptions, 1024) - 0.2 == pytest.approx(2 * (million - 0.2))


def test_a_large_bill_is_cheaper_by_the_second() -> None:
    assumptions = cost.Assumptions()
    small, large = (cost.on_lambda(n, assumptions, 1024) / n for n in (10**8, 10**10))
    assert large < small


def test_a_reader_can_put_in_their_own_prices(capsys: pytest.CaptureFixture[str]) -> None:
    cost.main([])
    given = capsys.readouterr().out
    cost.main(["--seconds", "20", "--lambda-gb-second", "0.0000166667"])
    assert capsys.readouterr().out != given


def test_starts_are_billed_like_answers() -> None:
    assumptions = cost.Assumptions()
    unbilled = cost.Assumptions(cold_seconds_512=0)
    starts = cost.starts_on_lambda(1_000, assumptions, 512)
    assert starts == pytest.approx(
        1_000 * cost.cold_share(1_000, assumptions) * 1.1 / 2 * 1.33334e-5
    )
    total = cost.on_lambda(1_000, assumptions, 512)
    assert total - cost.on_lambda(1_000, unbilled, 512) == pytest.approx(starts)


def test_the_documents_table_is_what_the_script_computes() -> None:
    assert cost.table(cost.Assumptions()) in (ROOT / "docs" / "cost.md").read_text("utf-8")
