"""What `make run` notes for `make chat`, in the run's own folder, which only its user can read."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from infra.toolchain.private import write_private
from poe.client.access import folder_of_run
from poe.client.conversation import LOOPBACK

NAME = "notes.json"


@dataclass(frozen=True)
class RunNotes:
    """The bot's folder and its module; why its last change isn't served, or nothing."""

    folder: str = ""
    file: str = ""
    problem: str = ""


def keep_notes(folder: Path, notes: RunNotes) -> None:
    write_private(folder / NAME, json.dumps(asdict(notes)))


def notes_of_run(url: str) -> RunNotes:
    """Those of the `make run` that serves `url`; empty ones without such a run."""
    address = httpx.URL(url)
    file = folder_of_run(address) / NAME
    if address.host not in LOOPBACK or not file.exists():
        return RunNotes()
    return RunNotes(**json.loads(file.read_text()))
