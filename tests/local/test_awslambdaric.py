"""AWS's own runtime client, unmodified: the local Lambda's Runtime API is not only our idea."""

import importlib.util
import textwrap
from pathlib import Path

import httpx
import pytest

from local.aws_lambda.service import InitError, LocalLambda, Outcome
from tests.support.local_lambda import function_config

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        importlib.util.find_spec("awslambdaric") is None,
        reason="awslambdaric is not installed: it has no wheel for every platform",
    ),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def package_with(directory: Path, source: str, wrapper: str | None = None) -> Path:
    directory.mkdir()
    (directory / "app.py").write_text(textwrap.dedent(source))
    if wrapper is not None:
        (directory / "wrap").write_text(wrapper)
        (directory / "wrap").chmod(0o755)
    return directory


HANDLER = """
def handler(event, context):
    print("handling", context.aws_request_id)
    if event.get("rawPath") == "/fail":
        raise ValueError("no")
    return {
        "statusCode": 200,
        "headers": {"x-handler": "yes"},
        "body": f"{context.function_name} {context.get_remaining_time_in_millis() > 0}",
    }
"""


async def test_a_handler_answers_and_fails_behind_a_buffered_url(tmp_path: Path):
    lines: list[str] = []
    config = function_config(
        package_with(tmp_path / "package", HANDLER),
        wrapper=None,
        handler="app.handler",
        invoke_mode="BUFFERED",
    )
    async with (
        LocalLambda(config, on_line=lines.append) as local_lambda,
        httpx.AsyncClient(base_url=local_lambda.url) as client,
    ):
        await local_lambda.warm()
        (pid,) = local_lambda.pids
        for _ in range(2):
            reply = await client.get("/")
            assert (reply.status_code, reply.text) == (200, "poe-bot True")
            assert reply.headers["x-handler"] == "yes"
        assert (await client.get("/fail")).status_code == 502
        assert (await client.get("/")).status_code == 200
        assert local_lambda.pids == (pid,)
        failed = local_lambda.records[2]
    assert (failed.outcome, failed.error.type) == (Outcome.FUNCTION_ERROR, "ValueError")
    assert failed.error.document["errorMessage"] == "no"
    assert f"handling {failed.id}" in lines


async def test_an_import_error_is_an_init_error(tmp_path: Path):
    config = function_config(
        package_with(tmp_path / "package", "import no_such_module"),
        wrapper=None,
        handler="app.handler",
    )
    async with LocalLambda(config, on_line=lambda line: None) as local_lambda:
        with pytest.raises(InitError) as caught:
            await local_lambda.warm()
    assert caught.value.error_type == "Runtime.ImportModuleError"
    assert "no_such_module" in caught.value.message


async def test_a_wrapper_can_go_on_to_the_managed_runtime(tmp_path: Path):
    source = """
    import os
    def handler(event, context):
        return os.environ["BY_WRAPPER"]
    """
    config = function_config(
        package_with(
            tmp_path / "package", source, '#!/bin/sh\nexport BY_WRAPPER="set"\nexec "$@"\n'
        ),
        wrapper="wrap",
        handler="app.handler",
    )
    async with LocalLambda(config, on_line=lambda line: None) as local_lambda:
        assert (await local_lambda.invoke(b"{}")).payload == b'"set"'


async def test_snapstart_is_played_as_it_expects_it(tmp_path: Path):
    source = """
    from snapshot_restore_py import register_after_restore, register_before_snapshot
    order = []
    register_before_snapshot(order.append, "before")
    register_after_restore(order.append, "after")
    def handler(event, context):
        return order
    """
    config = function_config(
        package_with(tmp_path / "package", source),
        wrapper=None,
        handler="app.handler",
        snapstart=True,
    )
    lines: list[str] = []
    async with LocalLambda(config, on_line=lines.append) as local_lambda:
        assert (await local_lambda.invoke(b"{}")).payload == b'["before", "after"]'
        await local_lambda.settled()
    assert [line for line in lines if line.startswith("RESTORE_START ")]


async def test_a_hook_that_fails_after_the_restore_ends_the_start(tmp_path: Path):
    source = """
    from snapshot_restore_py import register_after_restore
    register_after_restore(int, "no number")
    """
    config = function_config(
        package_with(tmp_path / "package", source + "\n    handler = print"),
        wrapper=None,
        handler="app.handler",
        snapstart=True,
    )
    async with LocalLambda(config, on_line=lambda line: None) as local_lambda:
        with pytest.raises(InitError, match="no number"):
            await local_lambda.warm()


async def test_a_handler_cannot_import_what_its_package_lacks(tmp_path: Path):
    source = """
    import importlib.util, sys
    def handler(event, context):
        names = ("httpx", "awslambdaric", "app")
        return [importlib.util.find_spec(name) is not None for name in names] + sys.path[:1]
    """
    package = package_with(tmp_path / "package", source)
    config = function_config(package, wrapper=None, handler="app.handler")
    async with LocalLambda(config, on_line=lambda line: None) as local_lambda:
        answer = await local_lambda.invoke(b"{}")
    assert answer.payload == f'[false, true, true, "{package}"]'.encode()
