"""The host's own pins, which every bot gets."""

import re
import tomllib
from importlib.metadata import distribution

from packaging.requirements import Requirement

from infra.toolchain.folders import ROOT

HANDLER = ROOT / "handler"


def test_the_host_leaves_one_edge_of_fastapi_poes_metadata_out_the_one_to_uvicorn() -> None:
    (ours,) = tomllib.loads((HANDLER / "uv.toml").read_text())["dependency-metadata"]
    theirs = distribution("fastapi_poe")
    required = {str(Requirement(line)) for line in theirs.requires or []}
    assert {str(Requirement(line)) for line in ours["requires-dist"]} == required - {"uvicorn"}
    assert "uvicorn" in required
    assert ours["requires-python"] == theirs.metadata["Requires-Python"]
    assert ours["provides-extra"] == theirs.metadata.get_all("Provides-Extra")
    assert f"fastapi_poe=={ours['version']}" in (HANDLER / "requirements.in").read_text()
    assert ours["version"] == theirs.version


def test_the_host_ships_neither_uvicorn_nor_what_only_uvicorn_needs() -> None:
    names = re.findall(r"^([\w-]+)==", (HANDLER / "requirements.txt").read_text(), re.MULTILINE)
    assert {"fastapi-poe", "mangum", "h11"} <= set(names)
    assert not {"uvicorn", "click"} & set(names)
