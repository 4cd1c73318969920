"""A local AWS for `make deploy-local` and the end-to-end test: MiniStack, in its own process.

It needs another botocore, so it has a virtual environment of its own, created at its first use:
build/ministack-<version>.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.toolchain.errors import UserError
from infra.toolchain.folders import BUILD, made_aside
from infra.toolchain.pythons import environment_for_tools, this_version
from infra.toolchain.uv import find_uv
from local.ports import HOST, free_port

ACCOUNT = "123456789012"
REGION = "us-east-1"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
STARTER = Path(__file__).with_name("ministack_start.py")
START_TIMEOUT_S = 60


class MiniStackError(UserError):
    """The local AWS is unavailable: the message's first line says why."""


@dataclass(frozen=True)
class MiniStack:
    """A local AWS that runs, at `endpoint`."""

    endpoint: str

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """`base` (by default this process's variables), with every way to the real AWS closed."""
        kept = {
            name: value
            for name, value in (os.environ if base is None else base).items()
            if not name.startswith("AWS_")
        }
        return kept | self.variables

    @property
    def variables(self) -> dict[str, str]:
        """What leads any SDK here, and nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
        }


@contextlib.contextmanager
def ministack(folder: Path, *, port: int | None = None, auth: bool = False) -> Iterator[MiniStack]:
    """Run MiniStack while the block runs; its state is in memory and ends with it.

    `folder` takes its log and temporary files. `auth`: IAM policies are enforced.
    Raises UserError.
    """
    python = installed()
    port = free_port(port, "AWS_PORT=…")
    folder.mkdir(parents=True, exist_ok=True)
    # By this name, an S3 bucket is at <bucket>.localhost.
    made = MiniStack(f"http://localhost:{port}")
    log = folder / "ministack.log"
    variables = made.environment(environment_for_tools()) | {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "AUTH": str(auth).lower(),
        "TMPDIR": str(folder),
    }
    process = _started(python, variables, log)
    try:
        _wait_until_ready(process, port, log)
        yield made
    finally:
        _end(process)


def _started(python: Path, variables: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [python, "-P", STARTER],  # this folder has a module of the same name
            env=variables,
            cwd=log.parent,
            stdin=subprocess.PIPE,  # closed when this process ends, however that happens
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def installed() -> Path:
    """The Python of MiniStack's environment, which is created if it is missing.

    Raises MiniStackError.
    """
    folder = BUILD / f"ministack-{_version()}-{this_version()}"
    if not (folder / "bin" / "python").exists():
        with made_aside(folder, replace=False) as aside:
            _run([find_uv(), "venv", "--quiet", "--allow-existing", str(aside)])
            python = ["--python", str(aside / "bin" / "python")]
            hashed = ["--require-hashes", "--requirements", str(REQUIREMENTS)]
            _run([find_uv(), "pip", "install", "--quiet", *python, *hashed])
    return folder / "bin" / "python"


def _version() -> str:
    found = re.search(r"^ministack==([\d.]+)", REQUIREMENTS.read_text(), re.M)
    assert found, REQUIREMENTS
    return found[1]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env=environment_for_tools(), capture_output=True, text=True)
    if done.returncode:
        raise MiniStackError(f"MiniStack can't be installed; uv reports:\n{done.stderr.rstrip()}")


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _is_healthy(port):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").splitlines()[-10:]
            raise MiniStackError("MiniStack doesn't start; its log ends with:\n" + "\n".join(lines))
        time.sleep(0.05)


def _is_healthy(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/_localstack/health", timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole group: MiniStack may have started functions."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.stdin
    process.stdin.close()
