"""A minute of what bench/soak.py does for twenty, and overload."""

import asyncio
import sys

import httpx
import pytest

from bench import soak

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def package():
    with soak.soak_package() as package:
        yield package


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_nothing_is_lost_but_what_sat_in_a_killed_environment(package):
    result = await soak.soak(package, seconds=60)
    assert result.lost == []
    assert result.kills >= 20
    assert result.answered > 10 * result.killed


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
async def test_memory_does_not_grow_with_the_requests(package):
    seen = await soak.memory(package)
    first, last = (seen[number] for number in soak.MEMORY_REQUESTS)
    assert last <= first * soak.MEMORY_GROWTH


async def test_four_times_too_many_requests_get_429_at_once_and_the_rest_complete(package):
    environments = 3
    async with (
        soak.function(package, environments) as service,
        httpx.AsyncClient(timeout=60) as http,
    ):
        statuses = []

        async def ask():
            answer = asyncio.ensure_future(soak.ask(http, service.url, 0.1))
            done, _ = await asyncio.wait([answer], timeout=30)
            assert done
            statuses.append((await answer)[1] == soak.EXPECTED)

        await asyncio.gather(*(ask() for _ in range(4 * environments)))
    assert sum(statuses) == environments
    assert statuses[:-environments] == [False] * 3 * environments  # refused before the rest ends
