"""Which module may import which. A module that a user puts beside `bot.py` is free."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {
        "access_key",
        "bot",
        "cached_secret",
        "deferred_models",
        "events",
        "guard",
        "http1",
        "lifespan",
        "log",
        "managed_path",
        "report",
        "signed_call",
        "watchdog",
        "wire",
    },
    {"query", "runtime_api", "secrets_manager", "streaming"},
    {"app", "loop"},
    {"__main__", "asgi", "function"},
]
OURS = set().union(*FLOORS) - {"bot"}


def imports(source, package):
    """The dotted names that a module of `package` imports, wherever in it that stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module]))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def floor_of(module):
    return next(number for number, modules in enumerate(FLOORS) if module in modules)


def wrong_imports(sources):
    """`(importer, imported)` that the floors forbid. `sources`: of `handler`, by module's name."""
    for module, source in sources.items():
        if module not in OURS:
            continue
        for name in imports(source, "handler"):
            package, _, imported = name.partition(".")
            imported = imported.partition(".")[0]
            if package != "handler" or imported not in sources:
                continue
            if imported not in OURS | {"bot"} or floor_of(imported) >= floor_of(module):
                yield module, imported


def sources_of(package):
    return {path.stem: path.read_text() for path in (ROOT / package).glob("*.py")}


def test_every_module_has_a_floor():
    assert set(sources_of("handler")) >= OURS


def test_imports_go_down_only():
    assert not [*wrong_imports(sources_of("handler"))]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("guard", "from handler import log"),  # the same floor
        ("guard", "from handler.app import App"),  # upwards
        ("guard", "from . import log"),
        ("guard", "from .app import App"),
        ("guard", "import handler.app"),
        ("guard", "def later():\n    from handler import loop"),  # not only at the top
        ("loop", "import handler.loop"),
        ("app", "from handler import helper"),  # what a user's module is for is the bot alone
    ],
)
def test_a_wrong_import_would_be_seen(module, line):
    sources = {**sources_of("handler"), "helper": ""}
    assert [*wrong_imports({**sources, module: line})]


def test_a_users_modules_are_free():
    bot = "from handler import helper, log\nfrom handler.other import x\nimport openai\n"
    mine = {"bot": bot, "helper": "import handler.other", "other": "from handler import helper"}
    assert not [*wrong_imports({**sources_of("handler"), **mine})]


@pytest.mark.parametrize(
    ("package", "others"),
    [
        ("handler", {"infra", "local", "tests", "bench"}),
        ("infra", {"handler", "tests"}),
        ("local", {"handler", "tests"}),
    ],
)
def test_packages_keep_to_themselves(package, others):
    for path in (ROOT / package).rglob("*.py"):
        found = {name.partition(".")[0] for name in imports(path.read_text(), package)}
        assert not found & others, path
