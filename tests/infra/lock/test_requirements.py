"""What a bot's requirements may look like, and what of them can't be locked."""

import codecs
import os
from pathlib import Path

import pytest

from infra.package.lock.requirements import Requirements, read_requirements
from infra.package.target import PackageError
from tests.support.bot_folder import write_folder


def lines(folder: Path) -> tuple[str, ...]:
    found = read_requirements(folder)
    return found.lines if found else ()


def test_requirements_are_read_without_comments_and_with_continued_lines(tmp_path: Path) -> None:
    text = (
        "# for the bot\n\nopenai>=3  # newest\npandas[excel] ; python_version < '4'\n"
        "numpy \\\n  >=2\nflask --hash=sha256:00\n"
    )
    write_folder(tmp_path, {"requirements.txt": text})
    assert lines(tmp_path) == (
        "openai>=3",
        "pandas[excel] ; python_version < '4'",
        "numpy   >=2",
        "flask --hash=sha256:00",
    )


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + b"openai\r\nflask\r\n",
        codecs.BOM_UTF16_LE + "openai\r\nflask\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "openai\nflask".encode("utf-16-be"),
    ],
    ids=["utf-8 with a mark", "powershell", "big endian"],
)
def test_files_as_windows_writes_them_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "requirements.txt").write_bytes(content)
    assert lines(tmp_path) == ("openai", "flask")


@pytest.mark.parametrize("content", [b"openai # d\xe9j\xe0", "openai".encode("utf-16-le"), b"a\0"])
def test_a_file_in_another_encoding_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "requirements.txt").write_bytes(content)
    with pytest.raises(PackageError, match="requirements.txt isn't text in UTF-8"):
        read_requirements(tmp_path)


def test_included_files_and_constraints_are_read_from_where_they_are_named(tmp_path: Path) -> None:
    files = {
        "requirements.txt": "-r more/base.txt\n-c limits.txt\n--requirement=more/base.txt\n",
        "more/base.txt": "openai\n-r ../requirements.txt\n-rextra.txt\n",
        "more/extra.txt": "flask",
        "limits.txt": "openai<4",
    }
    write_folder(tmp_path, files)
    assert read_requirements(tmp_path) == Requirements(
        tmp_path / "requirements.txt", ("openai", "flask"), ("openai<4",)
    )


def test_a_file_can_hold_requirements_and_constraints_at_once(tmp_path: Path) -> None:
    write_folder(tmp_path, {"requirements.txt": "-c all.txt\n-r all.txt\n", "all.txt": "openai==4"})
    found = read_requirements(tmp_path)
    assert found
    assert found.lines == found.constraints == ("openai==4",)


@pytest.mark.parametrize("name", ["base.txt", "b" * 5000, "more"])
def test_a_missing_included_file_is_named_with_its_place(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path, {"requirements.txt": f"openai\n-r {name}\n", "more/base.txt": ""})
    with pytest.raises(PackageError, match=f"requirements.txt:2: {name} isn't a file here"):
        read_requirements(tmp_path)


def test_a_link_that_leads_nowhere_does_not_mean_that_nothing_is_required(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").symlink_to("../shared/requirements.txt")
    with pytest.raises(PackageError, match=r"^requirements.txt can't be read: No such file"):
        read_requirements(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"requirements.txt": "openai"})
    (tmp_path / "requirements.txt").chmod(0)
    with pytest.raises(PackageError, match=r"requirements.txt can't be read: Permission denied$"):
        read_requirements(tmp_path)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("pip @ git+https://example.com/pip@main", "pip @ git+https://example.com/pip@main"),
        ("git+https://example.com/pip@v1#egg=pip", "pip @ git+https://example.com/pip@v1"),
        ("git+https://b.c/d#egg=d[x]&subdirectory=e", "d[x] @ git+https://b.c/d#subdirectory=e"),
        ("-e git+ssh://git@example.com/a/b.git#egg=b", "b @ git+ssh://git@example.com/a/b.git"),
        (
            "https://example.com/a-1.0-py3-none-any.whl",
            "https://example.com/a-1.0-py3-none-any.whl",
        ),
    ],
)
def test_links_are_kept_in_todays_form(tmp_path: Path, line: str, read: str) -> None:
    write_folder(tmp_path, {"requirements.txt": line})
    assert lines(tmp_path) == (read,)


