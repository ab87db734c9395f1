import os
import socket
from pathlib import Path

import pytest
import trio

from trio_bgp.runtime.notify import Notifier


def test_without_a_manager_nothing_is_said() -> None:
    """No variable, no message, no error; nor if its socket is gone."""
    assert Notifier({}).interval == 0
    Notifier({}).ready("x")
    Notifier({"NOTIFY_SOCKET": "/nonexistent/socket"}).stopping()


@pytest.mark.parametrize("abstract", [False, True])
def test_what_is_said(abstract: bool, tmp_path: Path) -> None:
    """sd_notify(3): READY with a status, RELOADING with the time, STOPPING; on paths and abstract sockets."""
    name = f"trio-bgp-test-{os.getpid()}" if abstract else str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if abstract else name)
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name if abstract else name})
        notifier.ready("3 peers")
        assert manager.recv(1000) == b"READY=1\nSTATUS=3 peers"
        notifier.reloading()
        assert manager.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        notifier.stopping()
        assert manager.recv(1000) == b"STOPPING=1"


async def test_signs_of_life_come_twice_as_often_as_they_must(tmp_path: Path, autojump_clock: object) -> None:
    """WATCHDOG_USEC halved; not if another process is watched."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(str(tmp_path / "s"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "s"), "WATCHDOG_USEC": "30000000"}
        notifier = Notifier({**environment, "WATCHDOG_PID": str(os.getpid())})
        assert notifier.interval == 15
        with trio.move_on_after(40):
            await notifier.watchdog()
        assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        with pytest.raises(BlockingIOError):
            manager.recv(100)
        assert Notifier({**environment, "WATCHDOG_PID": "1"}).interval == 0
