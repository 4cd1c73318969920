"""What a deployed bot costs a month, in both of the stack's forms, from list prices.

USD, us-east-1, without free tiers, looked up in November 2026 on public pages; "(memory)" marks
those that no public page was found for.
"""

import math
from dataclasses import dataclass

MONTH = 30 * 24 * 3600  # seconds
LEAST_INSTANCES = 3  # Lambda's own default: one environment in each of three
MOST_INSTANCES = 32  # the stack's limit, so that a flood has an end

# AWS Lambda pricing, by architecture: up to 7.5 billion GB-s.
GB_SECOND = {"arm64": 0.0000133334, "x86_64": 0.0000166667}
MILLION_REQUESTS = 0.20


@dataclass(frozen=True)
class Instance:
    """A type of EC2's, with its price per hour on demand. Each has two vCPUs."""

    type: str
    hour: float


# By architecture and the function's MB. Lambda keeps one vCPU and 1 GB of a machine for itself, so
# each has room for one environment of one vCPU, and the bot's event loop can't use a second one.
INSTANCES = {
    ("arm64", 2048): Instance("c7g.large", 0.0725),
    ("arm64", 4096): Instance("m7g.large", 0.0816),
    ("arm64", 8192): Instance("r7g.large", 0.1071),
    ("x86_64", 2048): Instance("c7i.large", 0.08925),
    ("x86_64", 4096): Instance("m7i.large", 0.1008),
    ("x86_64", 8192): Instance("r7i.large", 0.1323),  # (memory)
}
INSTANCE_VCPUS = 2


@dataclass(frozen=True)
class LambdaAssumptions:
    """Options of `python -m bench.cost`: dashes for underscores."""

    # A message, and how messages come.
    seconds: float = 10  # that a conversation is open, mostly waiting for a model
    cpu_seconds: float = 0.1  # of a whole vCPU, for one message
    peak: float = 3  # the busiest hour, in averages
    message_bytes: float = 30_000  # between the bot and its model, both ways

    # AWS Lambda pricing, arm64: up to 7.5 billion GB-s, then up to 18.75, then beyond.
    lambda_gb_second: float = GB_SECOND["arm64"]
    lambda_gb_second_2: float = 0.0000120001
    lambda_gb_second_3: float = 0.0000106667
    lambda_million_requests: float = MILLION_REQUESTS
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

    # Lambda Managed Instances: EC2's price on demand and a fee (AWS Lambda pricing).
    managed_instance_hour: float = INSTANCES["arm64", 2048].hour
    managed_fee: float = 0.15
    managed_least: float = LEAST_INSTANCES
    managed_conversations: float = 64  # in one instance: the stack's `concurrency`
    managed_cpu: float = 0.5  # of a vCPU in use, at which Lambda adds an instance (undocumented)
    # Their way to the internet (AWS VPC pricing): a NAT gateway, its address, and each GB.
    nat_gateways: float = 1
    nat_hour: float = 0.045
    nat_gb: float = 0.045
    address_hour: float = 0.005


def on_lambda(n: int, a: LambdaAssumptions, memory: int) -> float:
    """USD for `n` messages in a month; `memory` in MB."""
    seconds = n * a.seconds + start_seconds(n, a, memory)
    return _tiered(seconds * memory / 1024, a) + _requests(n, a) + secret_and_logs(n, a)


def with_snapstart(n: int, a: LambdaAssumptions, memory: int) -> float:
    """`on_lambda` with starts from a snapshot."""
    gb, starts = memory / 1024, n * cold_share(n, a)
    kept = MONTH * gb * a.snapshot_gb_second + starts * gb * a.restored_gb
    seconds = n * a.seconds + starts * a.restore_seconds
    return _tiered(seconds * gb, a) + _requests(n, a) + kept + secret_and_logs(n, a)


def starts_on_lambda(n: int, a: LambdaAssumptions, memory: int) -> float:
    """USD of `on_lambda` for the starts alone, which Lambda calls INIT; `memory` in MB."""
    with_starts = n * a.seconds + start_seconds(n, a, memory)
    return _tiered(with_starts * memory / 1024, a) - _tiered(n * a.seconds * memory / 1024, a)


def start_seconds(n: int, a: LambdaAssumptions, memory: int) -> float:
    """What all starts in a month take together."""
    return float(n * cold_share(n, a) * getattr(a, f"cold_seconds_{memory}"))


def cold_share(n: int, a: LambdaAssumptions) -> float:
    """The share of messages that find no environment kept, if they arrive at random."""
    return max(a.least_cold_share, math.exp(-n / MONTH * a.kept_seconds))


def on_managed_instances(n: int, a: LambdaAssumptions) -> float:
    """USD for `n` messages in a month. Nothing is billed for starts, nor for the waiting."""
    traffic = n * a.message_bytes / 1e9 * a.nat_gb if a.nat_gateways else 0
    fixed = instances(n, a) * instance_month(a) + way_out_month(a)
    return fixed + traffic + _requests(n, a) + secret_and_logs(n, a)


def instances(n: int, a: LambdaAssumptions) -> float:
    """How many run in the busiest hour; they are counted for the whole month."""
    by_cpu = a.managed_cpu / (a.cpu_seconds / a.seconds)
    return max(a.managed_least, math.ceil(at_peak(n, a) / min(a.managed_conversations, by_cpu)))


def instance_month(a: LambdaAssumptions) -> float:
    return a.managed_instance_hour * (1 + a.managed_fee) * MONTH / 3600


def way_out_month(a: LambdaAssumptions) -> float:
    return a.nat_gateways * (a.nat_hour + a.address_hour) * MONTH / 3600


def managed_pays_from(a: LambdaAssumptions, memory: int) -> int | None:
    """From how many messages a month on Managed Instances cost less than Lambda with `memory` MB,
    in steps of 10,000; None if not even with a billion."""
    step, low, high = 10_000, 0, 100_000
    if on_managed_instances(high * step, a) >= on_lambda(high * step, a, memory):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        n = middle * step
        if on_managed_instances(n, a) < on_lambda(n, a, memory):
            high = middle
        else:
            low = middle
    return high * step


def at_peak(n: int, a: LambdaAssumptions) -> float:
    """Conversations at once."""
    return n * a.seconds / MONTH * a.peak


def secret_and_logs(n: int, a: LambdaAssumptions) -> float:
    return a.secret + n * a.log_bytes / 1e9 * a.log_gb


def dollars(amount: float) -> str:
    """With cents where they matter."""
    return f"{amount:,.2f}" if amount < 100 else f"{amount:,.0f}"


def _requests(n: int, a: LambdaAssumptions) -> float:
    return n / 1e6 * a.lambda_million_requests


def _tiered(gb_seconds: float, a: LambdaAssumptions) -> float:
    first, second = min(gb_seconds, 7.5e9), min(max(gb_seconds - 7.5e9, 0), 11.25e9)
    third = max(gb_seconds - 18.75e9, 0)
    return first * a.lambda_gb_second + second * a.lambda_gb_second_2 + third * a.lambda_gb_second_3
