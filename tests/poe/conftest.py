"""What the tests of the chat page share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    from tests.support.browser import launched  # no other test needs a browser

    with launched() as browser:
        yield browser
