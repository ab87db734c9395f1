"""What holds for any octets, and for any value: decoding ends well, and what is written is read again."""

import contextlib
import itertools
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.octets import attribute, message
from trio_bgp.wire.as_path import Segment, decode_as_path, encode_as_path, prepend
from trio_bgp.wire.attribute_block import narrow, walk, widen
from trio_bgp.wire.attributes import AttributeContext, missing_attribute, parse_attributes
from trio_bgp.wire.capabilities import (
    AddPath,
    BgpRole,
    Capability,
    EnhancedRouteRefresh,
    ExtendedMessage,
    ExtendedNextHop,
    FourOctetAs,
    Fqdn,
    GracefulRestart,
    LongLivedGracefulRestart,
    Multiprotocol,
    RouteRefresh,
    SoftwareVersion,
    UnknownCapability,
    decode_capabilities,
    encode_capability,
)
from trio_bgp.wire.header import scan
from trio_bgp.wire.nlri import (
    FRAMING,
    KEYED,
    Framing,
    format_nlri,
    join_key,
    prefix_octets,
    split_key,
    split_nlri,
    split_nlri_add_path,
)
from trio_bgp.wire.notification import (
    Notification,
    NotificationError,
    decode_notification,
    describe,
    encode_notification,
    read_shutdown_communication,
    shutdown_communication,
)
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, Family, family
from trio_bgp.wire.open import Open, decode_open, encode_open
from trio_bgp.wire.route_refresh import RouteRefreshMessage, decode_route_refresh, encode_route_refresh
from trio_bgp.wire.update import is_end_of_rib, pack_ipv4_announcement, pack_mp_withdrawal, sections

few = settings(max_examples=150, deadline=None, derandomize=True)
T = TypeVar("T")


def outcome(decode: Callable[[], T]) -> T | Notification:
    """What decoding gives, or what the octets are answered with; any other exception is a failure."""
    try:
        return decode()
    except NotificationError as error:
        return error.notification


U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=16)
FAMILIES = st.builds(family, U16, U8)
CAPABILITIES: st.SearchStrategy[Capability] = st.one_of(
    st.builds(Multiprotocol, FAMILIES),
    st.just(RouteRefresh()),
    st.builds(ExtendedNextHop, st.lists(st.tuples(FAMILIES, U16), max_size=9).map(tuple)),
    st.just(ExtendedMessage()),
    st.builds(BgpRole, U8),
    st.builds(
        GracefulRestart,
        st.booleans(),
        st.booleans(),
        st.integers(0, 4095),
        st.lists(st.tuples(FAMILIES, st.booleans()), max_size=9).map(tuple),
    ),
    st.builds(FourOctetAs, st.integers(1, 0xFFFFFFFF)),
    st.builds(AddPath, st.lists(st.tuples(FAMILIES, st.integers(1, 3)), max_size=9).map(tuple)),
    st.just(EnhancedRouteRefresh()),
    st.builds(
        LongLivedGracefulRestart,
        st.lists(st.tuples(FAMILIES, st.booleans(), st.integers(0, 0xFFFFFF)), max_size=9).map(tuple),
    ),
    st.builds(Fqdn, TEXTS, TEXTS),
    st.builds(SoftwareVersion, TEXTS),
    st.builds(UnknownCapability, st.integers(200, 255), st.binary(max_size=255)),
)
CONTEXTS = st.builds(
    AttributeContext,
    asn4=st.booleans(),
    external=st.booleans(),
    extended_next_hop=st.sampled_from([frozenset[Family](), frozenset({IPV4_UNICAST})]),
    reject_as_set=st.booleans(),
)
KINDS = st.sampled_from([*range(19), 22, 25, 32, 35, 128, 200]) | U8
VALUES = st.sampled_from(
    [
        b"",
        bytes(4),
        b"\xc0\0\2\1",
        b"\2\1\0\0\xfd\xe9",
        b"\2\1\xfd\xe9",
        b"\3\1\0\0\xfd\xe9\1\1\0\0\0\1",
        b"\0\1\1\4\xc0\0\2\1\0\x08\x0a",
        b"\0\2\1\x10" + bytes(17),
        b"\0\2\1",
        bytes(8),
    ]
) | st.binary(max_size=40)
BLOCKS = st.builds(
    lambda attributes, rest: b"".join(attributes) + rest,
    st.lists(
        st.builds(attribute, st.sampled_from([0x40, 0x80, 0xC0, 0xE0, 0x50, 0x90]) | U8, KINDS, VALUES), max_size=9
    ),
    st.just(b"") | st.binary(max_size=5),
)
SEGMENTS4: st.SearchStrategy[list[Segment]] = st.lists(
    st.tuples(st.integers(1, 4), st.lists(U32, min_size=1, max_size=9).map(tuple)), max_size=5
)
NLRIS = st.binary(max_size=80) | st.lists(
    st.sampled_from(
        [
            b"\x20\0\6\x41\x0a",
            b"\x70\0\6\x41\0\0\xfd\xe9\0\0\0\1\x0a\0\1",
            b"\2\x21" + bytes(33),
            b"\2\x25" + bytes(29) + b"\x20" + bytes(7),
            b"\5\x22" + bytes(34),
            b"\5\x3a" + bytes(58),
            b"\1\x19" + bytes(25),
            b"\x08\x0a",
        ]
    ),
    max_size=5,
).map(b"".join)


