"""What a bot costs a month, here and elsewhere: `python -m bench.cost [--seconds 20 …]`.

Every price and assumption is an option: those below, and those of infra/stack/cost.py, where this
host's own forms are computed. Prices in USD, without free tiers: list prices for us-east-1, looked
up in November 2026 on public pages. docs/cost.md shows this program's output.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, fields

from infra.stack.cost import (
    MONTH,
    LambdaAssumptions,
    at_peak,
    cold_share,
    dollars,
    managed_pays_from,
    on_lambda,
    on_managed_instances,
    secret_and_logs,
    starts_on_lambda,
    with_snapstart,
)

VOLUMES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)  # messages a month
MEMORIES = (256, 512, 1024)  # MB


@dataclass(frozen=True)
class Assumptions(LambdaAssumptions):
    """Options of the command: dashes for underscores."""

    # AWS Fargate pricing, arm64: a task of 0.25 vCPU and 0.5 GB, behind a load balancer with two
    # public addresses; each task needs one, too (AWS Elastic Load Balancing and VPC pricing).
    fargate_vcpu_hour: float = 0.03238
    fargate_gb_hour: float = 0.00356
    balancer_hour: float = 0.0225

    # Modal pricing: physical cores of two vCPUs; 0.125 of one and 128 MB are the least.
    modal_core_second: float = 0.0000131
    modal_gib_second: float = 0.00000222
    modal_idle_seconds: float = 60  # that an idle container stays
    modal_conversations: float = 50  # in one container


def on_fargate(n: int, a: Assumptions) -> float:
    # A task may use 70 % of its CPU at the peak.
    conversations = 0.7 * 0.25 / (a.cpu_seconds / a.seconds)
    tasks = max(1, math.ceil(at_peak(n, a) / conversations))
    task = 0.25 * a.fargate_vcpu_hour + 0.5 * a.fargate_gb_hour + a.address_hour
    balancer = a.balancer_hour + 2 * a.address_hour
    return (tasks * task + balancer) * MONTH / 3600 + secret_and_logs(n, a)


def on_modal(n: int, a: Assumptions) -> float:
    alive = _alive_seconds(n, a, a.modal_idle_seconds, a.modal_conversations)
    cores = max(alive * 0.125, n * a.cpu_seconds / 2)
    return cores * a.modal_core_second + alive * 0.125 * a.modal_gib_second


def _alive_seconds(n: int, a: Assumptions, idle: float, conversations: float) -> float:
    """For how long containers that stay for `idle` seconds are up in a month, all together."""
    busy = 1 - math.exp(-n / MONTH * (a.seconds + idle))  # the share of the time with a container
    return MONTH * max(busy, n * a.seconds / MONTH / conversations)


def table(a: Assumptions) -> str:
    """USD a month, by messages a month, in Markdown."""
    ways: dict[str, Callable[[int], float]] = {
        f"Lambda, {memory:,} MB": lambda n, memory=memory: on_lambda(n, a, memory)  # type: ignore[misc]
        for memory in MEMORIES
    }
    ways["Lambda, 512 MB, SnapStart"] = lambda n: with_snapstart(n, a, 512)
    ways["Lambda Managed Instances"] = lambda n: on_managed_instances(n, a)
    ways["Fargate, 0.25 vCPU each"] = lambda n: on_fargate(n, a)
    ways["Modal"] = lambda n: on_modal(n, a)
    rows = [
        ["USD a month", *(f"{n:,}" for n in VOLUMES)],
        ["---", *("---:" for _ in VOLUMES)],
        *([name, *(dollars(cost(n)) for n in VOLUMES)] for name, cost in ways.items()),
        ["cold starts on Lambda", *(f"{cold_share(n, a):.0%}" for n in VOLUMES)],
        ["– what they cost, 512 MB", *(dollars(starts_on_lambda(n, a, 512)) for n in VOLUMES)],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def crossings(a: Assumptions) -> str:
    """From how many messages a month on Managed Instances cost less, starts ("INIT") included."""
    points = [managed_pays_from(a, memory) for memory in MEMORIES]
    rows = [
        ["Lambda with", *(f"{memory:,} MB" for memory in MEMORIES)],
        ["---", *("---:" for _ in MEMORIES)],
        ["messages a month", *(f"{n:,}" if n else "never" for n in points)],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.cost", description="What a bot costs a month, from stated prices."
    )
    for each in fields(Assumptions):
        option = f"--{each.name.replace('_', '-')}"
        parser.add_argument(option, type=float, default=each.default, metavar="NUMBER")
    assumptions = Assumptions(**vars(parser.parse_args(arguments)))
    print(f"{table(assumptions)}\n\n{crossings(assumptions)}")


if __name__ == "__main__":
    main()
