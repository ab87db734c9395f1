"""The configuration: what is read, what is refused and in which words."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from trio_bgp.config import ConfigError, Problem, load_settings, parse_settings
from trio_bgp.settings import (
    Compression,
    Endpoint,
    LogFormat,
    LogSettings,
    NextHopCheck,
    PeerSettings,
    Role,
    Settings,
    SpeakerSettings,
)
from trio_bgp.wire.nlri import Framing
from trio_bgp.wire.numbers import IPV6_UNICAST

SPEAKER = """[speaker]
local_as = 65000
bgp_identifier = "10.255.0.1"
listen = ["127.0.0.1:1790", "[::1]:1790"]
"""
PEER = (
    SPEAKER
    + """[[peers]]
name = "a"
address = "127.0.1.1"
peer_as = 65001
"""
)
"""A peer's own keys follow from line 9."""
SECRET = "hunter2"


def problems_of(text: str) -> tuple[Problem, ...]:
    """What is wrong with a text."""
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "c.toml")
    return caught.value.problems


def lines_of(text: str) -> list[str]:
    """The message, line by line."""
    return [str(problem) for problem in problems_of(text)]


def peer_of(text: str) -> PeerSettings:
    """The only peer of a configuration."""
    (peer,) = parse_settings(text, "c.toml").peers
    return peer


def test_every_key_becomes_its_setting() -> None:
    """A file that uses every supported key yields exactly these settings."""
    text = """
        log = {level = "debug", format = "json"}
        [speaker]
        local_as = 4_200_000_000
        bgp_identifier = "0.0.1.0"
        listen = ["127.0.0.1:1790", "[::1]:1790", "0.0.0.0", "[2001:db8::1]", "2001:db8::2", "127.0.0.2:0"]
        hostname = "rs1.example.net"
        [groups."the members"]
        role = "rs-client"
        peer_as = 65001
        passive = true
        hold_time = 0
        [[peers]]
        name = "as65001"
        address = "2001:DB8:0::11"
        group = "the members"
        hold_time = 3
        port = 1790
        local_address = "2001:db8::1"
        connect_retry_time = 1.5
        families = ["ipv6-unicast"]
        extended_message = false
        max_prefixes = 1
        enforce_first_as = false
        next_hop_check = "strict"
        md5_password = "hunter2"
        ttl_security = 254
        queue_limit = 65536
        [[peers]]
        name = "lab"
        range = "127.0.1.0/24"
        group = "the members"
        ttl_security = true
    """
    assert parse_settings(text, "c.toml") == Settings(
        speaker=SpeakerSettings(
            local_as=4200000000,
            bgp_identifier=256,
            hostname="rs1.example.net",
            listen=(
                Endpoint(ip_address("127.0.0.1"), 1790),
                Endpoint(ip_address("::1"), 1790),
                Endpoint(ip_address("0.0.0.0"), 179),
                Endpoint(ip_address("2001:db8::1"), 179),
                Endpoint(ip_address("2001:db8::2"), 179),
                Endpoint(ip_address("127.0.0.2"), 0),
            ),
        ),
        peers=(
            PeerSettings(
                name="as65001",
                address=ip_address("2001:db8::11"),
                peer_as=65001,
                role=Role.RS_CLIENT,
                passive=True,
                hold_time=3,
                port=1790,
                local_address=ip_address("2001:db8::1"),
                connect_retry_time=1.5,
                families=(IPV6_UNICAST,),
                extended_message=False,
                max_prefixes=1,
                enforce_first_as=False,
                next_hop_check=NextHopCheck.STRICT,
                md5_password=SECRET,
                ttl_security=254,
                queue_limit=65536,
            ),
            PeerSettings(
                name="lab",
                range=ip_network("127.0.1.0/24"),
                peer_as=65001,
                passive=True,
                hold_time=0,
                ttl_security=1,
            ),
        ),
        log=LogSettings("debug", LogFormat.JSON),
    )


def test_what_is_left_out_has_the_defaults_of_the_settings() -> None:
    """The reader has no defaults of its own."""
    expected = PeerSettings(name="a", address=ip_address("127.0.1.1"), peer_as=65001)
    assert peer_of(PEER) == expected
    assert parse_settings(PEER, "c.toml").log == LogSettings()


def test_a_peer_overrides_its_group_even_with_false() -> None:
    """A peer's own value comes before its group's, also where it switches something off."""
    text = PEER + 'group = "g"\nttl_security = false\npassive = false\n[groups.g]\nttl_security = 3\npassive = true\n'
    peer = peer_of(text + "hold_time = 30\n")
    assert (peer.ttl_security, peer.passive, peer.hold_time) == (None, False, 30)


