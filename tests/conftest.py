"""The real package and a bare interpreter for it, built once per session."""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from infra.toolchain import pythons
from infra.toolchain.folders import ROOT
from tests.support.bot_folder import build_folder

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
    """The package for this machine, with a bot that calls another bot, as the guide's does."""
    sub_bot = (ROOT / "examples" / "sub_bot.py").read_text()
    return build_folder(tmp_path_factory.mktemp("real"), {"bot.py": sub_bot})


@pytest.fixture(scope="session")
def build_with_bot(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Gives a function that builds the package for this machine with a test's own bot.py, and
    what else its folder has."""

    def build_it(bot_source: str, files: Mapping[str, str] | None = None) -> Path:
        folder = tmp_path_factory.mktemp("with-bot")
        return build_folder(folder, {"bot.py": bot_source, **(files or {})})

    return build_it
