"""Recordings said again: to whole daemons in memory, and by the commands over real sockets."""

import bz2
import gzip
import json
import logging
import lzma
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.harness import decoder
from tests.harness.decoder import V4, V6, Attribute, Route
from tests.harness.lab import Lab, address_of, lab, peer_settings
from trio_bgp.cli import main
from trio_bgp.mrt.messages import Message, Session, encode_bgp4mp
from trio_bgp.mrt.records import MrtError, encode_record
from trio_bgp.recording.adapter import Choice
from trio_bgp.recording.player import Outcome, ReplaySettings, replay
from trio_bgp.recording.recorder import record_table, start_recording
from trio_bgp.recording.source import Recording
from trio_bgp.runtime.session.transport import StreamTransport, Transport
from trio_bgp.settings import AddPathSettings, PeerSettings, RecordSettings
from trio_bgp.testing.window import window_stream_pair
from trio_bgp.wire.header import KEEPALIVE

Table = dict[Route, tuple[Attribute, ...]]


def announce(number: int, *prefixes: bytes, path: tuple[int, ...] = ()) -> bytes:
    """An announcement of peer `number`."""
    block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65000 + number, *path)
    return decoder.announce([(V4, prefix) for prefix in prefixes], block, bytes((192, 0, 2, number)))


def announce6(number: int, *prefixes: bytes) -> bytes:
    """The same for IPv6."""
    block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65000 + number)
    return decoder.announce([(V6, prefix) for prefix in prefixes], block, bytes(15) + bytes((number,)))


def announces(octets: bytes) -> bool:
    """Whether a message announces IPv4 routes."""
    return octets[18] == decoder.UPDATE and bool(decoder.Update(octets).announced)


def as_peer(running: Lab, number: int) -> Callable[[PeerSettings], Awaitable[Transport]]:
    """Connects to a daemon of the lab as its peer `number`."""

    async def connect(peer: PeerSettings) -> Transport:
        ours, theirs = trio.testing.memory_stream_pair()
        running.speaker.accept(StreamTransport(theirs, peer_address=address_of(number), local_address="192.0.2.254"))
        return StreamTransport(ours, peer_address="192.0.2.254", local_address=address_of(number))

    return connect


def settings(number: int = 1, *, add_path: bool = False, **changes: Any) -> ReplaySettings:
    """To be peer `number` of a lab's daemon."""
    target = PeerSettings(
        name="target",
        address=ip_address("192.0.2.254"),
        peer_as=0,
        hold_time=0,
        add_path=AddPathSettings(send=AddPathSettings.ALL if add_path else 0),
    )
    return ReplaySettings(peer=target, local_as=65000 + number, **changes)