@few
@given(st.binary(max_size=80) | st.lists(U8.map(lambda n: message(n % 7, bytes(n % 9))), max_size=6).map(b"".join))
def test_scanning_any_octets_accounts_for_all_of_them(octets: bytes) -> None:
    """Messages follow each other without gap up to `end`; what is behind is an error, or too short to be a message."""
    found = scan(octets, 0, len(octets), 4096)
    for start, following in itertools.pairwise([*found.offsets, found.end]):
        assert octets[start : start + 16] == b"\xff" * 16
        assert following - start == int.from_bytes(octets[start + 16 : start + 18], "big")
        assert (octets[start + 18] != 2) == (found.offsets.index(start) in found.others)
    rest = len(octets) - found.end
    assert rest >= 0
    assert found.error is not None or rest < (found.needed or 19)


@few
@given(st.lists(st.integers(0, 60).map(lambda n: message(2, bytes(4 + n))), max_size=8), st.data())
def test_a_stream_cut_anywhere_holds_the_same_messages(messages: list[bytes], data: st.DataObject) -> None:
    """Scanning up to a cut and on from there finds what scanning all at once finds."""
    octets = b"".join(messages)
    cut = data.draw(st.integers(0, len(octets)))
    first = scan(octets, 0, cut, 4096)
    second = scan(octets, first.end, len(octets), 4096)
    whole = scan(octets, 0, len(octets), 4096)
    assert first.offsets + second.offsets == whole.offsets
    assert len(whole.offsets) == len(messages)
    assert whole.end == second.end == len(octets)


PARAMETERS = st.binary(max_size=60) | st.lists(CAPABILITIES.map(encode_capability), max_size=5).map(
    lambda each: b"".join(bytes((2, len(one))) + one for one in each if len(one) < 256)
)


@few
@given(
    st.sampled_from([4, 4, 4, 3]),
    st.binary(min_size=8, max_size=8),
    st.booleans(),
    PARAMETERS,
    st.integers(-1, 1) | st.just(0),
)
def test_any_open_gives_a_value_or_a_notification(
    version: int, fixed: bytes, extended: bool, parameters: bytes, off: int
) -> None:
    """All bodies of at least 10 octets, in both forms; errors are of OPEN."""
    size = max(0, len(parameters) + off)
    length = b"\xff\xff" + size.to_bytes(2, "big") if extended else bytes((size % 256,))
    found = outcome(lambda: decode_open(bytes((version,)) + fixed + length + parameters))
    if isinstance(found, Notification):
        assert found.code == 2
    else:
        assert found.my_as
        assert found.peer_as
        assert found.bgp_identifier
        assert found.hold_time not in (1, 2)


@few
@given(st.binary(min_size=10, max_size=60))
def test_any_octets_as_open_give_a_value_or_a_notification(body: bytes) -> None:
    """As above, without any form."""
    with contextlib.suppress(NotificationError):
        assert decode_open(body).version == 4


@few
@given(
    st.integers(1, 0xFFFF),
    st.sampled_from([0, 3, 90, 65535]),
    st.integers(1, 0xFFFFFFFF),
    st.lists(CAPABILITIES, max_size=12).map(tuple),
)
def test_an_open_is_read_as_it_was_written(
    my_as: int, hold_time: int, identifier: int, capabilities: tuple[Capability, ...]
) -> None:
    """Whatever its capabilities and however many octets they need."""
    ours = Open(my_as=my_as, hold_time=hold_time, bgp_identifier=identifier, capabilities=capabilities)
    octets = encode_open(ours)
    assert scan(octets, 0, len(octets), 4096).offsets == [0]
    assert decode_open(octets[19:]) == ours