def test_a_problem_names_file_line_key_what_was_found_and_what_is_accepted() -> None:
    """The whole line, as an operator sees it."""
    assert lines_of(PEER + "hold_time = 2\n") == ["c.toml:9: peers[0].hold_time: found 2; accepted: 0, or 3 to 65535"]


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    """Nobody has to fix a file one message at a time."""
    found = problems_of(PEER + 'hold_time = 1\npassive = "yes"\n[log]\nlevel = 3\n[speakers]\n')
    assert [(each.line, each.key) for each in found] == [
        (9, "peers[0].hold_time"),
        (10, "peers[0].passive"),
        (12, "log.level"),
        (13, "speakers"),
    ]


@pytest.mark.parametrize(
    ("line", "found", "accepted"),
    [
        ("hold_time = 65536", "65536", "0, or 3 to 65535"),
        ("hold_time = -1", "-1", "0, or 3 to 65535"),
        ("hold_time = true", "true", "0, or 3 to 65535"),
        ("hold_time = 90.0", "90.0", "0, or 3 to 65535"),
        ('hold_time = "90"', '"90"', "0, or 3 to 65535"),
        ("hold_time = {a = 1}", "a table", "0, or 3 to 65535"),
        ("hold_time = 1979-05-27", "1979-05-27", "0, or 3 to 65535"),
        ("hold_time = 0x" + "f" * 5000, "a whole number of 20000 bits", "0, or 3 to 65535"),
        ("connect_retry_time = nan", "nan", "1 to 86400 seconds"),
        ("connect_retry_time = 0", "0", "1 to 86400 seconds"),
        ("connect_retry_time = false", "false", "1 to 86400 seconds"),
        ("port = 0", "0", "1 to 65535"),
        ("passive = 1", "1", "true or false"),
        ("max_prefixes = 0", "0", "1 to 4294967295"),
        ("ttl_security = 0", "0", "true (one hop), false, or 1 to 254 hops"),
        ("ttl_security = 255", "255", "true (one hop), false, or 1 to 254 hops"),
        ("queue_limit = 65535", "65535", "65536 to 1099511627776 octets"),
        ('next_hop_check = "strikt"', '"strikt"', '"off", "strict"; did you mean "strict"?'),
        ("next_hop_check = []", "an empty array", '"off", "strict"'),
        ('role = "rsclient"', '"rsclient"', '"ebgp"; did you mean "rs-client"?'),
        ('add_path = "both"', '"both"', "true or false}"),
        ("add_path = {}", "a table", "true or false}"),
        ("add_path = {send = 0}", "send = 0", "true or false}"),
        ('add_path = {send = "al"}', 'send = "al"', 'did you mean "all"?'),
        ('add_path = {receive = "yes"}', 'receive = "yes"', "true or false}"),
        ("add_path = {sent = 1}", 'a table with the unknown key "sent"', 'did you mean "send"?'),
        ("tcp_ao = {key = 1}", 'a table with the unknown key "key"', 'did you mean "key_id"?'),
        ('next_hop = "third-party"', '"third-party"', "a next_hop_subnet beside it"),
        ('next_hop_ipv4 = "2001:db8::1"', '"2001:db8::1"', "an IPv4 address"),
        ('import = "all"', '"all"', '"none", "accept"'),
        ('bgp_role = "provide"', '"provide"', 'did you mean "provider"?'),
        ("families = []", "an empty array", "an array of names of address families"),
        ('families = "ipv4-unicast"', '"ipv4-unicast"', "an array of names of address families"),
        ('local_address = "::ffff:10.0.0.1"', '"::ffff:10.0.0.1"', '"2001:db8::1", here "10.0.0.1"'),
        ('local_address = "fe80::1%eth0"', '"fe80::1%eth0"', '"2001:db8::1", without a zone'),
        ('local_address = "0.0.0.0"', '"0.0.0.0"', '"2001:db8::1" of one host'),
        ('local_address = "224.0.0.1"', '"224.0.0.1"', '"2001:db8::1" of one host'),
        ('local_address = "localhost"', '"localhost"', 'as in "192.0.2.1" or "2001:db8::1"'),
        ('local_address = "2001:db8::1"', '"2001:db8::1" for a peer at 127.0.1.1', "an IPv4 address"),
        ("md5_password = 31337", "a value that is not shown", "a string of 1 to 80 octets"),
        ('md5_password = ""', "a string of 0 octets", "a string of 1 to 80 octets"),
        (f'md5_password = "é{"x" * 79}"', "a string of 81 octets", "a string of 1 to 80 octets"),
        ('group = "members"', '"members"', "the NAME of a [groups.NAME]"),
        ("group = 3", "3", "the NAME of a [groups.NAME]"),
        ("colour = 1", "an unknown key", "name, address, range, group, peer_as"),
        ("hold_tme = 1", "an unknown key", "hold_time, the nearest known key"),
    ],
)
def test_a_wrong_value_of_a_peer_is_told_in_its_line(line: str, found: str, accepted: str) -> None:
    """One problem, in the line of the key, with what was found and what is accepted."""
    (problem,) = problems_of(PEER + line + "\n")
    assert (problem.line, problem.key) == (9, f"peers[0].{line.partition(' ')[0]}")
    assert problem.found == found
    assert accepted in problem.accepted


