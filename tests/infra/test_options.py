"""What `cdk.json` and `-c name=value` may contain, and the errors for mistakes."""

import re
from dataclasses import fields

import pytest

from infra.stack.options import ContextError, Options, parsed
from infra.toolchain.folders import ROOT


def test_without_a_choice_the_defaults_stand() -> None:
    options = Options.from_context({})
    assert (options.stack, options.memory, options.timeout) == ("PoeBot", 512, 615)
    assert (options.arch, options.python, options.streaming) == ("arm64", "3.13", True)
    assert (options.alarm_email, options.dashboard) == (None, False)


def test_text_from_the_command_line_and_json_from_cdk_json_mean_the_same() -> None:
    text = {"memory": "2048", "streaming": "false", "dashboard": "True", "log_retention_days": "7"}
    json = {"memory": 2048, "streaming": False, "dashboard": True, "log_retention_days": 7}
    assert Options.from_context(text) == Options.from_context(json)
    assert Options.from_context(json).log_retention_days == 7


def test_the_cdks_own_values_are_left_alone() -> None:
    cdks = {"aws:cdk:version-reporting": False, "@aws-cdk/core:x": True, "cli-telemetry": False}
    assert Options.from_context(cdks) == Options.from_context({})


def test_an_empty_value_is_the_default() -> None:
    """`-c alarm_email=` takes back cdk.json's value."""
    assert Options.from_context({"alarm_email": ""}).alarm_email is None


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("stack", "my bot", "letters, digits and dashes, a letter first"),
        ("memory", "256", "512 to 10240 MB (with less, a start leaves too little of Poe's 5 s)"),
        ("memory", "much", "512 to 10240"),
        ("timeout", "901", "10 to 900 seconds"),
        ("arch", "x86", "arm64, x86_64"),
        ("python", "3.10", "3.11, 3.12, 3.13, 3.14"),
        ("streaming", "yes", "true, false"),
        ("reserved_concurrency", "0", "1 to "),
        ("concurrency", "1", "2 to 64 (conversations at once in one process)"),
        ("concurrency", "65", "2 to 64"),
        ("concurrency", "many", "2 to 64"),
        ("vpc", "my-vpc", "a VPC's id, such as vpc-0a1b2c3d4e5f67890"),
        ("vpc", "vpc-12345", "a VPC's id"),
        ("vpc", "vpc-0a1b2c3d4e", "a VPC's id"),
        ("zones", "us-east-1", "Availability Zones, such as us-east-1a,us-east-1d"),
        ("zones", "us-east-1a, us-east-1b", "Availability Zones"),
        ("log_retention_days", "31", "1, 3, 5, 7, 14, 30, "),
        ("alarm_email", "me", "an e-mail address"),
        ("dashboard", 1, "true, false"),
        ("bot_name", "my bot", "the bot's name on Poe"),
    ],
)
def test_an_invalid_value_is_named_with_what_to_use(name: str, value: object, advice: str) -> None:
    with pytest.raises(ContextError) as raised:
        Options.from_context({name: value})
    text = str(raised.value)
    assert text.startswith(f"{name}={value} is invalid: use ")
    assert advice in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("other", "advice"),
    [({"python": "3.11"}, "use python=3.12 or higher"), ({"streaming": "false"}, "streaming=true")],
)
def test_snapstart_is_refused_with_what_it_does_not_go_with(
    other: dict[str, str], advice: str
) -> None:
    assert Options.from_context({"snapstart": "true", "python": "3.12"}).snapstart
    with pytest.raises(ContextError, match=f"^snapstart=true needs .*{advice}"):
        Options.from_context({"snapstart": "true", **other})


@pytest.mark.parametrize("memory", [None, "2048", 4096, "8192"])
def test_many_at_once_have_2_gb_or_a_larger_size_with_one_vcpu(memory: object) -> None:
    given = {"concurrency": "64"} if memory is None else {"concurrency": 64, "memory": memory}
    options = Options.from_context(given)
    assert (options.concurrency, options.memory) == (64, int(str(memory or 2048)))


@pytest.mark.parametrize(
    ("other", "advice"),
    [
        ({"memory": "512"}, "memory=512 .*: use one of 2048, 4096, 8192 MB"),
        ({"memory": 2047}, "memory=2047 .*: use one of 2048"),
        ({"memory": 10240}, "memory=10240 .*: use one of 2048"),
        ({"snapstart": "true"}, "snapstart=true: leave one of the two out"),
        ({"streaming": "false"}, "concurrency needs streaming=true"),
        ({"python": "3.12"}, "concurrency needs a newer Python: use python=3.13"),
        ({"reserved_concurrency": 5}, "reserved_concurrency .*: leave it out"),
    ],
)
def test_many_at_once_are_refused_with_what_they_do_not_go_with(
    other: dict[str, object], advice: str
) -> None:
    with pytest.raises(ContextError, match=advice) as refused:
        Options.from_context({"concurrency": "64", **other})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("vpc", "vpc-0a1b2c3d4e5f67890"), ("zones", "us-gov-west-1a,us-gov-west-1c")],
)
def test_a_network_is_for_many_at_once_alone(name: str, value: str) -> None:
    assert getattr(Options.from_context({"concurrency": 2, name: value}), name) == value
    with pytest.raises(ContextError, match=f"^{name} is for Managed Instances alone: add conc"):
        Options.from_context({name: value})
    # What the command line takes back of a cdk.json's values.
    assert Options.from_context({"concurrency": "", name: ""}) == Options.from_context({})


def test_a_given_vpc_has_its_own_zones() -> None:
    with pytest.raises(ContextError, match="^a given vpc has zones of its own: leave vpc or zones"):
        Options.from_context({"concurrency": 2, "vpc": "vpc-0a1b2c3d", "zones": "us-east-1a"})


def test_a_mistyped_name_is_answered_with_the_likely_one() -> None:
    with pytest.raises(ContextError, match="no context value memmory: did you mean memory"):
        Options.from_context({"memmory": 1024})
    with pytest.raises(ContextError, match="use one of stack, memory, "):
        Options.from_context({"zzz": 1})


def test_an_argument_without_a_value_is_refused() -> None:
    assert parsed(["memory=2048", "bot_name=a=b"]) == {"memory": "2048", "bot_name": "a=b"}
    with pytest.raises(ContextError, match="use name=value"):
        parsed(["memory"])


def test_the_document_lists_every_choice_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", (ROOT / "docs" / "deploy.md").read_text(), re.M)
    shown = {name: default.strip() for name, default in rows}
    for field in fields(Options):
        default = getattr(Options.from_context({}), field.name)
        expected = {None: "–", True: "`true`", False: "`false`"}.get(default, f"`{default}`")
        assert shown.get(field.name) == expected, field.name
