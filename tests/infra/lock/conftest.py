"""What the tests of the lock share."""

from pathlib import Path

import pytest

from tests.support.lock_project import Project
from tests.support.wheelhouse import Wheelhouse


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    house = Wheelhouse(tmp_path / "house")
    house.use(monkeypatch)
    monkeypatch.setenv("COLUMNS", "40")  # a narrow terminal
    for version in ("0.0.83", "0.0.84"):
        house.wheel("fastapi-poe", version, ["starlette", "uvicorn"])
    for version in ("1.0", "1.1", "1.2"):
        house.wheel("starlette", version)
    house.wheel("uvicorn", requires=["click"])
    house.wheel("click")
    house.wheel("words")
    return Project(tmp_path, house)
