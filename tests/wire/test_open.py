import pytest

from tests.wire.octets import message
from trio_bgp.wire.capabilities import FourOctetAs, Multiprotocol, RouteRefresh, UnknownCapability
from trio_bgp.wire.notification import Notification, NotificationError
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST
from trio_bgp.wire.open import Open, decode_open, encode_open

FIXED = "04 fde9 005a c0000201"
"""Version 4, AS 65001, 90 seconds, 192.0.2.1."""
MP4 = "01 04 0001 00 01"
MP6 = "01 04 0002 00 01"
REFRESH = "02 00"
AS4 = "41 04 00011170"
"""The 4-octet AS number 70000."""


def opened(parameters: str, fixed: str = FIXED) -> Open:
    """The OPEN with these octets from the optional parameters' length on."""
    return decode_open(bytes.fromhex(fixed + parameters))


def refused(parameters: str = "00", fixed: str = FIXED) -> Notification:
    """The NOTIFICATION such an OPEN is answered with."""
    with pytest.raises(NotificationError) as caught:
        opened(parameters, fixed)
    assert caught.value.reason
    return caught.value.notification


def test_the_fixed_fields_are_read() -> None:
    """RFC 4271, section 4.2: version, My AS, hold time, identifier, each high octet first."""
    found = opened("00")
    assert (found.version, found.my_as, found.hold_time, found.bgp_identifier) == (4, 65001, 90, 0xC0000201)
    assert found.capabilities == ()
    assert found.peer_as == 65001
    assert str(found) == "OPEN AS 65001 identifier 192.0.2.1 hold time 90"


@pytest.mark.parametrize(
    "parameters",
    [
        "16 02 14" + MP4 + MP6 + REFRESH + AS4,
        "1c 02 06" + MP4 + "02 06" + MP6 + "02 02" + REFRESH + "02 06" + AS4,
        "18 02 0c" + MP4 + MP6 + "02 08" + REFRESH + AS4,
        "18 02 00 02 14" + MP4 + MP6 + REFRESH + AS4,
    ],
    ids=["one parameter", "one each", "two each", "an empty one"],
)
def test_capabilities_are_the_same_in_one_parameter_or_many(parameters: str) -> None:
    """RFC 5492, section 4: both ways of writing them mean the same."""
    expected = (Multiprotocol(IPV4_UNICAST), Multiprotocol(IPV6_UNICAST), RouteRefresh(), FourOctetAs(70000))
    assert opened(parameters).capabilities == expected


@pytest.mark.parametrize(
    "parameters",
    [
        "ff ff 0017 02 0014" + MP4 + MP6 + REFRESH + AS4,
        "ff ff 0020 02 0006" + MP4 + "02 0006" + MP6 + "02 0002" + REFRESH + "02 0006" + AS4,
        "01 ff 0017 02 0014" + MP4 + MP6 + REFRESH + AS4,
        "1a ff 0017 02 0014" + MP4 + MP6 + REFRESH + AS4,
    ],
    ids=["one parameter", "one each", "length octet 1", "length octet 26"],
)
def test_extended_parameters_are_read(parameters: str) -> None:
    """RFC 9072, section 2: two-octet lengths behind a first type of 255, whatever the old length says unless 0."""
    expected = (Multiprotocol(IPV4_UNICAST), Multiprotocol(IPV6_UNICAST), RouteRefresh(), FourOctetAs(70000))
    assert opened(parameters).capabilities == expected


def test_extended_parameters_may_be_empty() -> None:
    """RFC 9072: an extended length of 0 is an OPEN without capabilities."""
    assert opened("ff ff 0000").capabilities == ()


def test_an_extended_parameter_may_exceed_255_octets() -> None:
    """RFC 9072: what the extension is for."""
    unknown = "c8 c8" + "ab" * 200
    found = opened("ff ff 0197 02 0194" + unknown + unknown)
    assert found.capabilities == (UnknownCapability(200, b"\xab" * 200),) * 2


def test_the_peer_s_as_is_that_of_its_capability() -> None:
    """RFC 6793, section 4.1: the 4-octet number counts, not My AS."""
    found = opened("08 02 06" + AS4, "04 5ba0 005a c0000201")
    assert found.my_as == 23456
    assert found.peer_as == 70000
    assert "AS 70000" in str(found)


@pytest.mark.parametrize("version", ["00", "03", "05", "ff"])
def test_another_version_is_2_1(version: str) -> None:
    """RFC 4271, section 6.2: the data is the version we support, in two octets; nothing else is judged first."""
    assert refused("00", version + "0000 0001 00000000") == Notification(2, 1, b"\x00\x04")


def test_as_0_is_2_2() -> None:
    """RFC 7607: in My AS, and in the 4-octet AS number capability."""
    assert refused("00", "04 0000 005a c0000201") == Notification(2, 2)
    assert refused("08 02 06 41 04 00000000") == Notification(2, 2)
    assert refused("08 02 06" + AS4, "04 0000 005a c0000201") == Notification(2, 2)


def test_identifier_0_is_2_3() -> None:
    """RFC 6286: any identifier but 0 is valid."""
    assert refused("00", "04 fde9 005a 00000000") == Notification(2, 3)
    assert opened("00", "04 fde9 005a ffffffff").bgp_identifier == 0xFFFFFFFF
    assert opened("00", "04 fde9 005a 00000001").bgp_identifier == 1