@pytest.mark.parametrize(
    ("old", "new", "key", "found"),
    [
        ("65000", "0", "speaker.local_as", "0"),
        ("65000", "4294967296", "speaker.local_as", "4294967296"),
        ("65000", "23456", "speaker.local_as", "23456, which stands for AS numbers that do not fit two octets (RFC"),
        ('"10.255.0.1"', '"0.0.0.0"', "speaker.bgp_identifier", '"0.0.0.0"'),
        ('"10.255.0.1"', '"::1"', "speaker.bgp_identifier", '"::1"'),
        ('"10.255.0.1"', "1", "speaker.bgp_identifier", "1"),
        ('"[::1]:1790"', '"::1:1790x"', "speaker.listen[1]", '"::1:1790x"'),
        ('"[::1]:1790"', '"[::1"', "speaker.listen[1]", '"[::1"'),
        ('"[::1]:1790"', '"[::1]1790"', "speaker.listen[1]", '"[::1]1790"'),
        ('"[::1]:1790"', '"[127.0.0.2]:1790"', "speaker.listen[1]", '"[127.0.0.2]:1790"'),
        ('"[::1]:1790"', '"127.0.0.1:65536"', "speaker.listen[1]", '"127.0.0.1:65536"'),
        ('"[::1]:1790"', '"127.0.0.1:"', "speaker.listen[1]", '"127.0.0.1:"'),
        ('"[::1]:1790"', '"localhost:179"', "speaker.listen[1]", '"localhost:179"'),
        ('"[::1]:1790"', "179", "speaker.listen[1]", "179"),
        ('"[::1]:1790"', '"127.0.0.1:1790"', "speaker.listen[1]", '"127.0.0.1:1790" again'),
        ('name = "a"', 'name = ""', "peers[0].name", '""'),
        ('name = "a"', 'name = "a b"', "peers[0].name", '"a b"'),
        ('name = "a"', f'name = "{"a" * 65}"', "peers[0].name", f'"{"a" * 59}…"'),
        ('name = "a"', 'name = "\\u001b[2J"', "peers[0].name", '"\\x1b[2J"'),
        ('name = "a"', "", "peers[0].name", "nothing"),
        ("peer_as = 65001", "", "peers[0].peer_as", "nothing"),
        ("peer_as = 65001", "peer_as = 65000", "peers[0].peer_as", "65000, our own AS number"),
        ('address = "127.0.1.1"', "", "peers[0].address", "nothing"),
        ('"127.0.1.1"', '"127.0.0.1"\nport = 1790', "peers[0].address", '"127.0.0.1", where we listen ourselves'),
        ("address", 'range = "127.0.2.0/24"\naddress', "peers[0].range", "a range beside an address"),
        ('address = "127.0.1.1"', 'range = "127.0.1.1/24"', "peers[0].range", '"127.0.1.1/24", which has host bits'),
        ('address = "127.0.1.1"', 'range = "127.0.1.0/33"', "peers[0].range", '"127.0.1.0/33"'),
        ('address = "127.0.1.1"', 'range = "127.0.1.0/24"\nport = 179', "peers[0].port", "one"),
        ('address = "127.0.1.1"', 'range = "127.0.1.0/24"\npassive = false', "peers[0].passive", "false"),
    ],
)
def test_a_wrong_value_elsewhere_is_told(old: str, new: str, key: str, found: str) -> None:
    """One problem for a change of one place in a right configuration."""
    assert old in PEER
    (problem,) = problems_of(PEER.replace(old, new, 1))
    assert problem.key == key
    assert problem.found.startswith(found)


