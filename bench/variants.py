"""The bot in each way of hosting it, built from pinned packages, compiled alike."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trustme

from bench import secret_server
from bench.environment import Variant
from infra.package import certificates
from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.libraries import compile_folder, install_libraries
from infra.package.lock.lock import Lock
from infra.package.target import Target
from infra.toolchain.folders import BUILD, ROOT, link_or_copy, made_aside
from infra.toolchain.pythons import runtime_python

PEERS = Path(__file__).with_name("peers")
KEY = secret_server.KEY
LAMBDA = {
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
}


@dataclass(frozen=True)
class Secret:
    """A Secrets Manager on this machine, and the file with the authority that vouches for it."""

    endpoint: str
    authority: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ACCESS_KEY_SECRET_ARN": secret_server.ARN,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.endpoint,
        }


@contextmanager
def secret(directory: Path) -> Iterator[Secret]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "authority.pem"))
    certificate = directory / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    command = [sys.executable, "-m", "bench.secret_server", str(certificate)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        assert server.stdin
        port = server.stdout.readline().strip()
        try:
            yield Secret(f"https://127.0.0.1:{port}", directory / "authority.pem")
        finally:
            server.stdin.close()


def build_package(secret: Secret) -> Path:
    """Ours, with the bench's bot; the local Secrets Manager is vouched for like a public one."""
    folder = BUILD / "bench" / "package"
    # Alone in a folder: what the user's bot/ holds must not count.
    bot = folder.with_name("bot")
    with made_aside(bot) as aside:
        shutil.copy(PEERS / "bench_bot.py", aside / "bot.py")
    build(BotFolder.at(str(bot)), Target.here(), folder)
    with_authority = folder.with_name("package-trusting")
    with made_aside(with_authority) as aside:
        shutil.copytree(folder, aside, dirs_exist_ok=True, copy_function=link_or_copy)
        shutil.rmtree(aside / "certificates")
        bundle = folder.with_name("authorities.pem")
        public = (folder / "certifi" / "cacert.pem").read_text("utf-8")
        bundle.write_text(public + secret.authority.read_text("utf-8"))
        certificates.write_directory(bundle, aside / "certificates")
    return with_authority


def build_peers() -> Path:
    """What the peers import: libraries, and bench/peers/ next to them."""
    peers = Lock(PEERS / "requirements.txt")
    libraries = install_libraries(peers, Target.here(), BUILD / "libraries")
    folder = BUILD / "bench" / "peers"
    with made_aside(folder) as aside:
        shutil.copytree(libraries, aside, dirs_exist_ok=True, copy_function=link_or_copy)
        for source in PEERS.glob("*.py"):
            shutil.copy(source, aside)
        compile_folder(aside, Path(sys.executable), "/var/task")
    return folder


