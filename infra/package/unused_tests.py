"""The libraries' own tests, which no bot runs: a fifth of what scikit-learn takes with pandas.

A folder named `tests` or `test` that holds test modules is left out, unless something outside of
such folders names it: an import, a text with its dotted name (`import_module("x.tests.y")`), an
entry point, or the path of one of its files. In doubt it stays.
"""

import ast
import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePath

_FOLDERS = {"tests", "test"}
_TEST_MODULE = re.compile(r"(test_.*|.*_test|tests?)\.py")
# Run by pytest and by builds alone: what these name isn't used by a bot.
_NEVER_IMPORTED = {"conftest.py", "setup.py"}

# Whether a source may name such a folder: parsing it takes a hundred times as long.
_WORD = re.compile(rb"tests?\b")
_MAY_NAME = re.compile(
    rb"""[.'"/]tests?\b                          # a.tests, "tests", a/tests
    | \b(?:from|import)\b[^'"\n]*[ ,(]tests?\b  # import tests; from . import x, tests
    | ^\s*tests?(?:\s+as\s+\w+)?\s*(?:[,)\#]|$) # a line of an import over several lines
    """,
    re.VERBOSE | re.MULTILINE,
)
_DOTTED = re.compile(r"\.*\b[^\W\d]\w*(?:\.\w+)*")


def unused_tests(folder: Path, named: Iterable[str] = ()) -> list[Path]:
    """The folders of tests below `folder`, where libraries are installed, that nothing uses.

    `named`: what the bot's own modules name, by `named_tests`. Takes the time of reading every
    module as text, and of parsing one in fifty.
    """
    modules, tests = _modules_and_tests(folder)
    unused = {".".join(path.relative_to(folder).parts): path for path in tests}
    found = {*named, *_entry_points(folder)}
    for module in modules:
        found |= _references(module, PurePath(module).relative_to(folder))
    # A folder that stays can use another one.
    while used := {name for name in unused if any(map(_is_within(name), found))}:
        found = set()
        for module in (each for name in used for each in unused.pop(name).rglob("*.py")):
            found |= _references(module, module.relative_to(folder))
    return sorted(unused.values())


def named_tests(modules: dict[str, Path]) -> set[str]:
    """The dotted names with a part `tests` or `test` that the bot's modules contain, which have
    their paths below the bot's folder as keys."""
    found: set[str] = set()
    for name, file in modules.items():
        if name.endswith(".py"):
            with contextlib.suppress(OSError):  # gone, while someone edits
                found |= _references(file, PurePath(name))
    return found


def _modules_and_tests(root: Path) -> tuple[list[Path], list[Path]]:
    """The modules outside of folders with tests, and the outermost ones of these."""
    modules, tests = [], []
    for folder, subfolders, files in os.walk(root):
        for name in _FOLDERS.intersection(subfolders):
            if _has_test_modules(Path(folder, name)):
                tests.append(Path(folder, name))
                subfolders.remove(name)
        names = (name for name in files if name.endswith(".py") and name not in _NEVER_IMPORTED)
        modules += [Path(folder, name) for name in names]
    return modules, tests


def _has_test_modules(folder: Path) -> bool:
    """A folder `test` can as well be half of a data set, or a command's name."""
    return any(_TEST_MODULE.fullmatch(path.name) for path in folder.rglob("*.py"))


def _is_within(tests: str) -> Callable[[str], bool]:
    return lambda name: name == tests or name.startswith(f"{tests}.")


def _entry_points(folder: Path) -> Iterator[str]:
    """networkx has one in its tests."""
    for file in folder.glob("*.dist-info/entry_points.txt"):
        yield from _in_text(file.read_text("utf-8", errors="replace"), ())


def _references(module: Path, place: PurePath) -> set[str]:
    """The dotted names with a part `tests` or `test` in a source, whose path below the root is
    `place`."""
    source = module.read_bytes()
    if not (_WORD.search(source) and _MAY_NAME.search(source)):
        return set()
    names = _names(source, place.parent.parts)
    return {name for name in names if _FOLDERS.intersection(name.split("."))}


def _names(source: bytes, package: Sequence[str]) -> Iterator[str]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of "\d", which isn't the user's
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # for another Python, or a template
        yield from _in_text(source.decode("utf-8", errors="replace"), package)
    else:
        for node in _nodes(tree):
            yield from _in_node(node, package)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All of them, but for docstrings: those are full of examples."""
    waiting = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
                yield node
                waiting.append(node)


def _in_node(node: ast.AST, package: Sequence[str]) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module, names, level):
            start = f"{'.' * (level or 0)}{module or ''}"
            for alias in names:
                yield _absolute(f"{start}{'.' if module else ''}{alias.name}", package)
        case ast.Constant(str(text)) if "test" in text:
            yield from _in_text(text, package)
        case ast.Call(args=parts):  # os.path.join(HERE, "tests", "words.csv")
            for pair in pairwise(parts):
                yield from _in_parts(*pair, package)
        case ast.BinOp(ast.BinOp(_, ast.Div(), folder), ast.Div(), file):  # HERE / "tests" / "a"
            yield from _in_parts(folder, file, package)


def _in_parts(folder: ast.expr, file: ast.expr, package: Sequence[str]) -> Iterator[str]:
    match folder, file:
        case ast.Constant(str(name)), ast.Constant(str(rest)) if name in _FOLDERS:
            yield from _in_text(f"{name}/{rest}", package)


def _in_text(text: str, package: Sequence[str]) -> Iterator[str]:
    """What a text can mean: dotted names, and paths from its module's folder or from one above."""
    for name in _DOTTED.findall(text):
        yield _absolute(name, package)
    for path in re.findall(r"[\w./-]*\btests?/[\w./-]+", text):
        parts = [part for part in path.split("/") if part.strip(".")]
        for depth in range(len(package) + 1):
            yield ".".join([*package[:depth], *parts])


def _absolute(name: str, package: Sequence[str]) -> str:
    """`name` without leading dots, of which each but the first means one package further up."""
    level = len(name) - len(name.lstrip("."))
    above = package[: max(0, len(package) - level + 1)] if level else ()
    return ".".join([*above, name[level:]])
