"""What a bot costs a month, from stated prices: `python -m bench.cost [--seconds 20 …]`.

Every price and assumption below is an option; prices in USD, without free tiers. They are list
prices for us-east-1, looked up in November 2026 on public pages; "(memory)" marks those that no
public page was found for. docs/cost.md shows this program's output.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, fields

MONTH = 30 * 24 * 3600  # seconds
VOLUMES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)  # messages a month
MEMORIES = (256, 512, 1024)  # MB


@dataclass(frozen=True)
class Assumptions:
    """Options of the command: dashes for underscores."""

    # A message, and how messages come.
    seconds: float = 10  # that a conversation is open, mostly waiting for a model
    cpu_seconds: float = 0.1  # of a whole vCPU, for one message
    peak: float = 3  # the busiest hour, in averages

    # AWS Lambda pricing, arm64: up to 7.5 billion GB-s, then up to 18.75, then beyond.
    lambda_gb_second: float = 0.0000133334
    lambda_gb_second_2: float = 0.0000120001
    lambda_gb_second_3: float = 0.0000106667
    lambda_million_requests: float = 0.20
    # A start, which Lambda bills like an answer since August 2025 ("INIT"): bench/results.md.
    cold_seconds_256: float = 2.3
    cold_seconds_512: float = 1.1
    cold_seconds_1024: float = 0.5
    kept_seconds: float = 300  # an idle environment stays this long or longer (undocumented)
    least_cold_share: float = 0.01  # of starts, however many messages there are
    secret: float = 0.40  # a month: AWS Secrets Manager pricing
    log_gb: float = 0.50  # CloudWatch pricing
    log_bytes: float = 700  # for one message

    # SnapStart, for one published version (memory): its snapshot is kept, and read for each start.
    snapshot_gb_second: float = 0.0000015046
    restored_gb: float = 0.0001397998
    restore_seconds: float = 0.3  # billed like an answer; a guess, since only AWS can show it

    # Lambda Managed Instances: EC2's price and 15 % on top; three instances is the least.
    managed_instance_hour: float = 0.0725  # c7g.large, 2 vCPUs (memory)
    managed_fee: float = 0.15
    managed_least: float = 3
    managed_conversations: float = 32  # in one instance: 16 for each vCPU, Lambda's own default

    # AWS Fargate pricing, arm64: a task of 0.25 vCPU and 0.5 GB, behind a load balancer with two
    # public addresses; each task needs one, too (AWS Elastic Load Balancing and VPC pricing).
    fargate_vcpu_hour: float = 0.03238
    fargate_gb_hour: float = 0.00356
    balancer_hour: float = 0.0225
    address_hour: float = 0.005

    # Modal pricing: physical cores of two vCPUs; 0.125 of one and 128 MB are the least.
    modal_core_second: float = 0.0000131
    modal_gib_second: float = 0.00000222
    modal_idle_seconds: float = 60  # that an idle container stays
    modal_conversations: float = 50  # in one container


def on_lambda(n: int, a: Assumptions, memory: int) -> float:
    """USD for `n` messages in a month; `memory` in MB."""
    seconds = n * a.seconds + start_seconds(n, a, memory)
    compute = _tiered(seconds * memory / 1024, a)
    return compute + n / 1e6 * a.lambda_million_requests + _secret_and_logs(n, a)


def with_snapstart(n: int, a: Assumptions, memory: int) -> float:
    """`on_lambda` with starts from a snapshot."""
    gb, starts = memory / 1024, n * cold_share(n, a)
    kept = MONTH * gb * a.snapshot_gb_second + starts * gb * a.restored_gb
    seconds = n * a.seconds + starts * a.restore_seconds
    compute = _tiered(seconds * gb, a) + n / 1e6 * a.lambda_million_requests
    return compute + kept + _secret_and_logs(n, a)


def starts_on_lambda(n: int, a: Assumptions, memory: int) -> float:
    """USD of `on_lambda` for the starts alone, which Lambda calls INIT; `memory` in MB."""
    with_starts = n * a.seconds + start_seconds(n, a, memory)
    return _tiered(with_starts * memory / 1024, a) - _tiered(n * a.seconds * memory / 1024, a)


def start_seconds(n: int, a: Assumptions, memory: int) -> float:
    """What all starts in a month take together."""
    return float(n * cold_share(n, a) * getattr(a, f"cold_seconds_{memory}"))


def cold_share(n: int, a: Assumptions) -> float:
    """The share of messages that find no environment kept, if they arrive at random."""
    return max(a.least_cold_share, math.exp(-n / MONTH * a.kept_seconds))


def _tiered(gb_seconds: float, a: Assumptions) -> float:
    first, second = min(gb_seconds, 7.5e9), min(max(gb_seconds - 7.5e9, 0), 11.25e9)
    third = max(gb_seconds - 18.75e9, 0)
    return first * a.lambda_gb_second + second * a.lambda_gb_second_2 + third * a.lambda_gb_second_3


def on_managed_instances(n: int, a: Assumptions) -> float:
    instances = max(a.managed_least, math.ceil(_at_peak(n, a) / a.managed_conversations))
    hours = instances * MONTH / 3600
    compute = hours * a.managed_instance_hour * (1 + a.managed_fee)
    return compute + n / 1e6 * a.lambda_million_requests + _secret_and_logs(n, a)


def on_fargate(n: int, a: Assumptions) -> float:
    # A task may use 70 % of its CPU at the peak.
    conversations = 0.7 * 0.25 / (a.cpu_seconds / a.seconds)
    tasks = max(1, math.ceil(_at_peak(n, a) / conversations))
    task = 0.25 * a.fargate_vcpu_hour + 0.5 * a.fargate_gb_hour + a.address_hour
    balancer = a.balancer_hour + 2 * a.address_hour
    return (tasks * task + balancer) * MONTH / 3600 + _secret_and_logs(n, a)


def on_modal(n: int, a: Assumptions) -> float:
    alive = _alive_seconds(n, a, a.modal_idle_seconds, a.modal_conversations)
    cores = max(alive * 0.125, n * a.cpu_seconds / 2)
    return cores * a.modal_core_second + alive * 0.125 * a.modal_gib_second


def _alive_seconds(n: int, a: Assumptions, idle: float, conversations: float) -> float:
    """For how long containers that stay for `idle` seconds are up in a month, all together."""
    busy = 1 - math.exp(-n / MONTH * (a.seconds + idle))  # the share of the time with a container
    return MONTH * max(busy, n * a.seconds / MONTH / conversations)


def _at_peak(n: int, a: Assumptions) -> float:
    """Conversations at once."""
    return n * a.seconds / MONTH * a.peak


def _secret_and_logs(n: int, a: Assumptions) -> float:
    return a.secret + n * a.log_bytes / 1e9 * a.log_gb


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
        *([name, *(_dollars(cost(n)) for n in VOLUMES)] for name, cost in ways.items()),
        ["cold starts on Lambda", *(f"{cold_share(n, a):.0%}" for n in VOLUMES)],
        ["– what they cost, 512 MB", *(_dollars(starts_on_lambda(n, a, 512)) for n in VOLUMES)],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _dollars(amount: float) -> str:
    return f"{amount:,.2f}" if amount < 100 else f"{amount:,.0f}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.cost", description="What a bot costs a month, from stated prices."
    )
    for each in fields(Assumptions):
        option = f"--{each.name.replace('_', '-')}"
        parser.add_argument(option, type=float, default=each.default, metavar="NUMBER")
    print(table(Assumptions(**vars(parser.parse_args(arguments)))))


if __name__ == "__main__":
    main()
