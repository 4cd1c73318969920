"""The real package and a bare interpreter for it, built once per session."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from infra.package.build import build
from infra.package.target import Target
from infra.toolchain import pythons
from infra.toolchain.folders import ROOT

settings.register_profile("thorough", max_examples=10_000)

# A shell's background job ignores Ctrl-C, and would hand that on to the commands that tests stop.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def runtime_python() -> Path:
    """A Python without any package: what runs on it proves itself complete."""
    return pythons.runtime_python()


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package for this machine, with the bot of handler/bot.py."""
    return build(ROOT / "handler", Target.here(), tmp_path_factory.mktemp("real") / "package")


@pytest.fixture(scope="session")
def build_with_bot(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives a function that builds the package for this machine with a test's own bot.py."""

    def build_it(bot_source: str) -> Path:
        folder = tmp_path_factory.mktemp("with-bot")
        bot_file = folder / "bot.py"
        bot_file.write_text(bot_source)
        return build(ROOT / "handler", Target.here(), folder / "package", bot_file)

    return build_it
