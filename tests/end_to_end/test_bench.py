"""The parts of the benchmark work; how fast anything is isn't tested."""

import re
import socket
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import cost, http, picture, results
from bench.environment import Process, Variant
from bench.measure import Figure, compare
from bench.results import PEER_MEASURES, Report, Row
from infra.toolchain.folders import ROOT

PEERS = ROOT / "bench" / "peers"
KEY = "k" * 32
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


@needs_linux
def test_a_web_server_answers_the_bench() -> None:
    command = [sys.executable, "web_server.py", "asgi_app:app"]
    environment = {"POE_ACCESS_KEY": KEY, "PYTHONWARNINGS": "ignore"}
    variant = Variant("uvicorn", command, PEERS, environment, is_web_server=True)
    with Process(variant) as process:
        answer = process.ask("3 0", KEY)
        assert 0 < answer.first_event <= answer.total
        assert process.ask_many("3 0", KEY, 5) > 0


@needs_linux
def test_what_is_least_answers_as_a_runtime_and_under_a_web_server() -> None:
    quiet = {"PYTHONWARNINGS": "ignore"}
    runtime = Variant("floor", [sys.executable, "floor.py"], PEERS, quiet)
    server = [sys.executable, "web_server.py", "floor:app"]
    for variant in (runtime, Variant("floor", server, PEERS, quiet, is_web_server=True)):
        with Process(variant) as process:
            for _ in range(2):
                assert process.ask("3 0", KEY).first_event > 0


def test_a_report_becomes_tables_and_a_picture() -> None:
    figure = Figure(0.3, 0.4, 0.75, 0.7, 0.8)
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
    assert "this & that" in "".join(ElementTree.fromstring(picture.svg(report)).itertext())


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
