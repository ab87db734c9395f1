"""`[[bmp.stations]]`: what is read, what is refused and in which words, what a reload says of it."""

from ipaddress import ip_address

import pytest

from tests.test_config import PEER, lines_of
from trio_bgp.config import parse_settings
from trio_bgp.config.diff import compare
from trio_bgp.settings import BmpStationSettings, Endpoint, MonitoredRib

STATION = PEER + '[[bmp.stations]]\naddress = "127.0.0.1:5000"\n'
"""A station's own keys follow from line 11."""


def stations_of(text: str) -> tuple[BmpStationSettings, ...]:
    """The stations of a configuration."""
    return parse_settings(text, "c.toml").bmp.stations


def test_every_key_becomes_its_setting() -> None:
    """All keys of one station; of another just what it must have."""
    more = """
        monitor = ["loc-rib", "adj-rib-out"]
        peers = ["a"]
        statistics_interval = 0
        connect_retry_time = 2.5
        queue_limit = 1_048_576
        [[bmp.stations]]
        address = "[2001:db8::1]:1790"
    """
    assert stations_of(STATION + more) == (
        BmpStationSettings(
            address=Endpoint(ip_address("127.0.0.1"), 5000),
            monitor=(MonitoredRib.LOC_RIB, MonitoredRib.ADJ_RIB_OUT),
            peers=("a",),
            statistics_interval=0.0,
            connect_retry_time=2.5,
            queue_limit=1 << 20,
        ),
        BmpStationSettings(address=Endpoint(ip_address("2001:db8::1"), 1790)),
    )
    assert stations_of(PEER) == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('monitor = ["loc-rip"]', 'bmp.stations[0].monitor[0]: found "loc-rip"; accepted: "adj-rib-in-pre"'),
        ("monitor = []", "bmp.stations[0].monitor: found an empty array;"),
        ('monitor = ["loc-rib", "loc-rib"]', 'bmp.stations[0].monitor[1]: found "loc-rib" again; accepted: each once'),
        ('peers = ["aa"]', 'bmp.stations[0].peers[0]: found "aa"; accepted: the name of a peer or range'),
        ("statistics_interval = 0.5", "bmp.stations[0].statistics_interval: found 0.5; accepted: 0, or 1 to 86400"),
        ("statistics_interval = false", "bmp.stations[0].statistics_interval: found false;"),
        ("queue_limit = 65536", "bmp.stations[0].queue_limit: found 65536; accepted: 1048576 to"),
        ("monitors = 1", "bmp.stations[0].monitors: found an unknown key; accepted: monitor, the nearest known key"),
    ],
)
def test_what_is_wrong_is_told(line: str, expected: str) -> None:
    """With file, line and key."""
    (found,) = lines_of(STATION + line + "\n")
    assert found.startswith("c.toml:11: " + expected)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "[::1]", "::1", "127.0.0.1:0", "0.0.0.0:5000", "224.0.0.1:5000", "bmp.example.net:5000", "::1:5000x"],
)
def test_an_address_has_a_port(address: str) -> None:
    """One host, and no port that goes without saying."""
    (found,) = lines_of(PEER + f'[[bmp.stations]]\naddress = "{address}"\n')
    assert f'bmp.stations[0].address: found "{address}"; accepted: an address with a port' in found


def test_what_a_station_needs_and_has_alone() -> None:
    """An address, and not another's."""
    assert "bmp.stations[0].address: found nothing" in lines_of(PEER + "[[bmp.stations]]\n")[0]
    (found,) = lines_of(STATION + '[[bmp.stations]]\naddress = "127.0.0.1:5000"\n')
    assert found == (
        'c.toml:12: bmp.stations[1].address: found "127.0.0.1:5000", which bmp.stations[0] in line 10 has too; '
        "accepted: another address"
    )


@pytest.mark.parametrize("text", ["[bmp.stations]\n", 'bmp = "127.0.0.1:5000"\n', "[[bmp]]\n"])
def test_stations_are_an_array_of_tables(text: str) -> None:
    """A common slip."""
    (found,) = lines_of(text + PEER)
    assert "accepted: tables [[bmp.stations]], with two brackets on each side" in found
    (found,) = lines_of(PEER + "[bmp]\nstation = 1\n")
    assert "bmp.station: found an unknown key; accepted: stations" in found


def test_a_reload_says_what_it_does_to_stations() -> None:
    """Added, removed, changed, and whether the connection goes on."""
    old = parse_settings(
        PEER + "".join(f'[[bmp.stations]]\naddress = "127.0.0.1:{port}"\n' for port in (1, 2, 3, 4)), "c.toml"
    )
    new = parse_settings(
        PEER
        + '[[bmp.stations]]\naddress = "127.0.0.1:1"\n'
        + '[[bmp.stations]]\naddress = "127.0.0.1:2"\npeers = ["a"]\n'
        + '[[bmp.stations]]\naddress = "127.0.0.1:3"\npeers = ["a"]\nmonitor = ["loc-rib"]\n'
        + '[[bmp.stations]]\naddress = "127.0.0.1:5"\n',
        "c.toml",
    )
    found = compare(old, new)
    assert found.lines() == [
        "removed BMP station 127.0.0.1:4",
        "changed BMP station 127.0.0.1:2: peers (its connection goes on)",
        "changed BMP station 127.0.0.1:3: monitor, peers (its connection begins anew)",
        "added BMP station 127.0.0.1:5",
    ]
    assert not found.needs_restart
    assert compare(new, new).lines() == []