@dataclass(frozen=True)
class Variants:
    """All of them. `package` and `peers` are the folders that were built."""

    package: Path
    peers: Path
    secret: Secret
    python: Path

    def ours(self, environment: dict[str, str] | None = None) -> Variant:
        """As Lambda starts it, with the key from the secret unless told otherwise."""
        return Variant(
            "ours",
            [str(self.package / "bootstrap"), str(self.python), "/var/runtime/bootstrap.py"],
            self.package,
            {
                **LAMBDA,
                "LAMBDA_TASK_ROOT": str(self.package),
                **(environment or self.secret.environment),
            },
        )

    def ours_in_slots(self, slots: int) -> Variant:
        """With several invocations at once; 1 is the function as it is otherwise."""
        return replace(self.ours(), slots=slots)

    def behind_local_lambda(self, slots: int) -> Variant:
        """For `BehindLocalLambda`."""
        options = {"--python": self.python, "--concurrency": slots, "--memory": 2048}
        words = [str(word) for option in options.items() for word in option]
        key = ["--env", f"POE_ACCESS_KEY={KEY}"]
        command = ["-m", "local.aws_lambda", str(self.package), *words, *key]
        return Variant(
            "ours behind the local Lambda", command, ROOT, os.environ, is_web_server=True
        )

    def floor_in_slots(self, slots: int) -> Variant:
        return replace(self.floor(), slots=slots)

    def ours_under_uvicorn(self) -> Variant:
        """`handler.asgi:app` on the peers' uvicorn."""
        command = [str(self.python), str(self.peers / "web_server.py"), "handler.asgi:app"]
        path = os.pathsep.join([str(self.package), str(self.peers)])
        environment = {**self._keyed, "PYTHONPATH": path}
        return Variant("ours under uvicorn", command, self.package, environment, is_web_server=True)

    def floor(self) -> Variant:
        """No host, only what every host does: see bench/peers/floor.py."""
        return Variant("floor", [str(self.python), "floor.py"], self.peers, LAMBDA)

    def floor_under_uvicorn(self) -> Variant:
        return self._web_server("floor:app", "floor under uvicorn")

    def uvicorn(self) -> Variant:
        return self._web_server("asgi_app:app", "uvicorn")

    def _web_server(self, app: str, name: str) -> Variant:
        command = [str(self.python), "web_server.py", app]
        return Variant(name, command, self.peers, self._keyed, is_web_server=True)

    def uvicorn_behind_a_proxy(self) -> Variant:
        command = [str(self.python), "bridge.py"]
        return Variant("uvicorn behind a proxy", command, self.peers, self._keyed)

    def buffered(self) -> Variant:
        """awslambdaric and Mangum, the key in a variable: no secret to fetch."""
        return self._awslambdaric("awslambdaric + Mangum", "buffered.handler", self._keyed)

    def buffered_boto3(self) -> Variant:
        """The same with the secret, fetched as most people do."""
        bundle = {"AWS_CA_BUNDLE": str(self.secret.authority)}
        environment = {**LAMBDA, **self.secret.environment, **bundle}
        name = "awslambdaric + Mangum + boto3"
        return self._awslambdaric(name, "buffered_boto3.handler", environment)

    def _awslambdaric(self, name: str, handler: str, environment: dict[str, str]) -> Variant:
        command = [str(self.python), "-u", "-m", "awslambdaric", handler]
        return Variant(name, command, self.peers, {**environment, "_HANDLER": handler})

    @property
    def _keyed(self) -> dict[str, str]:
        return {**LAMBDA, "POE_ACCESS_KEY": KEY}


@contextmanager
def built(directory: Path) -> Iterator[Variants]:
    """Everything built, and a Secrets Manager running. `directory`: for its certificates."""
    with secret(directory) as running:
        yield Variants(build_package(running), build_peers(), running, runtime_python())


NODE_CLIENT = "aws-lambda-ric"


def node() -> Variant | str:
    """Node's runtime client with a plain stream; or why it isn't measured. npm builds the client
    from source, in minutes, which needs autoconf, cmake, a C++ compiler and Node's headers."""
    if not shutil.which("npm"):
        return "npm isn't installed"
    folder = BUILD / "bench" / "node"
    client = folder / "node_modules" / NODE_CLIENT
    shutil.copytree(PEERS / "node", folder, dirs_exist_ok=True)
    if not (client / "dist" / "rapid-client.node").exists():
        # Its lock has every hash; of its packages, the client's own scripts alone are run.
        for step in (["ci", "--ignore-scripts"], ["rebuild", NODE_CLIENT]):
            command = ["npm", *step, "--silent", "--prefix", str(folder)]
            if subprocess.run(command, stdout=sys.stderr).returncode:
                return f"{NODE_CLIENT} can't be built on this machine"
    command = ["node", str(client / "bin" / "index.mjs"), "node_bot.handler"]
    return Variant("Node", command, folder, {**LAMBDA, "PATH": os.environ["PATH"]})


def zip_size(package: Path) -> int:
    """Bytes of the package as one zip, without what the bench put into it."""
    plain = package.with_name("package")
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(plain.rglob("*")):
                archive.write(path, path.relative_to(plain))
        return file.tell()
