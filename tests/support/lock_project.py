"""A bot whose lock is written from tiny packages."""

from pathlib import Path

from infra.package.bot_folder import BotFolder
from infra.package.lock.file import versions
from infra.package.lock.lock import Lock, locked
from tests.support.bot_folder import write_folder
from tests.support.wheelhouse import Wheelhouse

METADATA = """
[[dependency-metadata]]
name = "fastapi-poe"
version = "{version}"
requires-dist = ["starlette"]
"""


class Project:
    """A bot's folder, a host that pins fastapi_poe, and the packages that there are."""

    def __init__(self, folder: Path, house: Wheelhouse) -> None:
        self.house = house
        self.bot = BotFolder(folder / "my bot")
        self.host = folder / "host"
        self.locks = folder / "locks"
        self.said: list[str] = []
        write_folder(self.bot.path, {"bot.py": "bot = None\n"})
        self.pin("0.0.83", "1.0")

    def pin(self, version: str, starlette: str) -> None:
        """The host's own version of fastapi_poe, and of starlette, which it was tested with."""
        tested = "".join(
            f"{name}=={number} \\\n    --hash=sha256:{self.house.digest(name, number)}\n"
            for name, number in (("fastapi-poe", version), ("starlette", starlette))
        )
        files = {
            "requirements.in": f"# own\nfastapi_poe=={version}\n",
            "requirements.txt": tested,
            "uv.toml": METADATA.format(version=version),
        }
        write_folder(self.host, files)

    def requires(self, *lines: str) -> None:
        write_folder(self.bot.path, {"requirements.txt": "".join(f"{line}\n" for line in lines)})

    def lock(self, *, again: bool = False, upgrade: str | None = None) -> Lock:
        return locked(
            self.bot, again=again, upgrade=upgrade, say=self.said.append, host=self.host,
            locks=self.locks,
        )  # fmt: skip

    def versions(self, *, again: bool = False, upgrade: str | None = None) -> dict[str, str]:
        return versions(self.lock(again=again, upgrade=upgrade).file.read_text())
