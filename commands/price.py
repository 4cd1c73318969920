"""What Managed Instances cost: printed before a deployment, since they run even if nobody chats."""

from dataclasses import replace

from infra.stack.cost import (
    GB_SECOND,
    INSTANCES,
    MOST_INSTANCES,
    LambdaAssumptions,
    instance_month,
    on_lambda,
    on_managed_instances,
    way_out_month,
)
from infra.stack.options import Options

MILLION = 1_000_000
VOLUMES = (0, MILLION, 10 * MILLION)  # messages a month
PLAIN_MEMORY = 512  # MB, of a function without `concurrency`


def price(options: Options) -> str:
    """For `options` with `concurrency`: what docs/cost.md has for the defaults, for these."""
    a = replace(
        LambdaAssumptions(),
        lambda_gb_second=GB_SECOND[options.arch],
        managed_instance_hour=INSTANCES[options.arch, options.memory].hour,
        managed_conversations=float(options.concurrency or 1),
        nat_gateways=0 if options.vpc else 1,
    )
    idle, one, ten = (_about(on_managed_instances(n, a)) for n in VOLUMES)
    plain_idle, plain_one, plain_ten = (_about(on_lambda(n, a, PLAIN_MEMORY)) for n in VOLUMES)
    most = _about(MOST_INSTANCES * instance_month(a) + way_out_month(a))
    return (
        f"Managed Instances cost about {idle} a month, even if nobody chats ({_parts(a, options)})."
        f"\nWith 1 million messages of {a.seconds:.0f} s a month {one}, with 10 million {ten};"
        f" without concurrency {plain_idle}, {plain_one} and {plain_ten}.\n"
        f"Lambda adds instances while these are busy, up to {MOST_INSTANCES}: {most} a month. (List"
        " prices of us-east-1; other regions differ)"
    )


def _parts(a: LambdaAssumptions, options: Options) -> str:
    least = int(a.managed_least)
    type_ = INSTANCES[options.arch, options.memory].type
    parts = [f"{least} × {type_} {_about(least * instance_month(a))}"]
    if a.nat_gateways:
        parts.append(f"a NAT gateway {_about(way_out_month(a))}")
    return ", ".join(parts)


def _about(amount: float) -> str:
    return f"${amount:,.0f}" if amount >= 10 else f"${amount:.2f}"