@few
@given(st.binary(max_size=60) | st.lists(CAPABILITIES.map(encode_capability)).map(b"".join))
def test_any_octets_as_capabilities_give_values_or_a_notification(octets: bytes) -> None:
    """Nothing is lost: each octet belongs to a capability, and each can be written again."""
    found = outcome(lambda: decode_capabilities(octets))
    if isinstance(found, Notification):
        assert found == Notification(2, 0)
    else:
        assert [encode_capability(each)[0] for each in found] == codes(octets)


def codes(octets: bytes) -> list[int]:
    """The capability codes in well-formed octets, by their lengths alone."""
    return [octets[0], *codes(octets[2 + octets[1] :])] if octets else []


@few
@given(CAPABILITIES)
def test_a_capability_is_read_as_it_was_written(capability: Capability) -> None:
    """All kinds, with any values."""
    assert decode_capabilities(encode_capability(capability)) == (capability,)


@few
@given(st.binary(min_size=2, max_size=4077))
def test_any_notification_is_read_described_and_written_back(body: bytes) -> None:
    """No code, subcode or data makes trouble."""
    found = decode_notification(body)
    assert describe(found)
    assert str(found)
    assert encode_notification(found) == message(3, body)
    text = read_shutdown_communication(found.data)
    assert text is None or text.isprintable()


@few
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_a_shutdown_communication_is_the_beginning_of_its_text(text: str) -> None:
    """At most 255 octets; three fewer than that at worst, where a character would be cut."""
    data = shutdown_communication(text)
    size = len(text.encode())
    assert text.encode().startswith(data[1:])
    data[1:].decode()
    assert len(data[1:]) == size if size <= 255 else 252 <= len(data[1:]) <= 255
    assert data[:1] == (bytes((len(data) - 1,)) if text else b"")


@few
@given(st.binary(min_size=4, max_size=20))
def test_any_route_refresh_gives_a_value_or_a_notification(body: bytes) -> None:
    """A value is written back as it came."""
    found = outcome(lambda: decode_route_refresh(body))
    if isinstance(found, Notification):
        assert found == Notification(7, 1, message(5, body))
    else:
        assert encode_route_refresh(found) == message(5, body)


@few
@given(FAMILIES, st.sampled_from([0, 1, 2]))
def test_a_route_refresh_is_read_as_it_was_written(of: Family, subtype: int) -> None:
    """For all families and subtypes."""
    ours = RouteRefreshMessage(of, subtype)
    assert decode_route_refresh(encode_route_refresh(ours)[19:]) == ours


@few
@given(BLOCKS, CONTEXTS, st.booleans(), st.booleans())
def test_any_attribute_block_gives_a_value_or_a_notification(
    octets: bytes, context: AttributeContext, ipv4: bool, mp: bool
) -> None:
    """And a block that was found sound, or could be repaired, is sound and stays as it is from then on."""
    found = outcome(lambda: parse_attributes(octets, context))
    if isinstance(found, Notification):
        assert found.code == 3
        return
    assert found.octets is octets
    if found.treat_as_withdraw is not None:
        return
    missing_attribute(found, ipv4, mp)
    again = parse_attributes(found.repaired, context)
    assert again.treat_as_withdraw is None
    assert again.discarded == ()
    assert again.repaired == found.repaired
    assert [kind for kind in range(256) if again.has(kind)] == sorted(kind for _, kind, _, _ in walk(found.repaired))
    if not context.asn4:
        wide = parse_attributes(widen(found.repaired), AttributeContext(external=context.external))
        assert wide.treat_as_withdraw is None
        assert wide.as_path_length == found.as_path_length


@few
@given(SEGMENTS4)
def test_narrow_and_widen_cancel_each_other(segments: list[Segment]) -> None:
    """A path without confederation segments comes back through an old speaker, whatever its AS numbers."""
    plain = [segment for segment in segments if segment[0] in (1, 2)]
    block = attribute(0x50, 2, encode_as_path(plain, asn4=True)) + attribute(0xC0, 7, "00011170 c0000201")
    back = parse_attributes(widen(narrow(block)), AttributeContext())
    assert [number for _, each in decode_as_path(back.as_path, asn4=True) for number in each] == [
        number for _, each in plain for number in each
    ]
    assert widen(narrow(block)).endswith(attribute(0xC0, 7, "00011170 c0000201"))


@few
@given(st.binary(max_size=40), st.booleans())
def test_any_octets_as_path_give_segments_or_a_value_error(octets: bytes, asn4: bool) -> None:
    """Segments are written back as they came."""
    with contextlib.suppress(ValueError):
        assert encode_as_path(decode_as_path(octets, asn4=asn4), asn4=asn4) == octets


