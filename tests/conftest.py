"""The real package and a bare interpreter for it, built once per session."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from infra.toolchain import pythons
from infra.toolchain.folders import ROOT
from tests.support.bot_folder import build_folder

# They take longest, so they start first: else one of them runs on alone at the end.
LONG_FILES = (
    "end_to_end/test_deployment.py",
    "handler/test_soak.py",
    "commands/test_run.py",
    "commands/test_check.py",
    "infra/test_package.py",
    "poe/test_page_chat.py",
    "infra/test_stack.py",
    "commands/test_trial.py",
    "end_to_end/test_examples.py",
    "commands/test_register.py",
    "poe/test_page.py",
    "handler/test_leaks.py",
    "local/test_secrets_file.py",
    "handler/test_snapshot.py",
    "handler/test_endings.py",
    "infra/test_app.py",
)

settings.register_profile("thorough", max_examples=10_000)

# A shell's background job ignores Ctrl-C, and would hand that on to the commands that tests stop.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Three for two processors: a third of the tests' time is waiting."""
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return (len(usable(0)) * 3 + 1) // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    ranks = {folder / name: rank for rank, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The function's logging takes a whole process over: no test may leave that to the next."""
    known = logging.root.manager.loggerDict.values()
    loggers = [each for each in known if isinstance(each, logging.Logger)]
    states = [(each, vars(each).copy(), [*each.handlers]) for each in (logging.root, *loggers)]
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    yield
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    for logger, state, handlers in states:
        vars(logger).update(state, handlers=handlers, _cache={})


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
