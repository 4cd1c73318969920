"""`make set-key` and `make set-secret`, as processes, against a Secrets Manager over HTTP."""

import io
import json
import os
import pty
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from commands.command import run_command
from commands.set_secret import main
from infra.aws.secret_members import BadMember
from infra.aws.secret_store import SecretStore
from tests.support.aws import KEY, Aws, Stack, answering, aws, command, environment, run

NEW_KEY = "n" * 32
MODULE = "commands.set_secret"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Aws]:
    with aws() as cloud:
        yield cloud


@pytest.fixture
def deployed(cloud: Aws) -> Stack:
    return cloud.stack()


@pytest.fixture
def in_cloud(cloud: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(deployed: Stack, in_cloud: None) -> SecretStore:
    return SecretStore(deployed.arn)


@dataclass(frozen=True)
class Done:
    stdout: str
    stderr: str
    returncode: int


Command = Callable[..., Done]


@pytest.fixture
def make(
    in_cloud: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command in this process."""

    def run_here(deployed: Stack, *arguments: str, said: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(said.encode())))
        status = run_command(main, [*arguments, "--stack", deployed.name])
        return Done(*capsys.readouterr(), status)

    return run_here


def test_a_key_from_stdin_takes_the_old_ones_place_and_the_other_members_stay(
    cloud: Aws,
) -> None:
    deployed = cloud.stack(text=f'{{"OTHER": "é", "POE_ACCESS_KEY": "{KEY}"}}')
    done = run(
        MODULE,
        "set-key",
        "--stack",
        deployed.name,
        said=f" {NEW_KEY}\r\n",
        variables=deployed.environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert deployed.members == {"OTHER": "é", "POE_ACCESS_KEY": NEW_KEY}
    assert "nothing to deploy" in done.stdout
    assert NEW_KEY not in done.stdout


def test_a_key_is_typed_at_a_prompt_that_does_not_show_it(deployed: Stack) -> None:
    arguments = command(MODULE, "set-key", "--stack", deployed.name)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(arguments[0], arguments, environment(deployed.environment))
    shown = b""
    while b"on Poe: " not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, f"{NEW_KEY}\n".encode())
    with open(terminal, "rb", buffering=0) as rest:
        while part := _read(rest.fileno()):
            shown += part
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert deployed.members == {"POE_ACCESS_KEY": NEW_KEY}
    assert NEW_KEY.encode() not in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1000)
    except OSError:  # Linux's end of a terminal whose process has gone
        return b""


def test_a_secret_is_set_with_every_line_of_it_and_taken_out_again(
    make: Command, deployed: Stack
) -> None:
    command = ("set-secret", "--name", "CERTIFICATE")
    done = make(deployed, *command, said=" one\ntwo\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert deployed.members == {"POE_ACCESS_KEY": KEY, "CERTIFICATE": " one\ntwo"}
    assert "within 300 s" in done.stdout
    assert make(deployed, *command, "--remove").returncode == 0
    assert deployed.members == {"POE_ACCESS_KEY": KEY}


@pytest.mark.parametrize(
    ("arguments", "said", "line"),
    [
        (["set-key"], "short", "the access key has 5 characters, not 32"),
        (["set-key"], "\n", "the access key is empty"),
        (["set-secret", "--name", "POE_ACCESS_KEY"], "é" * 32, "characters that no key has"),
        (["set-secret"], "x", "NAME is missing: run `make set-secret NAME=OPENAI_API_KEY`"),
        (["set-secret", "--name", "lower"], "x", "name has to match [A-Z][A-Z0-9_]*"),
        (["set-secret", "--name", "HTTPS_PROXY"], "x", "would change how the function runs"),
        (["set-secret", "--name", "EMPTY"], "", "the value of EMPTY is empty: to remove it, run "),
        (["set-secret", "--name", "NUL"], "\0", "not a text that a variable can hold"),
        (["set-secret", "--name", "LARGE"], "x" * 70_000, "65,536 fit"),
        (["set-secret", "--name", "GONE", "--remove"], "", "the secret has no member GONE"),
        (["set-secret", "--name", "POE_ACCESS_KEY", "--remove"], "", "doesn't start without POE"),
    ],
)
def test_a_value_that_the_function_would_refuse_changes_nothing(
    make: Command, deployed: Stack, arguments: list[str], said: str, line: str
) -> None:
    done = make(deployed, *arguments, said=said)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert deployed.members == {"POE_ACCESS_KEY": KEY}


def test_a_secret_that_is_no_json_is_left_alone_unless_it_is_to_start_from_scratch(
    make: Command, cloud: Aws
) -> None:
    deployed = cloud.stack(text="pasted")
    done = make(deployed, "set-key", said=NEW_KEY)
    assert (done.returncode, deployed.text) == (1, "pasted")
    assert done.stderr.endswith("to start it from scratch, run `make set-key RESET=yes`\n")
    assert "pasted" not in done.stderr
    done = make(deployed, "set-key", "--reset", said=NEW_KEY)
    assert (done.returncode, deployed.members) == (0, {"POE_ACCESS_KEY": NEW_KEY})


def test_a_sound_secret_keeps_its_members_even_if_it_may_start_from_scratch(
    make: Command, cloud: Aws
) -> None:
    deployed = cloud.stack(text=f'{{"OTHER": "é", "POE_ACCESS_KEY": "{KEY}"}}')
    done = make(deployed, "set-key", "--reset", said=NEW_KEY)
    assert done.returncode == 0
    assert deployed.members == {"OTHER": "é", "POE_ACCESS_KEY": NEW_KEY}


def test_members_that_keep_the_function_from_starting_are_named(make: Command, cloud: Aws) -> None:
    deployed = cloud.stack(text='{"PATH": "/bin", "NUMBER": 1}')
    done = make(deployed, "set-secret", "--name", "GOOD", said="x")
    assert done.returncode == 0
    assert [line.split(": ")[2].partition(" (")[0] for line in done.stderr.splitlines()] == [
        "there is no POE_ACCESS_KEY",
        "PATH would change how the function runs",
        "the value of NUMBER is not a text that a variable can hold",
    ]


def test_a_secret_that_is_marked_for_deletion_says_how_to_bring_it_back(
    make: Command, deployed: Stack
) -> None:
    deployed.secrets.delete_secret(SecretId=deployed.arn)
    done = make(deployed, "set-key", said=NEW_KEY)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "marked for deletion" in done.stderr
    assert "restore-secret" in done.stderr


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY", "no AWS credentials"),
        ("AWS_REGION", "no AWS region"),
        ("", "there is no stack None-such"),
    ],
)
def test_what_lacks_on_the_way_to_aws_gives_one_clear_line(
    deployed: Stack, without: str, words: str
) -> None:
    variables = {k: v for k, v in deployed.environment.items() if k not in without.split()}
    done = run(MODULE, "set-key", "--stack", "None-such", said=NEW_KEY, variables=variables)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert words in done.stderr


@pytest.mark.parametrize("value", [7, None, ["k" * 32]])
def test_an_access_key_that_is_no_text_is_refused(
    cloud: Aws, in_cloud: None, value: object
) -> None:
    deployed = cloud.stack(text=json.dumps({"POE_ACCESS_KEY": value}))
    with pytest.raises(BadMember, match="the value of POE_ACCESS_KEY is not a text"):
        SecretStore(deployed.arn).access_key()


def test_a_secret_that_may_not_be_read_gives_one_clear_line(
    make: Command, deployed: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = 400, '{"__type": "AccessDeniedException", "Message": "no"}'
    with answering(lambda body: denied) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)
        done = make(deployed, "set-key", said=NEW_KEY)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "may not call GetSecretValue" in done.stderr


def test_a_change_that_comes_in_between_is_not_lost(store: SecretStore, deployed: Stack) -> None:
    seen: list[dict[str, str]] = []

    def edit(members: dict[str, str]) -> dict[str, str]:
        seen.append(members)
        if len(seen) == 1:
            SecretStore(deployed.arn).change(lambda others: {**others, "THEIRS": "1"})
        return {**members, "OURS": "1"}

    store.change(edit)
    assert deployed.members == {"POE_ACCESS_KEY": KEY, "THEIRS": "1", "OURS": "1"}
    assert len(seen) == 2


def test_a_secret_that_was_set_back_to_an_old_version_can_be_changed(
    store: SecretStore, deployed: Stack
) -> None:
    old = deployed.current["VersionId"]
    store.change(lambda members: {**members, "FIRST": "1"})
    new = deployed.current["VersionId"]
    deployed.secrets.update_secret_version_stage(
        SecretId=deployed.arn,
        VersionStage="AWSCURRENT",
        MoveToVersionId=old,
        RemoveFromVersionId=new,
    )
    store.change(lambda members: {**members, "SECOND": "1"})
    # By the version put last: moto leaves the label AWSCURRENT at the one that was set back to.
    put_last = deployed.secrets.get_secret_value(SecretId=deployed.arn)["SecretString"]
    assert json.loads(put_last) == {"POE_ACCESS_KEY": KEY, "SECOND": "1"}


def test_the_same_value_again_makes_no_new_version(store: SecretStore, deployed: Stack) -> None:
    store.change(lambda members: members)
    versions = deployed.secrets.list_secret_version_ids(SecretId=deployed.arn)["Versions"]
    assert len(versions) == 1
