"""The Tab key: what the shell is answered, through argcomplete's protocol."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.control.test_operate import running
from trio_bgp.cli import main


def completed(line: str, socket: Path) -> list[str]:
    """What a shell offers behind a line."""
    answer_end, write_end = os.pipe()
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": f"/dev/fd/{write_end}",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
        "TRIO_BGP_SOCKET": str(socket),
    }
    subprocess.run(
        [sys.executable, "-m", "trio_bgp"],
        env=environment,
        pass_fds=(write_end,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=20,
        check=False,
    )
    os.close(write_end)
    with open(answer_end, encoding="utf-8") as answer:  # noqa: PTH123 (a descriptor)
        return [each.strip() for each in answer.read().split("\n") if each.strip()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_given_something_it_reads(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the program."""
    assert main(["completion", shell]) == 0
    assert "trio-bgp" in capsys.readouterr().out


async def test_commands_words_families_and_peers_are_completed(tmp_path: Path) -> None:
    """Peers come from the daemon; without one the rest is completed all the same."""
    import trio

    async with running(tmp_path) as daemon:

        async def offered(line: str) -> list[str]:
            return await trio.to_thread.run_sync(completed, line, daemon.socket)

        assert "shutdown" in await offered("trio-bgp sh")
        assert await offered("trio-bgp clear as6500") == ["as65001", "as65002", "as65003"]
        assert await offered("trio-bgp show peer as65003") == ["as65003"]
        assert await offered("trio-bgp show route from as65001") == ["as65001"]
        assert "or-longer" in await offered("trio-bgp show route 10.0.0.0/8 or-")
        assert await offered("trio-bgp show route family ipv6-u") == ["ipv6-unicast"]
        assert await offered("trio-bgp explain 10.0.0.0/8 to as65002") == ["as65002"]
        assert "--next-hop" in await offered("trio-bgp announce 10.0.0.0/8 --n")
    assert completed("trio-bgp clear as", tmp_path / "none") == []