async def holds(running: Lab, number: int, path: Path, given: ReplaySettings) -> tuple[Table, Outcome]:
    """What peer 9 of a daemon holds when a recording was replayed as peer `number`."""
    nine = await running.join(9)
    outcome: list[Outcome] = []

    async def run() -> None:
        outcome.append(await replay(str(path), given, connect=as_peer(running, number)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.fail_after(20):
            while len(nine.end_of_rib) < 2 or not any(m.end_of_rib for m in running.speaker.forwarder.members):  # noqa: ASYNC110
                await trio.sleep(0.01)
            await running.settle()
        table = dict(nine.table)
        nursery.cancel_scope.cancel()
    return table, outcome[0] if outcome else Outcome()


async def record_a_day(folder: Path) -> tuple[Table, Table]:
    """A daemon with peers 1 and 2: `updates` and `table` in the folder; what peer 9 holds, and what peer 1 said."""
    recording = RecordSettings(updates=str(folder / "updates"), tables=str(folder / "table"))
    async with trio.open_nursery() as nursery:
        async with lab(peer_settings(1), peer_settings(2), peer_settings(9)) as running:
            start_recording(running.speaker, recording, nursery)
            nine = await running.join(9)
            one, two = await running.join(1), await running.join(2)
            await one.say(announce(1, *(bytes((16, 10, n)) for n in range(200)), path=(7, 8)))
            await one.say(announce(1, b"\x08\x14", path=(196609,)) + announce6(1, b"\x20\x20\x01\x0d\xb8"))
            await one.say(decoder.withdraw([(V4, bytes((16, 10, n))) for n in range(50)]))
            await running.settle()
            said = dict(nine.table)
            await two.say(announce(2, b"\x08\x15", b"\x10\x0a\x64", path=(5, 6, 7)))
            await running.settle()
            await record_table(running.speaker, recording, 0)
            held = dict(nine.table)
        nursery.cancel_scope.cancel()
    return held, said


@pytest.mark.parametrize("name", ["updates", "table"])
async def test_what_was_recorded_is_said_again(tmp_path: Path, name: str) -> None:
    """The stream, and the table, of one recorded peer make another daemon hold what the first one held of it."""
    _, said = await record_a_day(tmp_path)
    assert len(said) == 152
    async with lab(peer_settings(1), peer_settings(9)) as running:
        table, _ = await holds(running, 1, tmp_path / name, settings(choice=Choice(["AS65001"]), keep=60))
    assert table == said


async def test_all_paths_of_a_table_with_add_path(tmp_path: Path) -> None:
    """A prefix that two peers have: both paths reach a daemon that takes them."""
    held, _ = await record_a_day(tmp_path)
    peer = peer_settings(1, add_path=AddPathSettings(receive=True))
    async with lab(peer, peer_settings(9)) as running:
        given = settings(add_path=True, keep=60, unchanged=True)
        table, _ = await holds(running, 1, tmp_path / "table", given)
    assert table == held


async def test_the_outcome_is_told(tmp_path: Path) -> None:
    """Counts; nothing wrong; the session ended in order, with End-of-RIB before."""
    await record_a_day(tmp_path)
    async with lab(peer_settings(1), peer_settings(9)) as running:
        outcome = await replay(str(tmp_path / "table"), settings(), connect=as_peer(running, 1))
        await running.settle()
        assert running.speaker.peers[ip_address(address_of(1))].last_end.endswith("saying 'replay finished'")
    assert (outcome.error, outcome.announced, outcome.withdrawn) == ("", 153, 0)
    assert outcome.messages == 6
    assert not outcome.skipped
    async with lab(peer_settings(1)) as running:
        outcome = await replay(str(tmp_path / "updates"), settings(repeat=2), connect=as_peer(running, 1))
    assert (outcome.error, outcome.announced, outcome.withdrawn) == ("", 2 * 204, 2 * 50)


async def test_a_session_that_ends_early_is_told(tmp_path: Path) -> None:
    """The daemon refuses more; while the session is to be kept, too."""
    await record_a_day(tmp_path)
    async with lab(peer_settings(1, max_prefixes=10)) as running:
        outcome = await replay(str(tmp_path / "updates"), settings(keep=60), connect=as_peer(running, 1))
    assert outcome.error == "the session ended: the peer sent Cease/Maximum Number of Prefixes Reached (6/1)" + (
        " data=" + bytes.fromhex("0001010000000a").hex()
    )


async def test_without_a_session_nothing_is_said(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Nobody there; somebody who wants another AS."""
    path = tmp_path / "u"
    path.write_bytes(announce(1, b"\x08\x0a"))

    async def nobody(peer: PeerSettings) -> Transport:
        raise ConnectionRefusedError(111, "Connection refused")

    outcome = await replay(str(path), settings(timeout=5), connect=nobody)
    assert outcome.error == "no session within 5 s: Connection refused"
    async with lab(peer_settings(2)) as running:
        outcome = await replay(str(path), settings(1, timeout=5), connect=as_peer(running, 2))
    assert "Bad Peer AS" in outcome.error


async def test_recorded_times_are_kept(tmp_path: Path) -> None:
    """Twice as fast: half the time between first and last."""
    path = tmp_path / "u"
    session = Session(65001, 65000, ip_address("192.0.2.1"), ip_address("192.0.2.2"))
    path.write_bytes(
        b"".join(
            encode_record(encode_bgp4mp(Message(session, announce(1, bytes((8, n)))), 100, n * 300_000))
            for n in range(3)
        )
    )
    async with lab(peer_settings(1), peer_settings(9)) as running:
        nine = await running.join(9)
        times: list[float] = []
        nine.on_message = lambda octets: times.append(trio.current_time()) if announces(octets) else None
        begin = trio.current_time()
        outcome = await replay(str(path), settings(speed=2.0), connect=as_peer(running, 1))
    assert (outcome.error, outcome.messages) == ("", 5)
    assert outcome.seconds >= 0.3
    # Nothing comes before its time; how much later depends on what else this machine does.
    assert len(times) == 3
    assert all(at >= begin + due for at, due in zip(times, (0.0, 0.15, 0.3), strict=True))


async def test_nobody_reads_faster_than_the_other_side(tmp_path: Path) -> None:
    """While the other side does not read, the file is not read on either."""
    path = tmp_path / "u"
    octets = b"".join(announce(1, *(bytes((24, 10, n >> 8, n & 255)) for n in range(900))) for _ in range(2000))
    path.write_bytes(octets)
    ours, theirs = window_stream_pair(65536)
    positions: list[int] = []

    async def connect(peer: PeerSettings) -> Transport:
        return StreamTransport(ours, peer_address="192.0.2.254", local_address="192.0.2.1")

    async def other() -> None:
        received = b""
        await theirs.send_all(decoder.open_message(65000, 1, families=(V4,), hold_time=0) + KEEPALIVE)
        while len(received) < 100:
            received += await theirs.receive_some(100)
        seen = [-3, -2, -1]
        while len(set(seen[-3:])) > 1:
            await trio.sleep(0.2)
            seen.append(positions[-1] if positions else -1 - len(seen))
        assert positions[-1] < len(octets) // 2
        while await theirs.receive_some(1 << 20):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        with trio.fail_after(30):
            outcome = await replay(
                str(path), settings(), connect=connect, progress=lambda file, _: positions.append(file.position)
            )
    assert outcome.error == ""
    assert outcome.octets == len(octets) + 23


async def test_a_replay_is_stopped_in_order(tmp_path: Path) -> None:
    """Before the end that is an interruption, while the session is kept not; the other side is told."""
    path = tmp_path / "u"
    session = Session(65001, 65000, ip_address("192.0.2.1"), ip_address("192.0.2.2"))
    updates = [Message(session, announce(1, bytes((8, n)))) for n in range(2)]
    path.write_bytes(b"".join(encode_record(encode_bgp4mp(each, n * 9000, 0)) for n, each in enumerate(updates)))
    for given, error in ((settings(speed=1.0), "interrupted"), (settings(keep=9000), "")):
        async with lab(peer_settings(1)) as running:
            stop = trio.Event()
            outcomes: list[Outcome] = []

            async def run() -> None:
                outcomes.append(await replay(str(path), given, connect=as_peer(running, 1), stop=stop))  # noqa: B023

            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                with trio.fail_after(10):
                    while not sum(each.prefixes for each in running.speaker.statistics()):  # noqa: ASYNC110
                        await trio.sleep(0.01)
                    await trio.sleep(0.1)
                    stop.set()
            await running.settle()
            assert running.speaker.peers[ip_address(address_of(1))].last_end.endswith("saying 'replay finished'")
        assert outcomes[0].error == error


@pytest.mark.shared
@pytest.mark.parametrize(("name", "asn4"), [("rv-2016-updates", True), ("ris-2007-updates", False)])
async def test_real_updates(shared: Path, name: str, asn4: bool) -> None:
    """UPDATEs recorded of many peers: another peer holds what was said last, with the recorded attributes."""
    path = shared / "replay" / f"{name}.bgp.xz"
    assert json.loads(path.with_name(f"{name}.json").read_text())["asn4"] is asn4
    expected: Table = {}
    recording = Recording(str(path))
    for each in [each for some in iter(recording.read, []) for each in some]:
        assert isinstance(each.value, Message)
        found = decoder.Update(each.value.octets)
        for route in found.withdrawn:
            expected.pop(route, None)
        expected |= {route: attributes for route, attributes in found.announced.items() if route[0] in (V4, V6)}
    recording.close()
    async with lab(peer_settings(1), peer_settings(9), local_as=4) as running:
        table, _ = await holds(running, 1, path, settings(keep=60, asn4=asn4, unchanged=True))
    assert table.keys() == expected.keys()
    assert len(table) > 500
    if asn4:
        assert table == expected


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_files_are_read_whatever_they_are(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """MRT and bare messages, compressed or not; the name does not matter."""
    session = Session(65001, 65000, ip_address("192.0.2.1"), ip_address("192.0.2.2"))
    message = Message(session, announce(1, b"\x08\x0a"))
    record = encode_record(encode_bgp4mp(message, 5, 250_000))
    path = tmp_path / "file"
    path.write_bytes(compress(record * 3))
    recording = Recording(str(path))
    found = [each for some in iter(recording.read, []) for each in some]
    assert [(each.value, each.time) for each in found] == [(message, 5.25)] * 3
    assert recording.position == recording.size == path.stat().st_size
    recording.close()
    path.write_bytes(compress(message.octets * 3))
    recording = Recording(str(path), asn4=False)
    found = recording.read()
    recording.close()
    assert [(each.value.octets, each.value.asn4) for each in found if isinstance(each.value, Message)] == [
        (message.octets, False)
    ] * 3


def test_a_file_may_be_empty(tmp_path: Path) -> None:
    """Nothing in it is nothing wrong with it."""
    (tmp_path / "file").write_bytes(b"")
    recording = Recording(str(tmp_path / "file"))
    assert recording.read() == []
    recording.close()


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"some text that is neither", "this is no MRT"),
        (b"\xff" * 16 + b"\0\5\2rest", "this is no BGP message: length 5"),
        (b"\xff" * 16 + b"\0\x17\2\0", "ends within a message"),
        (gzip.compress(bytes(1000), mtime=0)[:-5], "the compression is broken"),
        (lzma.compress(bytes(1000))[:-5], "the compression is broken"),
        (bytes(12)[:9], "ends within a record"),
    ],
)
def test_a_broken_file_is_told(tmp_path: Path, octets: bytes, message: str) -> None:
    """By its name, with what is wrong."""
    path = tmp_path / "file"
    path.write_bytes(octets)
    recording = Recording(str(path))
    with pytest.raises(MrtError, match=f"{path}: .*{message}"):
        list(iter(recording.read, []))
    recording.close()


def test_records_that_are_not_understood_are_counted(tmp_path: Path) -> None:
    """Other types, other subtypes, malformed ones; what is behind them is read."""
    session = Session(65001, 65000, ip_address("192.0.2.1"), ip_address("192.0.2.2"))
    good = encode_record(encode_bgp4mp(Message(session, KEEPALIVE), 5, 0))
    path = tmp_path / "file"
    path.write_bytes(
        bytes.fromhex("00000000 000c 0001 00000001 00")
        + bytes.fromhex("00000000 000d 0007 00000001 00")
        + bytes.fromhex("00000000 0010 0004 00000001 00")
        + good
    )
    recording = Recording(str(path))
    assert len(recording.read()) == 1
    assert dict(recording.skipped) == {
        "TABLE_DUMP subtype 1": 1,
        "TABLE_DUMP_V2 subtype 7": 1,
        "malformed, the first one: a BGP4MP record of 1 octets, at least 4 are needed": 1,
    }
    recording.close()


def listener(*words: str) -> tuple["subprocess.Popen[str]", str]:
    """`trio-bgp listen --json` on a free port of the loopback, and where that is."""
    command = [sys.executable, "-m", "trio_bgp", "listen", "--on", "127.0.0.1:0", "--json", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["on"][0]


def test_the_commands_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`listen` records what `replay` says: counts agree, and the recording says the same again."""
    path = tmp_path / "file.bgp"
    path.write_bytes(
        announce(1, b"\x08\x0a", b"\x08\x0b") + announce6(1, b"\0") + decoder.withdraw([(V4, b"\x08\x0b")])
    )
    again = path
    for number in range(2):
        process, where = listener(
            "--sessions", "1", "--record", str(tmp_path / f"rec{number}"), "--compression", "gzip"
        )
        with process:
            assert main(["replay", str(again), "--to", where, "--as", "65001", "--json"]) == 0
            told = json.loads(capsys.readouterr().out)
            assert (told["error"], told["announced"], told["withdrawn"]) == ("", 3, 1)
            output, _ = process.communicate(timeout=20)
        events = {each["event"]: each for each in map(json.loads, output.splitlines())}
        assert list(events) == ["up", "end-of-rib", "down", "summary"]
        assert events["up"]["as"] == 65001
        assert events["down"]["prefixes"] == {"ipv4-unicast": 1, "ipv6-unicast": 1}
        assert (events["summary"]["announced"], events["summary"]["lost"]) == (3, 0)
        assert events["summary"]["recorded"] > 5
        assert process.returncode == 0
        again = tmp_path / f"rec{number}.gz"
    assert main(["replay", str(again), "--list"]) == 0
    assert capsys.readouterr().out.split() == ["0", "127.0.0.1", "AS65001", "5", "updates"]


def test_listen_may_be_for_one_as(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Others are refused; it ends in order when interrupted."""
    (tmp_path / "u").write_bytes(announce(1, b"\x08\x0a"))
    process, where = listener("--peer-as", "65009")
    with process:
        words = ["replay", str(tmp_path / "u"), "--to", where, "--as", "65001", "--timeout", "1"]
        assert main(words) == 1
        assert "Bad Peer AS" in capsys.readouterr().err
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert json.loads(output)["sessions"] == process.returncode == 0


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """`listen` configures logging, as every program does."""
    root = logging.getLogger("trio_bgp")
    handlers, level, propagate = root.handlers[:], root.level, root.propagate
    yield
    root.handlers[:], root.propagate = handlers, propagate
    root.setLevel(level)


@pytest.mark.usefixtures("logging_restored")
def test_listen_tells_in_words_and_in_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--json` a line is words; an address that is not ours is told."""
    assert main(["listen", "--on", "127.0.0.1:0", "--seconds", "0"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("listening on 127.0.0.1:")
    assert last == "summary sessions 0 messages 0 octets 0 updates 0 announced 0 withdrawn 0 malformed 0"
    assert main(["listen", "--on", "203.0.113.1:1790"]) == 1
    assert "cannot listen on 203.0.113.1:1790" in capsys.readouterr().err


def test_on_a_terminal_a_bar_shows_how_far_it_is(tmp_path: Path) -> None:
    """Without one nothing but the result is printed; Ctrl-C before the end ends the session in order: status 130."""
    session = Session(65001, 65000, ip_address("192.0.2.1"), ip_address("192.0.2.2"))
    messages = [Message(session, announce(1, bytes((8, n)))) for n in range(2)]
    records = [encode_record(encode_bgp4mp(each, n * 9000, 0)) for n, each in enumerate(messages)]
    # The file is read in pieces: the second message is in a later one than the first, behind what is not said.
    filler = encode_record(encode_bgp4mp(Message(session, KEEPALIVE), 0, 0)) * 3000
    (tmp_path / "u").write_bytes(records[0] + filler + records[1])
    process, where = listener("--sessions", "1")
    ours, theirs = pty.openpty()
    command = ["replay", str(tmp_path / "u"), "--to", where, "--as", "65001", "--speed", "1"]
    with process:
        replaying = subprocess.Popen(
            [sys.executable, "-m", "trio_bgp", *command],
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env={**os.environ, "TERM": "xterm", "TTY_COMPATIBLE": "1"},
        )
        os.close(theirs)
        with replaying:
            shown = b""
            while b"1 messages, 1 prefixes" not in shown:
                assert select.select([ours], [], [], 20)[0], shown
                shown += os.read(ours, 4096)
            replaying.send_signal(signal.SIGINT)
            printed, _ = replaying.communicate(timeout=20)
        os.close(ours)
        told = [json.loads(line) for line in process.communicate(timeout=20)[0].splitlines()]
    assert replaying.returncode == 130
    assert printed.startswith("1 messages, 1 prefixes announced, 0 withdrawn in ")
    assert next(each for each in told if each["event"] == "down")["reason"].endswith("saying 'replay finished'")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing", "--to", "127.0.0.1", "--as", "1"], "missing: No such file"),
        (["FILE", "--to", "127.0.0.1:1", "--as", "1", "--timeout", "0.2"], "no session within 0.2 s: "),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1."""
    (tmp_path / "file").write_bytes(KEEPALIVE)
    assert main(["replay", *(str(tmp_path / "file") if word == "FILE" else word for word in words)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["replay", "x"],
        ["replay", "x", "--to", "127.0.0.1:x", "--as", "1"],
        ["replay", "x", "--to", "[::1", "--as", "1"],
        ["replay", "x", "--as", "0"],
        ["replay", "x", "--peer", "?", "--to", "a", "--as", "1"],
        ["replay", "x", "--next-hop", "?", "--to", "a", "--as", "1"],
        ["replay", "x", "--speed", "0"],
        ["replay", "x", "--keep", "-1"],
        ["replay", "x", "--hold-time", "2"],
        ["replay", "x", "--repeat", "-1"],
        ["replay", "x", "--family", "ipv5"],
        ["replay", "x", "--identifier", "0.0.0.0"],
        ["replay", "x", "--local-address", "here"],
        ["listen", "--on", "here:1"],
    ],
)
def test_a_wrong_command_line_is_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With what was found and what is accepted."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "accepted" in (told := capsys.readouterr().err) or "required" in told or "not appear" in told


def test_standard_input(tmp_path: Path) -> None:
    """`-` is a pipe: no size, no position."""
    code = "from trio_bgp.recording.source import Recording as R; r = R('-'); print(len(r.read()), r.size, r.position)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=KEEPALIVE * 2, capture_output=True, check=True, timeout=20
    )
    assert done.stdout.split() in ([b"2", b"0", b"0"], [b"1", b"0", b"0"])
