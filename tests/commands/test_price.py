"""What `make deploy` says that Managed Instances cost."""

import re
from typing import Any

import pytest

from bench import cost
from commands.price import price
from infra.stack.cost import instances
from infra.stack.options import Options
from infra.toolchain.folders import ROOT

ROW = r"^\| Lambda Managed Instances \| (.+) \|$"


def said(**context: Any) -> str:
    return price(Options.from_context({"concurrency": 64, **context}))


def test_it_says_what_the_table_of_the_document_says() -> None:
    """For no message, one million and ten million a month."""
    table = cost.table(cost.Assumptions())
    first, *_, million, ten, _ = re.findall(ROW, table, re.M)[0].split(" | ")
    assert said() == (
        f"Managed Instances cost about ${first} a month, even if nobody chats"
        " (3 × c7g.large $180, a NAT gateway $36).\n"
        f"With 1 million messages of 10 s a month ${million}, with 10 million ${ten};"
        " without concurrency $0.40, $68 and $673.\n"
        "Lambda adds instances while these are busy, up to 32: $1,957 a month."
        " (List prices of us-east-1; other regions differ)"
    )


def test_the_documents_say_the_same() -> None:
    deploy, readme = ((ROOT / name).read_text("utf-8") for name in ("docs/deploy.md", "README.md"))
    assert said() in deploy
    idle = re.findall(r"about (\$\d+) a month", said())[0]
    mentions = re.findall(r"about (\$\d\d+) a month", f"{deploy}{readme}")
    assert set(mentions) == {idle}


def test_the_document_of_the_cost_says_from_where_on_it_pays() -> None:
    document = (ROOT / "docs" / "cost.md").read_text("utf-8")
    assert cost.crossings(cost.Assumptions()) in document
    for seconds in (3, 30):
        point = cost.managed_pays_from(cost.Assumptions(seconds=seconds), 512)
        assert f"{point:,}" in document


def test_it_follows_what_was_chosen() -> None:
    given = said(vpc="vpc-0a1b2c3d4e5f67890")
    assert given.startswith("Managed Instances cost about $180 a month")
    assert "NAT" not in given
    large = said(memory=8192, arch="x86_64")
    assert "3 × r7i.large $329" in large
    assert "without concurrency $0.40, $84 and $840" in large


def test_fewer_at_once_need_more_instances_for_the_same_messages() -> None:
    ten_million = [
        int(re.findall(r"with 10 million \$(\d+);", said(concurrency=each))[0]) for each in (64, 8)
    ]
    assert ten_million[1] - ten_million[0] == pytest.approx(12 * 60, abs=10)


def test_instances_are_counted_by_the_conversations_and_by_the_cpu() -> None:
    busy = cost.Assumptions(cpu_seconds=1)
    idle = cost.Assumptions(cpu_seconds=0.0001)
    at_peak = 100_000_000 * 10 * 3 / (30 * 24 * 3600)  # 1,157
    of = [instances(100_000_000, each) for each in (busy, cost.Assumptions(), idle)]
    assert of == [-(-at_peak // 5), -(-at_peak // 50), -(-at_peak // 64)]


@pytest.mark.parametrize("memory", cost.MEMORIES)
def test_from_the_crossing_on_instances_cost_less_and_before_it_more(memory: int) -> None:
    a = cost.Assumptions()
    point = cost.managed_pays_from(a, memory)
    assert point
    for n, is_cheaper in ((point, True), (point - 10_000, False)):
        assert (cost.on_managed_instances(n, a) < cost.on_lambda(n, a, memory)) == is_cheaper


def test_quick_answers_never_make_instances_pay() -> None:
    quick = cost.Assumptions(seconds=0.01, cpu_seconds=0.01)
    assert cost.managed_pays_from(quick, 256) is None
    assert "| never |" in cost.crossings(quick)
