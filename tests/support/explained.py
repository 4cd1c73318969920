"""Why a bot doesn't start, as the log and Lambda are told, without a start of the whole package."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.toolchain.folders import ROOT
from tests.support.bot_folder import write_folder

SCRIPT = """
import sys
sys.path.insert(0, ".")
from handler.log.explain import explain
from handler.app.user_module import import_bot
try:
    import_bot(sys.argv[1])
except BaseException as error:
    print(explain(error), end="")
"""


def explained(folder: Path, files: Mapping[str, str]) -> str:
    """What `explain` makes of the error that importing the bot raises. `files`: of the bot's
    folder, which is written into `folder`."""
    (folder / "handler").symlink_to(ROOT / "handler")
    bot = write_folder(folder / "bot", files)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(bot)], cwd=folder, env={}, capture_output=True, text=True
    )
    assert not done.stderr, done.stderr
    return done.stdout
