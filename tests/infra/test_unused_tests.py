"""The libraries' tests that don't ship, and those that do, since something outside names them."""

import warnings
from pathlib import Path

import pytest

from infra.package.unused_tests import named_tests, unused_tests
from tests.support.bot_folder import write_folder


def left_out(folder: Path, *named: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in unused_tests(folder, named)}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """One with tests at two places, which nothing outside mentions."""
    return write_folder(
        tmp_path / "libraries",
        {
            "lib/__init__.py": "import lib.part\n",
            "lib/tests/__init__.py": "",
            "lib/tests/test_lib.py": "from lib.part.test import test_part\n",
            "lib/tests/data/words.csv": "a\n",
            "lib/part/__init__.py": "",
            "lib/part/test/__init__.py": "",
            "lib/part/test/test_part.py": "",
        },
    )


def test_tests_that_nothing_outside_names_are_left_out(library: Path) -> None:
    assert left_out(library) == {"lib/tests", "lib/part/test"}


@pytest.mark.parametrize(
    "source",
    [
        "import lib.tests.test_lib",
        "import os, lib.tests as t",
        "from lib.tests import test_lib",
        "from lib import x, tests",
        "from lib import (\n    x,\n    tests,\n)",
        "from lib import (\n    tests as t\n)",
        "from .. import tests",
        "from ..tests.test_lib import x",
        "def later():\n    from ..tests import x",
        "import_module('lib.tests.test_lib')",
        "import_module('..tests', __package__)",
        "import_module(f'lib.tests.{name}')",
        "RUN = [sys.executable, '-c', 'from lib.tests import run']",
        "importlib.resources.files('lib.tests.data')",
        "pkgutil.get_data('lib', 'tests/data/words.csv')",
        "os.path.join(HERE, '..', 'tests', 'data', 'words.csv')",
        "words = HERE / 'tests' / 'words.csv'",
        "a = 0777  # of Python 2\nimport lib.tests",
    ],
)
def test_tests_that_a_module_names_stay_with_those_that_they_name(
    library: Path, source: str
) -> None:
    write_folder(library, {"lib/other/__init__.py": "", "lib/other/user.py": source})
    assert left_out(library) == set()


@pytest.mark.parametrize(
    "source",
    [
        '"""Say `lib.tests.test_lib` to run them."""',
        "def f():\n    '''>>> from lib.tests import x'''",
        "x = ['train', 'test', 'tests']",
        "TESTS = os.path.join(HERE, 'tests')",
        "from lib.testing import tests_of",
        "import lib.tests_of.test",
        "from .test import x",
    ],
)
def test_what_does_not_name_them_keeps_no_tests(library: Path, source: str) -> None:
    write_folder(library, {"lib/user.py": source})
    assert left_out(library) == {"lib/tests", "lib/part/test"}


def test_what_only_tests_and_builds_import_keeps_no_tests(library: Path) -> None:
    source = "import lib.tests, lib.part.test"
    write_folder(library, {"lib/conftest.py": source, "lib/setup.py": source})
    assert left_out(library) == {"lib/tests", "lib/part/test"}


def test_a_source_with_a_doubtful_escape_causes_no_warning(library: Path) -> None:
    write_folder(library, {"lib/user.py": "import lib.tests\nDIGIT = '\\d'\n"})
    with warnings.catch_warnings(action="always", record=True) as seen:
        assert left_out(library) == set()
    assert seen == []


def test_an_entry_point_in_tests_keeps_them(library: Path) -> None:
    points = "[backends]\nloop = lib.part.test.test_part:backend\n"
    write_folder(library, {"lib-1.0.dist-info/entry_points.txt": points})
    assert left_out(library) == {"lib/tests"}


def test_a_folder_without_test_modules_stays_whatever_its_name(library: Path) -> None:
    files = {"lib/data/test/1.png": "", "lib/commands/test/__init__.py": "", "jinja/tests.py": ""}
    write_folder(library, files)
    assert left_out(library) == {"lib/tests", "lib/part/test"}


def test_folders_named_otherwise_stay(library: Path) -> None:
    write_folder(library, {"lib/testing/test_x.py": "", "lib/_tests/test_x.py": ""})
    assert left_out(library) == {"lib/tests", "lib/part/test"}


def test_tests_that_the_bot_names_stay(library: Path, tmp_path: Path) -> None:
    files = {"bot.py": "import words", "words.py": "from lib.part.test.test_part import x\n"}
    bot = write_folder(tmp_path / "bot", files)
    gone = tmp_path / "gone.py"
    named = named_tests({name: bot / name for name in files} | {"gone.py": gone})
    assert named == {"lib.part.test.test_part.x"}
    assert left_out(library, *named) == {"lib/tests"}
