"""Questions at a terminal."""

import os
import pty

import pytest

from commands.terminal.prompt import agrees


@pytest.mark.parametrize(
    ("typed", "agreed"),
    [
        ("\n", False),  # the capital letter of [y/N]
        ("n\n", False),
        ("no\n", False),
        ("yep\n", False),
        ("\x04", False),  # Ctrl-D
        ("y\n", True),
        (" Y \n", True),
        ("yes\n", True),
    ],
)
def test_only_a_typed_yes_is_a_yes(
    typed: str, agreed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal, its_program = pty.openpty()
    os.write(terminal, typed.encode())
    with open(its_program) as stdin, open(terminal, "wb", buffering=0):
        monkeypatch.setattr("sys.stdin", stdin)
        assert agrees("Create them now?") is agreed
    assert capsys.readouterr().out.startswith("Create them now? [y/N] ")


def test_without_a_terminal_nobody_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"y\n")
    os.close(writer)
    with open(reader) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert not agrees("Create them now?")
