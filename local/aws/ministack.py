"""A local AWS for `make deploy-local` and the end-to-end test: MiniStack, in its own process.

It answers only to callers that sign with this run's random credentials (`guard`).
It needs another botocore, so it has a virtual environment of its own, created at its first use:
build/ministack-<version>.
"""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.toolchain.errors import UserError
from infra.toolchain.folders import BUILD, ROOT, made_aside
from infra.toolchain.pythons import environment_for_tools, this_version
from infra.toolchain.uv import find_uv
from local.ports import HOST, listening
from local.signature import Credentials

ACCOUNT = "123456789012"
REGION = "us-east-1"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
STARTER = Path(__file__).with_name("ministack_start.py")
START_TIMEOUT_S = 60
NO_MORE_LISTENERS = {"IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}


class MiniStackError(UserError):
    """The local AWS is unavailable: the message's first line is the reason."""


@dataclass(frozen=True)
class MiniStack:
    """A local AWS that runs, at `endpoint`, for callers that have `credentials`."""

    endpoint: str
    credentials: Credentials

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
            **self.credentials.environment,
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
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    log = folder / "ministack.log"
    with listening(port, "AWS_PORT=…") as listener:
        port = listener.getsockname()[1]
        # By this name, an S3 bucket is at <bucket>.localhost.
        made = MiniStack(f"http://localhost:{port}", Credentials.random())
        variables = made.environment(environment_for_tools()) | {
            "GATEWAY_PORT": str(port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "AUTH": str(auth).lower(),
            "TMPDIR": str(folder),
            **NO_MORE_LISTENERS,
        }
        process = _started(python, variables, log, listener)
    try:
        _wait_until_ready(port, log)
        yield made
    finally:
        _end(process)


def _started(
    python: Path, variables: Mapping[str, str], log: Path, listener: socket.socket
) -> subprocess.Popen[bytes]:
    """`listener` is handed over, so that no other process can answer instead of MiniStack."""
    descriptor = listener.fileno()
    with log.open("wb") as output:
        return subprocess.Popen(
            # -P: this folder has a module of the same name as MiniStack's package.
            [python, "-P", STARTER, ROOT, str(descriptor)],
            env=variables,
            cwd=log.parent,
            stdin=subprocess.PIPE,  # closed when this process ends, however that happens
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[descriptor],
        )


def installed() -> Path:
    """The Python of MiniStack's environment, which is created if it is missing.

    Raises MiniStackError.
    """
    folder = BUILD / f"ministack-{_version()}-{this_version()}"
    if not (folder / "bin" / "python").exists():
        with made_aside(folder, replace=False) as aside:
            # By itself, uv would take, or download, the version that .python-version prefers.
            this = ["--python", sys.executable]
            _run([find_uv(), "venv", "--quiet", "--allow-existing", *this, str(aside)])
            python = ["--python", str(aside / "bin" / "python")]
            hashed = ["--require-hashes", "--only-binary", ":all:", "-r", str(REQUIREMENTS)]
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


def _wait_until_ready(port: int, log: Path) -> None:
    """Any answer is enough, such as a refusal. A process that ends closes its socket."""
    connection = http.client.HTTPConnection(HOST, port, timeout=START_TIMEOUT_S)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        lines = log.read_text(errors="replace").splitlines()[-10:]
        raise MiniStackError(
            "MiniStack doesn't start; its log ends with:\n" + "\n".join(lines)
        ) from None
    finally:
        connection.close()


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
