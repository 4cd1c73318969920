"""What `make deploy` finds out and asks before it changes anything on AWS."""

import time
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from commands.deployment import Deployment
from commands.terminal.prompt import agrees
from commands.trial import try_start
from infra.aws.secret_members import KEY
from infra.stack.names import INSTANCES
from infra.toolchain.cdk_diff import Loss
from infra.toolchain.errors import UserError

_EFFECTS = {
    "destroy": "removes",
    "orphan": "gives up",
    "replace": "replaces",
    "may be replaced": "may replace",
}


def wanted_members(deployment: Deployment, deployed: Collection[str]) -> set[str]:
    """Start the bot here: the names of the secret's members that it wants, as far as that shows.

    `deployed`: the names of the deployed secret's. Raises UserError for a bot that doesn't start.
    """
    began = time.monotonic()
    print("Starting the bot here first")
    trial = try_start(deployment.bot, deployment.options, deployed)
    names = ", ".join(sorted(trial.placeholders))
    if trial.failure:
        print(
            f"warning: with placeholders for {names}, {trial.failure}\n"
            "Whether it starts on Lambda depends on their values. To try it here, add them to the"
            " bot's secrets.json"
        )
    else:
        placeholders = f", with placeholders for {names}" if names else ""
        print(f"It starts{placeholders} ({time.monotonic() - began:.1f} s)")
    return (trial.placeholders | trial.members.keys()) - {KEY}


def unset_members(names: Iterable[str], make_variables: str) -> str:
    """What to do about members that the deployed secret lacks."""
    commands = [f"  make set-secret NAME={name}{make_variables}" for name in sorted(names)]
    return "\n".join(["The deployed secret lacks what the bot uses here:", *commands, ""])


def agree_to(losses: Sequence[Loss], stack: str, *, agreed: bool) -> None:
    """Name what the deployment would take away, and ask. Raises UserError without consent."""
    if not losses:
        return
    print(f"\nThis deployment takes something away from {stack}:")
    for line in _in_words(losses):
        print(f"  {line}")
    print(
        "What a value like alarm_email or concurrency brings lasts only if the value stands in the"
        " cdk.json of the bot's folder."
    )
    if not agreed and not agrees("Go on?"):
        raise UserError("nothing was deployed: run `make deploy YES=yes` to go on with this")


def _in_words(losses: Sequence[Loss]) -> Iterable[str]:
    """A line for each type of resource and what becomes of it."""
    by_kind = attrgetter("impact", "type")
    network = [loss for loss in losses if _is_of_instances(loss)]
    others = [loss for loss in losses if loss not in network]
    for (impact, type_), group in groupby(sorted(others, key=by_kind), by_kind):
        names = ", ".join(loss.name for loss in group)
        yield f"{_EFFECTS[impact]:<11}  {type_}  {names}{_remark(impact, type_)}"
    if network:
        yield f"{_EFFECTS['destroy']:<11}  {len(network)} resources of the Managed Instances"


def _is_of_instances(loss: Loss) -> bool:
    """Instances and their network have a dozen types, which nobody asked for one by one."""
    return loss.impact == "destroy" and loss.name.startswith(f"{INSTANCES}/")


def _remark(impact: str, type_: str) -> str:
    if type_ == "AWS::Lambda::Url":
        return " (a new address, which the bot's form on Poe needs)"
    if impact == "orphan":
        return " (stays in the account)"
    return " (a new one begins empty)" if "replace" in impact else ""
