"""Commands that change something, and what is refused of them, beyond the how-to."""

from ipaddress import ip_network
from pathlib import Path

import pytest
import trio

from tests.control.test_operate import running
from tests.control.test_server import served
from tests.harness.decoder import V4
from tests.harness.lab import lab, peer_settings
from trio_bgp.cli import main


async def test_all_peers_are_cleared_at_once(tmp_path: Path) -> None:
    """`all` is every one that is up; an address names a peer, too."""
    async with running(tmp_path) as daemon:
        assert await daemon.command("clear", "all", "soft", "in") == 0
        await daemon.lab.settle()
        assert daemon.one.refreshes == daemon.two.refreshes == [b"\0\1\0\1"]
        assert await daemon.command("clear", "192.0.2.2") == 0
        await daemon.two.closed.wait()
        assert not daemon.one.closed.is_set()
        assert await daemon.command("clear", "all") == 0
        await daemon.one.closed.wait()
        assert daemon.one.notifications[0][:2] == bytes((6, 4))


async def test_what_cannot_be_done_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1 and a sentence for each."""
    async with running(tmp_path) as daemon:
        for words, text in (
            (("shutdown", "as65001", "x" * 256), "256 octets; accepted: up to 255"),
            (("enable", "as65001"), "as65001 is not disabled"),
            (("clear", "as65003"), "as65003 is not established"),
            (("clear", "as65003", "soft", "out"), "as65003 is not established"),
            (("shutdown", "nobody"), "there is no peer 'nobody'"),
            (("withdraw", "10.99.0.0/16"), "not announced here: 10.99.0.0/16"),
            (("withdraw", "nonsense"), "'nonsense' is no prefix"),
            (("tail", "from", "nobody"), "there is no peer 'nobody'"),
            (("wait", "as65001", "nonsense"), "'nonsense' is no prefix"),
            (("wait", "as65001", "established", "--timeout", "1e9"), "timeout is '1e+09'"),
        ):
            assert await daemon.command(*words) == 1, words
            assert text in capsys.readouterr().err, words
        assert await daemon.command("shutdown", "as65002") == 0
        assert await daemon.command("shutdown", "as65002") == 1
        assert "disabled already" in capsys.readouterr().err
        assert await daemon.command("wait", "as65002", "down") == 0


async def test_a_peer_of_a_range_is_not_kept_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its name has a slash; it can be cleared, and waited for before it comes."""
    members = peer_settings(1, name="all", address=None, range=ip_network("192.0.2.0/24"), peer_as=65001)
    async with lab(members) as the_lab:
        await served(the_lab, tmp_path)

        async def command(*words: str) -> int:
            return await trio.to_thread.run_sync(lambda: main([*words, "--socket", str(tmp_path / "s")]))

        assert await command("wait", "all/192.0.2.1", "established", "--timeout", "0.1") == 1
        one = await the_lab.join(1, asn=65001, families=(V4,))
        assert await command("wait", "all/192.0.2.1", "established") == 0
        assert await command("shutdown", "all/192.0.2.1") == 1
        assert "comes from a range and cannot be kept down" in capsys.readouterr().err
        assert await command("clear", "all/192.0.2.1") == 0
        await one.closed.wait()


async def test_a_route_announced_again_has_its_new_time(tmp_path: Path) -> None:
    """The first time to live does not end the second; `--all` withdraws all that is left."""
    async with running(tmp_path) as daemon:
        route = ("203.0.113.0/24", "--next-hop", "192.0.2.9")
        assert await daemon.command("announce", *route, "--ttl", "0.3s") == 0
        assert await daemon.command("announce", *route) == 0
        assert await daemon.command("announce", "2001:db8::/32", "--next-hop", "2001:db8::9", "--blackhole") == 0
        await trio.sleep(0.5)
        assert (V4, b"\x18\xcb\x00\x71") in daemon.one.table
        assert await daemon.command("withdraw", "--all") == 0
        await daemon.lab.settle()
        assert (V4, b"\x18\xcb\x00\x71") not in daemon.one.table
        assert await daemon.command("show", "route", "from", "local") == 1


async def test_words_choose_what_tail_and_show_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Aliases, `all`, `primary`, `limit`, `noexport`, peers that are down."""
    async with running(tmp_path) as daemon:
        assert await daemon.command("show", "neighbors", "down", "--json") == 0
        assert '"as65003"' in capsys.readouterr().out
        assert await daemon.command("show", "routes", "in", "10.0.0.0/8", "primary", "all") == 0
        printed = capsys.readouterr().out
        assert printed.count("* 10.") == 2
        assert "    origin: IGP" in printed
        assert await daemon.command("show", "route", "limit", "1") == 0
        told = capsys.readouterr()
        assert (len(told.out.splitlines()), told.err) == (1, "there are more than 1\n")
        assert await daemon.command("show", "route", "noexport", "as65001") == 1
        with pytest.raises(SystemExit):
            await daemon.command("show", "route", "from", "as65001", "from", "as65002")
        with pytest.raises(SystemExit):
            await daemon.command("explain", "10.0.0.0/8")
