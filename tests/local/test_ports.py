"""Ports that are looked at before a start."""

import socket

import pytest

from infra.toolchain.errors import UserError
from local.ports import free_port


def test_a_port_below_1024_is_not_said_to_be_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(
        UserError, match="^port 80 is for root alone: choose another with `make run"
    ):
        free_port(80, "`make run PORT=9001`")
