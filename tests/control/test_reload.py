"""A reload of a real process: by SIGHUP and by command; what a wrong file does; what the log says."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from tests.harness.lab import lab, peer_settings
from trio_bgp.cli import main
from trio_bgp.cli.client import Client
from trio_bgp.config.diff import compare
from trio_bgp.runtime.session import sockets

CONFIG = """
[speaker]
local_as = 65000
bgp_identifier = "10.255.0.1"
listen = ["127.0.0.1:0"]
[control]
socket = "{socket}"
[log]
level = "{level}"
[groups.all]
passive = true
hold_time = 30
"""
MEMBER = """
[[peers]]
name = "as6500{number}"
address = "127.0.1.{number}"
peer_as = 6500{number}
group = "all"
"""


def configuration(folder: Path, *numbers: int, level: str = "info", more: str = "") -> str:
    """With these peers."""
    peers = "".join(MEMBER.format(number=number) for number in numbers)
    return CONFIG.format(socket=folder / "s", level=level) + peers + more


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`trio-bgp run` with `folder/config.toml`, logging to `folder/log`."""
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "trio_bgp", "run", str(folder / "config.toml")]
        process = subprocess.Popen(command, stderr=log, env={**os.environ, "XDG_RUNTIME_DIR": str(folder)})
        try:
            assert main(["wait", "as65001", "down", "--socket", str(folder / "s"), "--timeout", "20"]) == 0
            yield process
        finally:
            process.terminate()
            assert process.wait(20) == 0


def until(folder: Path, check: Callable[[str], bool]) -> str:
    """The log, when it is as wanted."""
    deadline = time.monotonic() + 20
    while not check(text := (folder / "log").read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.05)
    return text


def test_a_file_is_taken_over_or_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Groups count for what they give their peers; `diff` says beforehand what a reload does."""
    path = tmp_path / "config.toml"
    path.write_text(configuration(tmp_path, 1, 2))
    socket = ["--socket", str(tmp_path / "s")]
    with daemon(tmp_path) as process:
        client = Client(str(tmp_path / "s"))
        assert main(["diff", "--exit-code", *socket]) == 0
        assert capsys.readouterr().out == "nothing\n"

        path.write_text(configuration(tmp_path, 1, 3, level="debug").replace("hold_time = 30", "max_prefixes = 5"))
        assert main(["diff", "--exit-code", *socket]) == 1
        told = capsys.readouterr().out
        assert told.splitlines() == [
            "removed as65002",
            "changed as65001: hold_time, max_prefixes (its session is reset)",
            "added as65003",
            "changed log.level",
        ]
        process.send_signal(signal.SIGHUP)
        log = until(tmp_path, lambda text: "config.reloaded" in text)
        assert [line.split("config.change ")[1] for line in log.splitlines() if "config.change" in line] == (
            told.splitlines()
        )
        assert [peer["name"] for peer in client.get("peers")] == ["as65001", "as65003"]
        assert main(["diff", "--exit-code", *socket]) == 0

        path.write_text(configuration(tmp_path, 1, 2, 3) + "passive = 7\n")
        assert main(["reload", *socket]) == 1
        said = capsys.readouterr().err
        assert "peers[2].passive: found 7; accepted: true or false" in said or "found 7" in said
        process.send_signal(signal.SIGHUP)
        until(tmp_path, lambda text: "config.refused" in text)
        path.write_text(configuration(tmp_path, 1, 2).replace("local_as = 65000", "local_as = 65009"))
        assert main(["reload", *socket]) == 1
        assert "nothing was changed; needs a restart: speaker.local_as" in capsys.readouterr().err
        assert [peer["name"] for peer in client.get("peers")] == ["as65001", "as65003"]

        other = tmp_path / "other.toml"
        other.write_text(configuration(tmp_path, 1, level="debug"))
        assert main(["diff", str(other), *socket]) == 0
        assert "removed as65003" in capsys.readouterr().out


async def test_what_the_system_cannot_do_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sockets get back the keys they had, and the configuration stays."""
    one = peer_settings(1)
    async with lab(one, listen=()) as the_lab:
        speaker = the_lab.speaker
        calls = []

        def protect(listener: object, peers: object, before: object) -> None:
            calls.append((peers, before))
            if len(calls) == 1:
                raise OSError(92, "no TCP-MD5 here")

        monkeypatch.setattr(sockets, "protect", protect)
        monkeypatch.setattr(speaker, "_listeners", ["a socket"])
        old = speaker.settings
        new = attrs.evolve(old, peers=(attrs.evolve(one, md5_password="secret"),))
        with pytest.raises(OSError, match="no TCP-MD5 here"):
            speaker.reconfigure(new, compare(old, new).peers)
        assert speaker.settings is old
        assert calls == [(new.peers, old.peers), (old.peers, new.peers)]
        monkeypatch.setattr(speaker, "_listeners", [])


async def test_a_range_keeps_its_count_over_a_reload() -> None:
    """`max_peers` counts the peers that came before it, too; a new limit holds at once."""
    from ipaddress import ip_network

    members = peer_settings(1, name="all", address=None, range=ip_network("192.0.2.0/24"), peer_as=65001, max_peers=2)
    async with lab(members) as the_lab:
        for number in (1, 2):
            await the_lab.join(number, asn=65001)
        speaker = the_lab.speaker
        assert len(speaker.peers) == 2
        new = attrs.evolve(speaker.settings, peers=(attrs.evolve(members, max_prefixes=9),))
        speaker.reconfigure(new, compare(speaker.settings, new).peers)
        refused = await the_lab.join(3, asn=65001)
        assert refused.closed.is_set()
        assert len(speaker.peers) == 2
        new = attrs.evolve(speaker.settings, peers=(attrs.evolve(members, max_peers=3),))
        speaker.reconfigure(new, compare(speaker.settings, new).peers)
        await the_lab.join(4, asn=65001)
        assert len(speaker.peers) == 3
        await trio.lowlevel.checkpoint()