@pytest.mark.parametrize("passive", ['address = "2001:db8::1"\npassive = true', 'range = "2001:db8::/64"'])
def test_a_peer_that_has_to_connect_needs_a_listener(passive: str) -> None:
    """A passive peer or a range that nobody can reach us from is a mistake, by IP version."""
    text = PEER.replace('address = "127.0.1.1"', passive)
    assert parse_settings(text, "c.toml").peers
    (problem,) = problems_of(text.replace(', "[::1]:1790"', ""))
    assert "nothing listens for IPv6" in problem.found


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        ('name = "b"', 'name = "b"', "name"),
        ('address = "2001:db8::1"', 'address = "2001:DB8:0::1"', "address"),
        ('range = "10.0.0.0/8"', 'range = "10.0.0.0/255.0.0.0"', "range"),
    ],
)
def test_what_must_be_unique_is_told_with_where_it_was_first(first: str, second: str, key: str) -> None:
    """Two peers with one name, address or range; another way of writing it is no way around."""
    others = {"name": ('address = "10.1.1.1"', 'address = "10.1.1.2"'), "address": ('name = "b"', 'name = "c"')}
    names = others.get(key, others["address"])
    text = SPEAKER + f"[[peers]]\npeer_as = 1\n{names[0]}\n{first}\n[[peers]]\npeer_as = 2\n{names[1]}\n{second}\n"
    (problem,) = problems_of(text)
    assert (problem.line, problem.key) == (12, f"peers[1].{key}")
    assert problem.found.endswith("which peers[0] in line 8 has too")


def test_ranges_of_different_length_may_overlap() -> None:
    """The longer prefix is the more specific one: no problem."""
    text = SPEAKER + "".join(
        f'[[peers]]\nname = "r{length}"\nrange = "10.0.0.0/{length}"\npeer_as = 1\n' for length in (8, 16)
    )
    assert len(parse_settings(text, "c.toml").peers) == 2


def test_a_wrong_group_is_told_once_and_not_for_each_of_its_peers() -> None:
    """The problem is in the group's line, and the missing value is no second problem."""
    peers = "".join(f'[[peers]]\nname = "{n}"\naddress = "10.0.0.{n}"\ngroup = "g"\n' for n in (1, 2))
    found = problems_of(SPEAKER + "[groups.g]\npeer_as = 0\nname = 'x'\n" + peers)
    assert [(each.line, each.key) for each in found] == [(6, "groups.g.peer_as"), (7, "groups.g.name")]
    found = problems_of(SPEAKER + "[groups.gr]\npeer_as = 1\n" + peers)
    assert [(each.line, each.key) for each in found] == [(10, "peers[0].group"), (14, "peers[1].group")]
    assert 'did you mean "gr"?' in found[0].accepted


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("speaker = 1", "speaker"),
        (SPEAKER + "[[log]]", "log"),
        (SPEAKER + "[[groups]]", "groups"),
        (SPEAKER + "[groups]\nrs = 1", "groups.rs"),
        ("peers = [1]\n" + SPEAKER, "peers[0]"),
        (SPEAKER + "[peers]", "peers"),
    ],
)
def test_a_table_of_the_wrong_kind_is_told(text: str, key: str) -> None:
    """A table where an array of tables belongs, and the other way round."""
    (problem,) = problems_of(text)
    assert problem.key == key


