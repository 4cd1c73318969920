"""Libraries that have no wheel for every target: built, refused, or replaced."""

import re
import subprocess
from pathlib import Path

import pytest

from infra.package.bot_folder import BotFolder
from infra.package.libraries import install_libraries
from infra.package.lock.file import read_head, versions
from infra.package.lock.lock import Lock, locked
from infra.package.target import PackageError, Target, configured_python
from infra.toolchain.uv import install_command
from tests.support.bot_folder import write_folder
from tests.support.lock_project import Project
from tests.support.wheelhouse import Wheelhouse, source_files


def test_pure_python_without_a_wheel_is_built_and_installed(
    project: Project, tmp_path: Path
) -> None:
    project.house.sources("tongue")
    project.requires("tongue", "words")
    lock = project.lock()
    head = read_head(lock.file)
    assert head
    assert head.built_here == lock.built_here == ("tongue",)
    libraries = install_libraries(lock, Target.here(), tmp_path / "cache")
    assert (libraries / "tongue.py").exists()


def test_a_library_that_the_lock_does_not_name_is_never_built(
    project: Project, tmp_path: Path
) -> None:
    project.house.sources("tongue")
    project.requires("tongue")
    unnamed = Lock(project.lock().file)
    with pytest.raises(PackageError, match="tongue"):
        install_libraries(unnamed, Target.here(), tmp_path / "cache")


def test_a_build_sees_no_secret_of_the_environment(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("AWS_PROFILE", "OPENAI_API_KEY", "GH_TOKEN", "MY_SECRET", "PASSWORD", "PYTHONPATH")
    for name in names:
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("PLAIN", "1")
    project.house.sources("tongue")
    project.requires("tongue")
    libraries = install_libraries(project.lock(), Target.here(), tmp_path / "cache")
    seen = (libraries / "tongue.py").read_text()
    assert "PLAIN" in seen
    assert not any(name in seen for name in names)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("compiled", "and it has compiled parts"),
        ("optional", "and it has compiled parts"),
        ("looking", "and it has compiled parts"),
        ("broken", "building it fails (fatal error: popp"),
    ],
)
def test_what_has_to_be_compiled_is_refused_by_name(project: Project, kind: str, why: str) -> None:
    project.house.sources("fast", kind=kind)
    project.requires("fast")
    with pytest.raises(PackageError) as refused:
        project.lock()
    text = str(refused.value)
    python = configured_python()
    assert text.startswith(f"fast 1.0 has no wheel for Python {python} on Linux (arm64, x86_64), ")
    assert why in text
    assert text.endswith("Try a newer version, or another library that has wheels.")
    assert "\n" not in text