@pytest.mark.parametrize("kind", ["00", "01", "03", "fe"])
def test_an_unknown_optional_parameter_is_2_4(kind: str) -> None:
    """RFC 4271, section 6.2: in both forms, also behind a known one."""
    assert refused("02" + kind + "00") == Notification(2, 4)
    assert refused("06 02 02" + REFRESH + kind + "00") == Notification(2, 4)
    assert refused("ff ff 0003" + kind + "0000") == Notification(2, 4)


def test_type_255_behind_another_parameter_is_2_4() -> None:
    """RFC 9072, section 2: it switches to the extended form only as the first."""
    assert refused("06 02 02" + REFRESH + "ff 00") == Notification(2, 4)


@pytest.mark.parametrize("seconds", ["0001", "0002"])
def test_a_hold_time_of_1_or_2_seconds_is_2_6(seconds: str) -> None:
    """RFC 4271, section 6.2."""
    assert refused("00", "04 fde9" + seconds + "c0000201") == Notification(2, 6)


@pytest.mark.parametrize(("octets", "seconds"), [("0000", 0), ("0003", 3), ("ffff", 65535)])
def test_other_hold_times_are_accepted(octets: str, seconds: int) -> None:
    """RFC 4271, section 4.2: 0 and all from 3 on."""
    assert opened("00", "04 fde9" + octets + "c0000201").hold_time == seconds


@pytest.mark.parametrize(
    "parameters",
    [
        "01",
        "00 02",
        "03 02 02 02",
        "04 02 00",
        "01 02",
        "02 02 01",
        "05 02 02" + REFRESH + "02",
        "04 02 03" + REFRESH,
        "ff ff 0006 02 0002" + REFRESH,
        "ff ff 0004 02 0002" + REFRESH,
        "ff ff 0002 02 00",
        "ff ff 0005 02 0003" + REFRESH,
        "ff ff",
    ],
)
def test_lengths_that_do_not_fit_are_2_0(parameters: str) -> None:
    """RFC 5492 and RFC 9072: parameters must end where the OPEN ends, and each within them."""
    assert refused(parameters) == Notification(2, 0)


@pytest.mark.parametrize("capabilities", ["02", "02 01", "01 04 0001 00", "02 00 41 05 00011170"])
def test_a_capability_beyond_its_parameter_is_2_0(capabilities: str) -> None:
    """RFC 5492: the value of a parameter is whole capabilities."""
    octets = bytes.fromhex(capabilities)
    assert refused(bytes((len(octets) + 2, 2, len(octets))).hex() + capabilities) == Notification(2, 0)


def test_an_open_without_capabilities_is_written_bare() -> None:
    """RFC 4271, section 4.2: an optional parameters length of 0, 29 octets in all."""
    ours = Open(my_as=65001, hold_time=90, bgp_identifier=0xC0000201)
    assert encode_open(ours) == message(1, FIXED + "00")


def test_capabilities_are_written_in_one_parameter() -> None:
    """RFC 5492, section 4: type 2 around all of them, in order."""
    ours = Open(
        my_as=65001,
        hold_time=90,
        bgp_identifier=0xC0000201,
        capabilities=(Multiprotocol(IPV6_UNICAST), RouteRefresh(), FourOctetAs(70000)),
    )
    assert encode_open(ours) == message(1, FIXED + "10 02 0e" + MP6 + REFRESH + AS4)


def test_an_as_that_does_not_fit_is_written_as_as_trans() -> None:
    """RFC 6793, section 9: My AS is 23456."""
    ours = Open(my_as=70000, hold_time=90, bgp_identifier=1, capabilities=(FourOctetAs(70000),))
    assert encode_open(ours) == message(1, "04 5ba0 005a 00000001 08 02 06" + AS4)
    assert encode_open(Open(my_as=65535, hold_time=3, bgp_identifier=1)) == message(1, "04 ffff 0003 00000001 00")
    assert encode_open(Open(my_as=65536, hold_time=3, bgp_identifier=1)) == message(1, "04 5ba0 0003 00000001 00")


def test_parameters_of_254_octets_are_written_in_the_old_form() -> None:
    """RFC 9072, section 2: the form of RFC 4271 wherever it suffices."""
    ours = Open(
        my_as=65001, hold_time=90, bgp_identifier=0xC0000201, capabilities=(UnknownCapability(200, bytes(250)),)
    )
    assert encode_open(ours) == message(1, FIXED + "fe 02 fc c8 fa" + "00" * 250)


def test_parameters_of_255_octets_are_written_in_the_old_form() -> None:
    """RFC 9072, section 2: a length that does not exceed 255 SHOULD be written in the form of RFC 4271."""
    ours = Open(
        my_as=65001, hold_time=90, bgp_identifier=0xC0000201, capabilities=(UnknownCapability(200, bytes(251)),)
    )
    assert encode_open(ours) == message(1, FIXED + "ff 02 fd c8 fb" + "00" * 251)


def test_longer_parameters_are_written_in_the_extended_form() -> None:
    """RFC 9072, section 2: 255, 255, the length in two octets, and two-octet lengths."""
    ours = Open(
        my_as=65001, hold_time=90, bgp_identifier=0xC0000201, capabilities=(UnknownCapability(200, bytes(252)),)
    )
    assert encode_open(ours) == message(1, FIXED + "ff ff 0101 02 00fe c8 fc" + "00" * 252)
