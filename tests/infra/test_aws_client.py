"""What goes wrong on the way to AWS, as one line with what to do."""

import pytest
from botocore.exceptions import EndpointConnectionError

from infra.aws.client import AwsError, client, explained
from tests.support.closed import CLOSED


@pytest.fixture(autouse=True)
def nothing_of_a_persons(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")


def said_for(region: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """When a service of `region` has no address that answers."""
    monkeypatch.setenv("AWS_REGION", region)
    with pytest.raises(AwsError) as raised, explained():
        client("sts")
        raise EndpointConnectionError(endpoint_url=f"https://sts.{region}.amazonaws.com/")
    return str(raised.value)


@pytest.mark.parametrize(
    ("region", "meant"),
    [
        ("us-esat-1", "us-east-1"),
        ("us east 1", "us-east-1"),
        ("EU-WEST-1", "eu-west-1"),
        ("eu-centrall-1", "eu-central-1"),
        ("somewhere", "us-east-1"),
    ],
)
def test_a_mistyped_region_is_named_with_the_one_that_was_meant(
    region: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = f"{region} isn't a region of AWS: set AWS_REGION to {meant}"
    assert said_for(region, monkeypatch) == expected


@pytest.mark.parametrize("region", ["eu-west-1", "cn-north-1", "us-gov-west-1"])
def test_without_a_network_the_region_is_not_blamed(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = said_for(region, monkeypatch)
    assert said.startswith("AWS can't be reached from here (EndpointConnectionError): check the ")


def test_nothing_that_answers_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{CLOSED}")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    expected = "^AWS can't be reached from here .*: check the network"
    with pytest.raises(AwsError, match=expected), explained():
        client("sts").get_caller_identity()