def test_optional_compiled_parts_count_whatever_was_built_before_or_without_a_compiler(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.house.sources("fast", kind="optional")
    project.requires("fast")
    monkeypatch.setenv("CC", "false")
    install = [*install_command("3.13", Target.here().platform, project.locks), "--no-binary=fast"]
    subprocess.run(install, input="fast", text=True, check=True)
    assert (project.locks / "fast.py").exists(), "its slower self is in uv's cache now"
    for _ in range(2):
        with pytest.raises(PackageError, match="fast 1.0 .* it has compiled parts"):
            project.lock()


@pytest.mark.parametrize(
    ("tag", "advice"),
    [
        ("cp311-cp311-manylinux_2_28_aarch64", "Its wheels are for cp311: try a newer version."),
        ("cp313-cp313-win_amd64", "Its wheels are for other systems: mark it `; sys_platform != "),
    ],
)
def test_wheels_for_others_say_what_to_try(project: Project, tag: str, advice: str) -> None:
    project.house.wheel("fast", tag=tag)
    project.requires("fast")
    with pytest.raises(PackageError, match=re.escape(advice)):
        project.lock()


def test_a_library_with_a_twin_that_has_wheels_is_refused_with_its_name(project: Project) -> None:
    project.house.sources("psycopg2", kind="broken")
    project.requires("psycopg2")
    with pytest.raises(PackageError, match=r"\. Require psycopg2-binary in its place, which has"):
        project.lock()


def test_opencv_with_windows_is_locked_with_a_hint_at_the_one_without(project: Project) -> None:
    project.house.wheel("opencv-python")
    project.house.wheel("opencv-python-headless")
    project.house.wheel("camera", requires=["opencv-python"])
    project.requires("opencv-python-headless")
    project.lock()
    assert len(project.said) == 1
    project.requires("camera")
    project.lock()
    hint, _ = project.said[1:]
    assert hint.startswith("hint: opencv-python opens windows")
    assert "require opencv-python-headless" in hint


def test_opencv_without_windows_takes_the_place_of_the_one_that_another_library_wants(
    project: Project,
) -> None:
    """Each would overwrite the other's files."""
    project.house.wheel("opencv-python")
    project.house.wheel("opencv-python-headless")
    project.house.wheel("camera", requires=["opencv-python>=1.0"])
    project.requires("camera", "OpenCV_Python.headless")
    assert project.versions().keys() > {"camera", "opencv-python-headless"}
    assert "opencv-python" not in project.versions()
    assert len(project.said) == 1


def test_what_has_wheels_of_compiled_code_is_not_built_as_its_slower_self(project: Project) -> None:
    project.house.wheel("fast", tag="cp311-cp311-manylinux_2_28_x86_64")
    project.house.sources("fast", kind="pure")
    project.requires("fast")
    with pytest.raises(PackageError, match="and it has compiled parts"):
        project.lock()


def test_all_that_cannot_be_locked_is_refused_at_once(project: Project) -> None:
    for name in ("fast", "quick"):
        project.house.wheel(name, tag="cp311-cp311-manylinux_2_28_x86_64")
    project.requires("quick", "fast")
    with pytest.raises(PackageError, match=r"^fast 1.0 has no wheel .*\nquick 1.0 has no wheel "):
        project.lock()


def test_what_only_one_processor_can_have_is_locked_with_a_warning(
    project: Project, tmp_path: Path
) -> None:
    python = "cp" + configured_python().replace(".", "")
    project.house.wheel("fast", tag=f"{python}-{python}-manylinux2014_x86_64")
    project.requires("fast")
    lock = project.lock()
    assert lock.built_here == ()
    warning = f"warning: fast 1.0 has no wheel for Python {configured_python()} on Linux (arm64), "
    assert project.said[0].startswith(warning)
    with pytest.raises(PackageError, match="fast"):
        install_libraries(lock, Target.on_lambda(arch="arm64"), tmp_path / "cache")


def test_a_git_link_is_locked_to_its_commit_and_installed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = write_folder(tmp_path / "repository", source_files("linked"))
    commit = commit_all(repository)
    configuration = tmp_path / "gitconfig"
    address = "https://example.com/linked"
    configuration.write_text(f'[url "file://{repository}"]\n    insteadOf = {address}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    project.requires(f"git+{address}@main#egg=linked", "words")
    lock = project.lock()
    assert versions(lock.file.read_text())["linked"] == f"git+{address}@{commit}"
    assert lock.built_here == ("linked",)
    libraries = install_libraries(lock, Target.here(), tmp_path / "cache")
    assert (libraries / "linked.py").exists()
    assert (libraries / "words.py").exists()


def commit_all(repository: Path) -> str:
    person = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        [*person, "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *command], cwd=repository, check=True)
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


SPEED = "[Extension('_speed', ['speed.c'])]"
SETUPS = {
    "optional": "go([Extension('_speed', ['speed.c'], optional=True)])",
    "pure if compiling fails": f"try: go({SPEED})\nexcept (Exception, SystemExit): go([])",
    "compiled where gcc is": f"go({SPEED} if shutil.which('gcc') else [])",
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
def test_optional_extensions_of_setuptools_are_refused_without_a_compiler_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setup: str
) -> None:
    head = "import shutil\nfrom setuptools import Extension, setup\n"
    go = "go = lambda parts: setup(name='fast', version='1.0', ext_modules=parts)\n"
    house = Wheelhouse(tmp_path / "house")
    house.use(monkeypatch, alone=False)
    house.archive("fast", "1.0", {"setup.py": head + go + setup, "speed.c": "int speed;\n"})
    monkeypatch.setenv("CC", "false")  # as if this machine didn't have one
    files = {"bot.py": "bot = None\n", "requirements.txt": "fast==1.0\n"}
    with pytest.raises(PackageError, match=r"^fast 1.0 has no wheel .* and it has compiled parts"):
        locked(BotFolder(write_folder(tmp_path / "bot", files)))


JOBS = """
import io, os
os.environ["MPLCONFIGDIR"] = os.environ["HOME"]
import anthropic, cryptography.fernet, cv2, fastapi_poe, google.genai, langchain_openai, langdetect
import matplotlib.pyplot, numpy, pandas, PIL.Image
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

points, kinds = load_iris(return_X_y=True, as_frame=True)
assert cross_val_score(LogisticRegression(max_iter=500), points, kinds).mean() > 0.9
table = pandas.read_csv(io.StringIO("a,b\\n1,x\\n2,y\\n3,x\\n"))
assert table.groupby("b").a.sum().to_dict() == {"x": 4, "y": 2}
file = io.BytesIO()
table.a.plot().figure.savefig(file)
assert PIL.Image.open(file).size == (640, 480)
assert cv2.imencode(".png", numpy.zeros((8, 8, 3), numpy.uint8))[0]
assert langdetect.detect("Good morning, how are you today?") == "en"
anthropic.Anthropic(api_key="k"), google.genai.Client(api_key="k")
langchain_openai.ChatOpenAI(api_key="k")
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_libraries_of_the_real_index_are_locked_and_run(
    tmp_path: Path, runtime_python: Path
) -> None:
    """What the host's tools once kept out, has compiled parts or tests, or has no wheel."""
    required = (
        "anthropic cryptography google-genai langchain-openai langdetect matplotlib numpy"
        " opencv-python-headless pandas pillow scikit-learn"
    )
    files = {"bot.py": "bot = None\n", "requirements.txt": required.replace(" ", "\n")}
    lock = locked(BotFolder(write_folder(tmp_path / "bot", files)))
    assert lock.built_here == ("langdetect",)
    install_libraries(lock, Target.on_lambda(arch="arm64"), tmp_path / "cache")
    libraries = install_libraries(lock, Target.here(), tmp_path / "cache")
    for tests in ("numpy/tests", "pandas/tests", "sklearn/linear_model/tests", "matplotlib/tests"):
        assert (libraries / tests).parent.is_dir()
        assert not (libraries / tests).exists()
    subprocess.run(
        [runtime_python, "-c", JOBS], cwd=libraries, env={"HOME": str(tmp_path)}, check=True
    )