@pytest.mark.parametrize(
    "line",
    [
        "./lib", "-e .", "--editable=../shared", "lib/", "lib\\a", "dist/mine-1.0-py3-none-any.whl",
        "mine-1.0.tar.gz", "file:///home/me/lib", "numpy @ file:///croot/numpy", "mine @ ./lib",
        "~/lib", "C:\\lib", "git+file:///home/me/lib", "mine @ git+file:///home/me/lib",
        "--find-links ./wheels", "--find-links wheels", "-i index",
    ],
)  # fmt: skip
def test_a_path_of_this_machine_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    write_folder(tmp_path, {"requirements.txt": f"openai\n{line}\n"})
    with pytest.raises(PackageError, match=r"^requirements.txt:2: .* is a path, which only this"):
        read_requirements(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "git+https://ghp_hunter2@example.com/a",
        "a @ git+ssh://me:hunter2@example.com/a",
        "--extra-index-url https://me:hunter2@example.com/simple",
        "-ihttps://hunter2@example.com/simple",
        "-f http://me:hunter2@example.com/",
    ],
)
def test_a_password_never_gets_on(tmp_path: Path, line: str) -> None:
    write_folder(tmp_path, {"requirements.txt": line})
    with pytest.raises(PackageError, match=r"^requirements.txt:1: a user name or") as refused:
        read_requirements(tmp_path)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("line", ["--pre", "--trusted-host example.com", "--use-pep517"])
def test_an_option_of_pip_alone_is_refused_by_name(tmp_path: Path, line: str) -> None:
    write_folder(tmp_path, {"requirements.txt": f"openai\n{line}\n"})
    name = line.split()[0]
    with pytest.raises(PackageError, match=f"requirements.txt:2: the option {name} has no meaning"):
        read_requirements(tmp_path)


def test_where_libraries_come_from_is_kept_apart(tmp_path: Path) -> None:
    write_folder(tmp_path, {"requirements.txt": "--extra-index-url https://example.com/x\ntorch"})
    assert read_requirements(tmp_path) == Requirements(
        tmp_path / "requirements.txt",
        ("torch",),
        indexes=("--extra-index-url https://example.com/x",),
    )


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"requirements.txt": "# nothing yet\n"},
        {"pyproject.toml": "[tool.ruff]\nline-length = 100\n"},
        {"pyproject.toml": '[project]\nname = "bot"\n'},
    ],
)
def test_a_folder_may_require_nothing(tmp_path: Path, files: dict[str, str]) -> None:
    write_folder(tmp_path, files)
    assert read_requirements(tmp_path) is None


def test_without_requirements_txt_the_projects_dependencies_are_read(tmp_path: Path) -> None:
    project = {"pyproject.toml": '[project]\nname = "bot"\ndependencies = ["openai>=3"]\n'}
    write_folder(tmp_path, project)
    assert lines(tmp_path) == ("openai>=3",)
    write_folder(tmp_path, {"requirements.txt": "flask"})
    assert lines(tmp_path) == ("flask",)


@pytest.mark.parametrize(
    ("project", "complaint"),
    [
        ("[project", "pyproject.toml can't be read: "),
        ('[project]\ndynamic = ["dependencies"]', "pyproject.toml doesn't list the dependencies"),
        ('[tool.poetry.dependencies]\nopenai = "*"', "pyproject.toml doesn't list the depend"),
        (
            '[project]\ndependencies = ["a"]\n[tool.uv.sources]\na = { git = "https://b" }',
            r"\[tool.uv.sources\] isn't read: write the link of a into the dependencies, as `a @",
        ),
        (
            '[project]\ndependencies = ["a @ file:///a"]',
            "pyproject.toml: `a @ file:///a` is a path",
        ),
        ('project = "bot"', "pyproject.toml can't be read: `project` isn't a table"),
        ("[tool]\nuv = 1", "pyproject.toml can't be read: `uv` isn't a table"),
        # Taken letter by letter, it would ask for six libraries.
        ('[project]\ndependencies = "openai"', r"\[project\] needs a list of names"),
        ("[project]\ndependencies = [3]", "needs a list of names"),
        ('[project]\ndependencies = ["-r /etc/passwd"]', "needs a list of names"),
        ('[project]\ndependencies = ["openai\\n-r /etc/passwd"]', "needs a list of names"),
    ],
)
def test_dependencies_that_cannot_be_read_are_refused(
    tmp_path: Path, project: str, complaint: str
) -> None:
    write_folder(tmp_path, {"pyproject.toml": project})
    with pytest.raises(PackageError, match=complaint):
        read_requirements(tmp_path)
