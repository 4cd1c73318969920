"""Ports that are looked at before a start."""

import socket
from pathlib import Path

import pytest

from infra.toolchain.errors import UserError
from local.ports import free_port, own_port


def test_a_port_below_1024_is_not_said_to_be_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(
        UserError, match="^port 80 is for root alone: choose another with `make run"
    ):
        free_port(80, "`make run PORT=9001`")


def test_a_port_that_another_command_is_about_to_use_is_in_use(tmp_path: Path) -> None:
    port = free_port(None)
    with (
        own_port(port, tmp_path, "`make run PORT=9001`"),
        pytest.raises(UserError, match=f"^port {port} is in use: .* `make run PORT=9001`$"),
        own_port(port, tmp_path, "`make run PORT=9001`"),
    ):
        pass
    with own_port(port, tmp_path, "`make run PORT=9001`"):
        pass
