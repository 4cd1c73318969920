"""What a runtime must not do around a snapshot: the local Runtime API and the tests' double alike
refuse it."""

import pytest

from tests.support.runtime_api import RuntimeAPIDouble
from tests.support.runtime_client import Client, Double, Local, connections

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[Local, Double])
async def snapstart(request):
    """Either Runtime API, of a function with SnapStart; and what connects to it."""
    served = request.param(snapstart=True)
    async with connections(served) as connect:
        served.hand_out()
        yield served, connect


async def restored(served, client: Client) -> Client:
    """`client`, once it has passed the snapshot."""
    client.send("GET", "restore/next", {})
    await served.restore()
    assert await client.status() == 200
    client.close()
    return client


async def test_a_snapshot_comes_before_the_first_next(snapstart):
    served, connect = snapstart
    await restored(served, await connect())
    client = await connect()
    assert await client.next() == 200
    assert await client.respond() == 202
    served.assert_kept_to_the_rules(True)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "invocation/next"), ("POST", "restore/error")],
)
async def test_a_start_that_leaves_its_snapshot_out_is_refused(snapstart, method, path):
    served, connect = snapstart
    assert await (await connect()).ask_empty(method, path) == 403
    served.assert_kept_to_the_rules(False)


@pytest.mark.parametrize(("method", "path"), [("GET", "restore/next"), ("POST", "init/error")])
async def test_a_restored_runtime_neither_starts_again_nor_fails_to(snapstart, method, path):
    served, connect = snapstart
    await restored(served, await connect())
    assert await (await connect()).ask_empty(method, path) == 403
    served.assert_kept_to_the_rules(False)


async def test_after_a_failed_restore_there_is_nothing(snapstart):
    served, connect = snapstart
    await restored(served, await connect())
    assert await (await connect()).ask_empty("POST", "restore/error") == 202
    served.assert_kept_to_the_rules(True)
    assert await (await connect()).next() == 403
    served.assert_kept_to_the_rules(False)


async def test_a_connection_of_the_snapshots_fails_the_test():
    double = RuntimeAPIDouble(snapstart=True)
    with pytest.raises(AssertionError, match="on a connection of the snapshot's"):
        async with connections(double) as connect:
            client = await connect()
            client.send("GET", "restore/next", {})
            await double.restore()
            await client.status()
            client.send("GET", "invocation/next", {})
            double._events.put_nowait(b"{}")
            await client.status()
