"""What a function is, and the environment variables that its processes get."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from os.path import exists
from pathlib import Path
from typing import Literal

from infra.toolchain.errors import UserError
from local.aws_lambda.invocation import InitError

ALIAS = "live"
VERSION = "1"
ACCOUNT = "123456789012"

KEY_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

RUNTIME_DIR = Path(__file__).with_name("var_runtime")
"""Stands for /var/runtime."""

_PROBE = "import json, sys; print(json.dumps(sys.version_info[:2]))"


@dataclass(frozen=True)
class FunctionConfig:
    """A function's settings, as on Lambda. Memory in MB, times in seconds.

        package, python = Path("build/package-3.13-x86_64"), Path("/usr/bin/python3.13")
        FunctionConfig(package, python, environment={"LOG_LEVEL": "debug"}, memory_mb=512)

    Below each field stands what it means. Raises UserError for what Lambda doesn't combine.
    """

    package: Path
    """The unpacked deployment package: LAMBDA_TASK_ROOT and the working directory."""
    python: Path
    """The interpreter that stands for the managed runtime's; its minor version is the runtime's."""
    handler: str = "handler.function.handler"
    """For awslambdaric: module.function."""
    wrapper: str | None = "bootstrap"
    """AWS_LAMBDA_EXEC_WRAPPER relative to the package; None runs awslambdaric with `handler`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The function's own variables; they may replace Lambda's, credentials for example."""
    memory_mb: int = 1024
    """Exceeding it ends the environment with Runtime.OutOfMemory."""
    timeout_s: float = 615
    """For one invocation; then the environment is killed."""
    invoke_mode: Literal["RESPONSE_STREAM", "BUFFERED"] = "RESPONSE_STREAM"
    max_environments: int = 10
    """One more request at the same time gets 429."""
    concurrency: int = 1
    """Requests at once in one environment, as on Managed Instances: AWS_LAMBDA_MAX_CONCURRENCY."""
    idle_s: float = 300
    """An environment without a request for this long is ended."""
    init_timeout_s: float = 10
    """For a start, to the first `next`; a request then gets a second start within `timeout_s`."""
    region: str = "us-east-1"
    name: str = "poe-bot"
    cpu_share: bool = False
    """Limit the CPU to the memory's share of it (1 vCPU at 1,769 MB); needs writable cgroups."""
    snapstart: bool = False
    """Each environment starts, stands still as if in a snapshot, and goes on. (On Lambda one start
    serves for all.) Credentials come from an endpoint, as Lambda has it."""
    freeze: bool = True
    """Stop the processes between invocations, as Lambda does."""

    def __post_init__(self) -> None:
        if self.snapstart and self.concurrency > 1:
            raise UserError(
                f"SnapStart and a concurrency of {self.concurrency} can't be combined, since"
                " Managed Instances don't have SnapStart: leave one of them out"
            )

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{self.name}:{ALIAS}"

    @property
    def snapshot_init_s(self) -> float:
        """What `init_timeout_s` is with SnapStart."""
        return max(130, self.timeout_s)

    @property
    def needed_paths(self) -> tuple[Path, ...]:
        """What a process needs of this machine's files in addition to the package: its interpreter,
        the runtime, and what the function's variables name (certificates, for example)."""
        values = self.environment.values()
        named = (Path(value) for value in values if value.startswith("/") and exists(value))
        return (self.python, RUNTIME_DIR, *named)

    @property
    def wrapper_path(self) -> Path | None:
        return None if self.wrapper is None else self.package.absolute() / self.wrapper


def lambda_environment(
    config: FunctionConfig, api: str, stream: str, tmp: Path | None
) -> dict[str, str]:
    """All the variables of one environment's process; the shell's are not among them.

    AWS Lambda Developer Guide, "Defined runtime environment variables". `tmp` is what the
    environment has for a /tmp if it can't have that path: TMPDIR names it, which Python and most
    programs honour.
    """
    task_root = str(config.package.absolute())
    major, minor = python_version(config.python)
    variables = {
        "AWS_LAMBDA_RUNTIME_API": api,
        "LAMBDA_TASK_ROOT": task_root,
        "LAMBDA_RUNTIME_DIR": str(RUNTIME_DIR),
        "_HANDLER": config.handler,
        "AWS_REGION": config.region,
        "AWS_DEFAULT_REGION": config.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{major}.{minor}",
        "AWS_LAMBDA_FUNCTION_NAME": config.name,
        "AWS_LAMBDA_FUNCTION_VERSION": VERSION,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{config.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SESSION_TOKEN": "testing",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "LD_LIBRARY_PATH": f"{task_root}:{task_root}/lib:/opt/lib",
    }
    if config.snapstart:
        variables["AWS_LAMBDA_INITIALIZATION_TYPE"] = "snap-start"
        del variables["AWS_LAMBDA_LOG_GROUP_NAME"], variables["AWS_LAMBDA_LOG_STREAM_NAME"]
    if config.concurrency > 1:
        variables["AWS_LAMBDA_INITIALIZATION_TYPE"] = "lambda-managed-instances"
        variables["AWS_LAMBDA_MAX_CONCURRENCY"] = str(config.concurrency)
    if tmp is not None:
        variables["TMPDIR"] = str(tmp)
    if config.wrapper_path is not None:
        variables["AWS_LAMBDA_EXEC_WRAPPER"] = str(config.wrapper_path)
    variables |= config.environment
    if config.snapstart:  # theirs would be those of the snapshot
        for name in KEY_VARIABLES:
            variables.pop(name, None)
    return variables


def command(config: FunctionConfig) -> list[str]:
    """What starts the function's process. Raises InitError."""
    runtime = [str(config.python), str(RUNTIME_DIR / "bootstrap.py")]
    wrapper = config.wrapper_path
    if wrapper is None:
        return runtime
    if not wrapper.is_file():
        raise InitError("Runtime.InvalidEntrypoint", f"{wrapper} doesn't exist")
    if not os.access(wrapper, os.X_OK):
        message = f"{wrapper} isn't executable: it needs mode 755"
        raise InitError("Runtime.InvalidEntrypoint", message)
    return [str(wrapper), *runtime]


@cache
def python_version(python: Path) -> tuple[int, int]:
    """The interpreter's minor version. Raises InitError if it doesn't run."""
    try:
        output = subprocess.check_output([python, "-I", "-S", "-c", _PROBE], text=True)
    except (OSError, subprocess.CalledProcessError):
        raise InitError(
            "Runtime.InvalidEntrypoint", f"{python} isn't a working Python interpreter"
        ) from None
    major, minor = json.loads(output)
    return major, minor