@few
@given(SEGMENTS4, U32)
def test_prepending_puts_one_as_in_front(segments: list[Segment], asn: int) -> None:
    """All others stay in order."""
    path = decode_as_path(prepend(encode_as_path(segments, asn4=True), asn), asn4=True)
    assert path[0][0] == 2
    assert [number for _, each in path for number in each] == [asn, *(n for _, each in segments for n in each)]


@few
@given(st.sampled_from([*FRAMING, family(16388, 99)]), NLRIS, st.booleans(), st.none() | st.sampled_from(Framing))
def test_any_octets_as_nlri_give_values_or_a_notification(
    of: Family, octets: bytes, add_path: bool, framing: Framing | None
) -> None:
    """None is empty, none is lost, each has words, and keys are put together again."""
    framing = framing if of not in FRAMING else None
    found = outcome(lambda: split_nlri(of, octets, add_path=add_path, framing=framing))
    if isinstance(found, Notification):
        assert (found.code, found.subcode) in [(3, 9), (3, 10)]
        return
    assert all(found)
    assert sum(map(len, found)) + 4 * len(found) * add_path == len(octets)
    if add_path:
        assert [nlri for _, nlri in split_nlri_add_path(of, octets, framing)] == found
    for nlri in found:
        assert format_nlri(of, nlri)
        with contextlib.suppress(NotificationError):
            key, extra = split_key(of, nlri)
            if of in KEYED:
                assert join_key(of, key, extra) == nlri
                assert split_key(of, join_key(of, key, extra)) == (key, extra)


@few
@given(FAMILIES, st.binary(max_size=24))
def test_any_octets_have_words_as_nlri(of: Family, nlri: bytes) -> None:
    """What goes into a log never raises."""
    assert format_nlri(of, nlri) or not nlri


@few
@given(st.lists(st.tuples(st.integers(0, 32), U32), max_size=9), st.lists(st.tuples(st.integers(0, 128), U32)))
def test_prefixes_are_read_as_they_were_written(four: list[tuple[int, int]], six: list[tuple[int, int]]) -> None:
    """Both families, all lengths."""
    networks4 = [IPv4Network((address, bits), strict=False) for bits, address in four]
    networks6 = [IPv6Network((address << 96 | address, bits), strict=False) for bits, address in six]
    for of, networks in ((IPV4_UNICAST, networks4), (IPV6_UNICAST, networks6)):
        octets = b"".join(map(prefix_octets, networks))
        found = split_nlri(of, octets, add_path=False)
        assert [format_nlri(of, nlri) for nlri in found] == [str(network) for network in networks]


@few
@given(st.binary(min_size=4, max_size=60))
def test_any_update_has_sections_or_gives_a_notification(body: bytes) -> None:
    """The fields lie within the message, in order, and leave no octet out."""
    octets = message(2, body)
    is_end_of_rib(octets)
    found = outcome(lambda: sections(octets, 0, len(octets)))
    if isinstance(found, Notification):
        assert found == Notification(3, 1)
    else:
        withdrawn_end, attributes_end = found
        assert 21 <= withdrawn_end <= attributes_end - 2 <= len(octets) - 2
        assert withdrawn_end - 21 == int.from_bytes(octets[19:21], "big")
        assert attributes_end - withdrawn_end - 2 == int.from_bytes(octets[withdrawn_end : withdrawn_end + 2], "big")


@few
@given(st.lists(st.integers(0, 16).map(lambda n: bytes((8 * n,)) + bytes(n))), st.integers(47, 120))
def test_packing_loses_nothing_and_keeps_to_the_maximum(nlris: list[bytes], maximum: int) -> None:
    """All prefixes, in order, in whole messages none of which could have taken the next one's first prefix."""
    found = pack_mp_withdrawal(IPV6_UNICAST, nlris, maximum)
    assert all(len(one) <= maximum for one in found)
    octets = b"".join(found)
    assert len(scan(octets, 0, len(octets), 4096).offsets) == len(found)
    blocks = [parse_attributes(one[23:], AttributeContext()) for one in found]
    parts = [b.octets[b.mp_unreach.nlri_start : b.mp_unreach.nlri_end] for b in blocks if b.mp_unreach is not None]
    assert b"".join(parts) == b"".join(nlris)
    short = [nlri[:5] for nlri in nlris if nlri[0] <= 32]
    plain = pack_ipv4_announcement(b"", short, maximum)
    for one, following in itertools.pairwise(plain):
        assert len(one) + len(split_nlri(IPV4_UNICAST, following[23:], add_path=False)[0]) > maximum
