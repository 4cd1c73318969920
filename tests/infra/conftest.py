"""What the tests of the stack share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for the package: the template holds its hash alone."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "bootstrap").write_text("#!/bin/sh\n")
    return folder
