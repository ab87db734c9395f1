"""Whole daemons that record, read by mrtparse and by ourselves."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.harness import decoder
from tests.harness.decoder import V4, V6
from tests.harness.lab import lab, peer_settings
from tests.recording.mrt_reader import announced, attribute, read_mrt
from trio_bgp.config.diff import compare
from trio_bgp.control.metrics import render
from trio_bgp.control.snapshot import Snapshot
from trio_bgp.recording import files
from trio_bgp.recording import recorder as module
from trio_bgp.recording.files import RotatingFile
from trio_bgp.recording.recorder import Recorder, record_table, start_recording
from trio_bgp.settings import AddPathSettings, Compression, RecordSettings, Settings, SpeakerSettings
from trio_bgp.wire.numbers import IPV4_UNICAST

HOP = bytes((192, 0, 2, 1))


def announce(*prefixes: bytes, path: tuple[int, ...] = (65001,)) -> bytes:
    """An announcement of peer 1."""
    block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(*path)
    return decoder.announce([(V4, prefix) for prefix in prefixes], block, HOP)


async def test_a_session_is_recorded_as_it_went(tmp_path: Path) -> None:
    """RFC 6396, section 4.4: every message and state change with its time, until the daemon ends."""
    settings = RecordSettings(updates=str(tmp_path / "%%" / "updates.mrt"))
    async with trio.open_nursery() as nursery:
        async with lab(peer_settings(1)) as running:
            recorder = start_recording(running.speaker, settings, nursery)
            one = await running.join(1)
            await one.say(announce(b"\x08\x0a", b"\x10\x0b\x01", path=(65001, 196609)))
            await one.say(decoder.message(3, b"\x06\x02"))
            await running.settle()
        nursery.cancel_scope.cancel()
    assert recorder is not None
    records = read_mrt(tmp_path / "%" / "updates.mrt")
    assert recorder.recorded == len(records)
    metrics = (await render(Snapshot(running.speaker))).decode()
    assert f"trio_bgp_recorded_records_total {len(records)}.0" in metrics
    assert "trio_bgp_lost_records_total 0.0" in metrics
    assert recorder.lost == 0
    told = []
    for record in records:
        assert record["type"] == "BGP4MP_ET"
        assert (record["peer_as"], record["local_as"], record["peer_ip"]) == ("65001", "65000", "192.0.2.1")
        if "old_state" in record:
            told.append(f"{record['old_state']} {record['new_state']}")
        else:
            told.append(f"{record['subtype']} {record['bgp_message']['type']}")
    assert told == [
        "Idle OpenSent",
        "BGP4MP_MESSAGE_AS4 OPEN",
        "OpenSent OpenConfirm",
        "BGP4MP_MESSAGE_AS4 KEEPALIVE",
        "OpenConfirm Established",
        "BGP4MP_MESSAGE_AS4 UPDATE",
        "BGP4MP_MESSAGE_AS4 NOTIFICATION",
        "Established Idle",
    ]
    update = records[5]
    assert announced(update) == ["10.0.0.0/8", "11.1.0.0/16"]
    assert attribute(update["bgp_message"]["path_attributes"], "AS_PATH")[0]["value"] == ["65001", "196609"]


async def test_as_numbers_of_two_octets_and_what_is_sent(tmp_path: Path) -> None:
    """Subtypes without AS4 for a peer without 4-octet AS numbers; LOCAL ones for what we say."""
    settings = RecordSettings(updates=str(tmp_path / "updates"), sent=True)
    async with trio.open_nursery() as nursery:
        async with lab(peer_settings(1), peer_settings(2)) as running:
            start_recording(running.speaker, settings, nursery)
            one = await running.join(1)
            # mrtparse cannot read an OPEN whose last capability is empty, so it is graceful restart.
            await running.join(2, asn4=False, extra=(b"\x40\x02\0\0",))
            await one.say(announce(b"\x08\x0a", path=(65001, 196609)))
            await running.settle()
        nursery.cancel_scope.cancel()
    records = [each for each in read_mrt(tmp_path / "updates") if "bgp_message" in each and each["peer_as"] == "65002"]
    (told,) = [each for each in records if announced(each)]
    assert told["subtype"] == "BGP4MP_MESSAGE_LOCAL"
    assert attribute(told["bgp_message"]["path_attributes"], "AS_PATH")[0]["value"] == ["65001", "23456"]
    kinds = [(each["subtype"], each["bgp_message"]["type"]) for each in records]
    assert ("BGP4MP_MESSAGE_AS4", "OPEN") in kinds
    assert len([subtype for subtype, kind in kinds if kind == "OPEN" and "LOCAL" in subtype]) == 1
    assert ("BGP4MP_MESSAGE", "KEEPALIVE") in kinds


@pytest.mark.parametrize("families", [(V4,), (V4, V6)])
async def test_path_identifiers(tmp_path: Path, families: tuple[decoder.Family, ...]) -> None:
    """RFC 8050: ADDPATH subtypes for UPDATEs of families that have them, in the stream and in the table."""
    peer = peer_settings(1, add_path=AddPathSettings(receive=True))
    settings = RecordSettings(updates=str(tmp_path / "updates"), tables=str(tmp_path / "table"))
    async with trio.open_nursery() as nursery:
        async with lab(peer, peer_settings(2)) as running:
            start_recording(running.speaker, settings, nursery)
            capability = () if len(families) == 1 else (b"\x45\x04\0\1\1\2",)
            one = await running.join(1, families=families, add_path=2 if len(families) == 1 else 0, extra=capability)
            await one.say(announce(b"\0\0\0\5\x08\x0a", path=(65001, 5)) + announce(b"\0\0\0\6\x08\x0a", path=(65001,)))
            if len(families) == 2:
                block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001)
                await one.say(decoder.announce([(V6, b"\x20\x20\x01\x0d\xb8")], block, bytes(15) + b"\1"))
            await running.settle()
            await record_table(running.speaker, settings, 1_700_000_000)
        nursery.cancel_scope.cancel()
    updates = [each for each in read_mrt(tmp_path / "updates") if "UPDATE" in str(each.get("bgp_message"))]
    subtypes = [each["subtype"] for each in updates]
    assert subtypes == ["BGP4MP_MESSAGE_AS4_ADDPATH"] * 2 + ["BGP4MP_MESSAGE_AS4"] * (len(families) - 1)
    assert announced(updates[0]) + announced(updates[1]) == ["10.0.0.0/8#5", "10.0.0.0/8#6"]
    index, route, *rest = read_mrt(tmp_path / "table")
    assert [each["peer_ip"] for each in index["peer_entries"]] == ["192.0.2.1"]
    assert (index["subtype"], route["subtype"]) == ("PEER_INDEX_TABLE", "RIB_IPV4_UNICAST_ADDPATH")
    assert sorted(each["path_id"] for each in route["rib_entries"]) == [5, 6]
    assert [each["subtype"] for each in rest] == ["RIB_IPV6_UNICAST"] * (len(families) - 1)


async def test_a_table_with_our_own_routes(tmp_path: Path) -> None:
    """Peers in the order of their index; what we announce ourselves is of the last one, at 0.0.0.0."""
    async with lab(peer_settings(1)) as running:
        one = await running.join(1)
        await one.say(announce(b"\x08\x0a"))
        await running.settle()
        running.speaker.forwarder.announce(
            IPV4_UNICAST, b"\x10\x0b\x01", bytes.fromhex("40010100400200400304c0000209"), None
        )
        await record_table(running.speaker, RecordSettings(tables=str(tmp_path / "t%s.%H")), 3600)
    index, first, second = read_mrt(tmp_path / "t3600.01")
    assert [(each["peer_ip"], each["peer_as"]) for each in index["peer_entries"]] == [
        ("192.0.2.1", "65001"),
        ("0.0.0.0", "65000"),
    ]
    assert index["collector_bgp_id"] == "10.255.0.1"
    assert [(each["prefix"], each["rib_entries"][0]["peer_index"]) for each in (first, second)] == [
        ("10.0.0.0", 0),
        ("11.1.0.0", 1),
    ]


async def test_tables_come_at_multiples_of_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    """Like those of other collectors: 7,200 s after 00:00 UTC and so on."""
    times: list[float] = []

    async def note(speaker: object, settings: object, now: float) -> None:
        times.append(now)

    monkeypatch.setattr(module, "record_table", note)
    async with lab() as running:
        with trio.move_on_after(15_000):
            settings = RecordSettings(tables=str(tmp_path / "t"), table_interval=7200)
            begin = trio.current_time()
            await module.record_tables(running.speaker, settings, lambda: trio.current_time() - begin + 100)
    assert times == [7200, 14400]


@pytest.mark.parametrize(
    ("compression", "read"),
    [
        (Compression.NONE, Path.read_bytes),
        (Compression.GZIP, lambda path: gzip.decompress(path.read_bytes())),
        (Compression.BZ2, lambda path: bz2.decompress(path.read_bytes())),
        (Compression.XZ, lambda path: lzma.decompress(path.read_bytes())),
    ],
)
def test_files_follow_time_and_size(tmp_path: Path, compression: Compression, read: Callable[[Path], bytes]) -> None:
    """A file is called by the begin of its period, and complete when its period or its size is over."""
    file = RotatingFile(str(tmp_path / "%H%M%S"), compression, seconds=60, octets=10)
    suffix = compression.suffix
    file.write(b"12345", 30.0)
    file.flush()
    assert [path.name for path in tmp_path.iterdir()] == [f"000000{suffix}.part"]
    file.write(b"67890", 59.9)
    file.write(b"a", 59.95)
    file.write(b"b", 60.0)
    file.rotate(119.9)
    assert {path.name for path in tmp_path.glob("*.part")} == {f"000100{suffix}.part"}
    file.rotate(120.0)
    assert file.close() is None
    found = {path.name: read(path) for path in sorted(tmp_path.iterdir())}
    assert found == {f"000000{suffix}": b"1234567890", f"000000-2{suffix}": b"a", f"000100{suffix}": b"b"}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Neither a complete file nor what a killed daemon left."""
    (tmp_path / "u").write_text("there")
    (tmp_path / "u-2.part").write_text("left")
    file = RotatingFile(str(tmp_path / "u"), Compression.NONE)
    file.write(b"new", 0.0)
    assert file.close() == tmp_path / "u-3"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "u": "there",
        "u-2.part": "left",
        "u-3": "new",
    }