def test_a_missing_speaker_is_told_by_its_required_keys() -> None:
    """An empty file lacks the two keys that nobody can guess."""
    assert [each.key for each in problems_of("")] == ["speaker.local_as", "speaker.bgp_identifier"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[speaker]\nlocal_as = \n", 2),
        ("[speaker\n", 1),
        ("a = 1\n\na = 2\n# end", 3),
        ('a = """\n\n', 2),
        ("a = 'x\ud800'", 1),
        ("\na = '\ud800'", 2),
        ("a = " + "9" * 5000, 0),
        ("a = " + "[" * 5000, 0),
        ("a = " + "{a=" * 5000, 0),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(text: str, line: int) -> None:
    """A syntax error is one problem, with its line where there is one, and never another exception."""
    (problem,) = problems_of(text)
    assert problem.line == line


def test_a_password_is_never_shown() -> None:
    """Neither in settings, nor in any message about it, nor by what hangs on the exception."""
    good = parse_settings(PEER + f'md5_password = "{SECRET}"', "c.toml")
    assert good.peers[0].md5_password == SECRET
    assert SECRET not in repr(good) + str(good)
    long = SECRET * 12
    for text in (
        PEER + f'md5_password = ["{SECRET}"]',
        PEER + f'md5_password = "{long}"',
        PEER + f'md5_passwort = "{SECRET}"',
        PEER + f'md5_password = "{SECRET}',
        PEER + f"md5_password = {SECRET}",
        PEER + f'md5_password = "{SECRET}"\nmd5_password = 1',
        PEER.replace("[[peers]]", "[peers]") + f'md5_password = "{SECRET}"',
        SPEAKER + f'[groups]\nmd5_password = "{SECRET}"\n[[groups.a]]\nmd5_password = "{SECRET}"',
        f'peer = {{md5_password = "{SECRET}"}}',
    ):
        with pytest.raises(ConfigError) as caught:
            parse_settings(text, "c.toml")
        error = caught.value
        assert error.__context__ is None
        assert error.__cause__ is None
        if text.startswith(SPEAKER + "[groups]"):
            continue  # a group called md5_password: its value is not known to be one
        assert SECRET not in str(error) + repr(error) + repr(error.problems)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8, too large, an impossible name: a ConfigError each."""
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# a\n# \xe9\n")
    large = tmp_path / "large.toml"
    with large.open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    missing = tmp_path / "missing\n\udcff.toml"
    for path, line, words in (
        (missing, 0, "No such file"),
        (tmp_path, 0, "Is a directory"),
        (tmp_path / "\0", 0, "null byte"),
        (latin, 2, "the octet 0xe9"),
        (large, 0, "a larger file"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_settings(path)
        (problem,) = caught.value.problems
        assert problem.line == line
        assert words in problem.found
        assert problem.file.isprintable()


def test_a_byte_order_mark_and_crlf_are_taken(tmp_path: Path) -> None:
    """What Windows editors write is read, and lines are counted right."""
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbf" + PEER.replace("\n", "\r\n").encode())
    assert len(load_settings(path).peers) == 1
    path.write_bytes((PEER + "hold_time = 1\n").replace("\n", "\r\n").encode())
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert caught.value.problems[0].line == 9


def test_what_is_recorded() -> None:
    """[record] becomes settings; patterns that make no file names, or not everywhere the same, are refused."""
    text = SPEAKER + '[record]\nupdates = "u.%Y%m%d.%H%M%S.mrt"\nrotate_seconds = 0\ncompression = "xz"\n'
    record = parse_settings(text, "x").record
    assert (record.updates, record.rotate_seconds, record.compression) == (
        "u.%Y%m%d.%H%M%S.mrt",
        0,
        Compression.XZ,
    )
    for wrong in ('updates = "u.%x"', 'updates = "u.%"', 'tables = "folder/"', "rotate_seconds = 9", "queue_limit = 1"):
        with pytest.raises(ConfigError, match=r"record\.\w+: found .*; accepted: "):
            parse_settings(SPEAKER + f"[record]\n{wrong}\n", "x")


OWN_FAMILY = """
[families.my-draft]
afi = {}
safi = {}
nlri_length = "{}"
"""


@pytest.mark.parametrize(("afi", "safi"), [(16388, 99), (16388, 71), (25, 65)])
def test_a_family_is_declared_by_its_framing_rule(afi: int, safi: int) -> None:
    """One that nobody knows, or of which nothing but another rule is known; peers name it like others."""
    text = PEER + 'families = ["my-draft"]\n' + OWN_FAMILY.format(afi, safi, "u16")
    settings = parse_settings(text, "c.toml")
    assert settings.speaker.framing == {afi << 8 | safi: Framing.U16}
    assert settings.peers[0].families == (afi << 8 | safi,)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (OWN_FAMILY.format(1, 1, "u16"), "found a family that is read as ipv4-unicast; accepted: another afi and safi"),
        (OWN_FAMILY.format(25, 70, "u8"), "found a family that is read as l2vpn-evpn; accepted: another afi and safi"),
        (OWN_FAMILY.format(1, 128, "bits"), "found a family that is read as vpnv4-unicast"),
        (
            OWN_FAMILY.format(7, 7, "u16") + OWN_FAMILY.format(7, 7, "u8").replace("my-", "your-"),
            "found a family that is declared twice",
        ),
        (OWN_FAMILY.format(7, 7, "u17"), 'families.my-draft.nlri_length: found "u17"; accepted: "bits", "u8", "u16"'),
        (OWN_FAMILY.format(7, 256, "u16"), "families.my-draft.safi: found 256; accepted: 1 to 255"),
        (OWN_FAMILY.format(7, 7, "u16").replace("my-draft", "bgp-ls"), "found the name of a family that is known"),
        ("\n[families.my-draft]\nafi = 7\n", "families.my-draft.safi: found nothing; accepted: 1 to 255"),
    ],
)
def test_a_wrong_family_is_told(more: str, said: str) -> None:
    """What is read of its NLRI, not only framed, cannot be declared otherwise."""
    assert any(said in line for line in lines_of(PEER + more)), lines_of(PEER + more)