async def test_what_comes_too_fast_is_lost_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The queue is bounded, and the log says how much is missing."""
    settings = RecordSettings(updates=str(tmp_path / "u"), queue_limit=200)
    async with lab(peer_settings(1)) as running:
        recorder = Recorder(settings, 65000)
        running.speaker.forwarder.board.monitors.append(recorder)
        one = await running.join(1)
        await one.say(announce(b"\x08\x0a") * 50)
        await running.settle()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            while not recorder.recorded:  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert recorder.lost >= 50
    kept = len(read_mrt(tmp_path / "u"))
    assert recorder.recorded == kept
    assert f"record.lost records={recorder.lost} total={recorder.lost}" in caplog.text or kept > 3


async def test_a_disk_that_refuses_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log, what could not be written is counted, sessions go on."""
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    settings = RecordSettings(updates=str(blocked / "u"), tables=str(blocked / "t"))
    async with trio.open_nursery() as nursery:
        async with lab(peer_settings(1)) as running:
            recorder = start_recording(running.speaker, settings, nursery)
            one = await running.join(1)
            await record_table(running.speaker, settings, 0)
            assert not one.closed.is_set()
        nursery.cancel_scope.cancel()
    assert recorder is not None
    assert recorder.lost > 0
    assert recorder.recorded == 0
    refused = [each.getMessage() for each in caplog.records if "record.failed" in each.getMessage()]
    assert len([each for each in refused if f"file={blocked}/u" in each]) == 1
    assert len([each for each in refused if f"file={blocked}/t" in each]) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_ends_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written to is left behind; the next records go to another file."""
    with monkeypatch.context() as patched:
        patched.setattr(files, "open_for_writing", lambda path, compression: Path("/dev/full").open("wb"))  # noqa: SIM115
        file = RotatingFile(str(tmp_path / "u"), Compression.NONE)
        file.write(b"x" * 10, 0.0)
        with pytest.raises(OSError, match="No space left"):
            file.flush()
    assert list(tmp_path.iterdir()) == []
    file.write(b"y", 0.0)
    assert file.close() == tmp_path / "u"


def test_a_reload_does_not_change_what_is_recorded() -> None:
    """It says so instead."""
    old = Settings(speaker=SpeakerSettings(local_as=1, bgp_identifier=1))
    new = Settings(speaker=old.speaker, record=RecordSettings(updates="u"))
    assert compare(old, new).needs_restart == ("record.updates",)
