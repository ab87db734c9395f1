"""Every message of ../shared/vectors: any octets give a value or one of the three errors, and the right one."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from trio_bgp.wire.as_path import decode_as_path
from trio_bgp.wire.attributes import AttributeContext, Attributes, missing_attribute, parse_attributes
from trio_bgp.wire.header import scan
from trio_bgp.wire.nlri import FRAMING, format_nlri, split_key, split_nlri, split_prefixes
from trio_bgp.wire.notification import NotificationError, decode_notification
from trio_bgp.wire.numbers import EXTENDED_MESSAGE_LENGTH, FAMILIES, IPV4_UNICAST, MessageType
from trio_bgp.wire.open import decode_open
from trio_bgp.wire.route_refresh import decode_route_refresh
from trio_bgp.wire.update import sections

pytestmark = pytest.mark.shared

VALID, WITHDRAW, DISCARD, RESET, INCOMPLETE = (
    "valid",
    "treat-as-withdraw",
    "attribute-discard",
    "session-reset",
    "incomplete",
)


def load(shared: Path) -> list[dict[str, Any]]:
    """All vectors."""
    return [
        json.loads(line)
        for path in sorted((shared / "vectors").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def conclude_update(octets: bytes, asn4: bool, add_path: bool) -> tuple[str, list[str]]:
    """What an UPDATE is, and the prefixes it announces and withdraws, in words."""
    withdrawn_end, attributes_end = sections(octets, 0, len(octets))
    context = AttributeContext(asn4=asn4, external=False, extended_next_hop=frozenset(FAMILIES.values()))
    parsed = parse_attributes(octets[withdrawn_end + 2 : attributes_end], context)
    prefixes = [format_nlri(IPV4_UNICAST, nlri) for nlri in field(octets[21:withdrawn_end], add_path)]
    prefixes += [format_nlri(IPV4_UNICAST, nlri) for nlri in field(octets[attributes_end:], add_path)]
    prefixes += multiprotocol(parsed, add_path)
    nlri = attributes_end < len(octets)
    error = parsed.treat_as_withdraw or missing_attribute(parsed, nlri, parsed.mp_reach is not None)
    if error is not None:
        return WITHDRAW, prefixes
    return (DISCARD if parsed.discarded else VALID), prefixes


def field(octets: bytes, add_path: bool) -> list[bytes]:
    """The prefixes of a classic field."""
    return split_nlri(IPV4_UNICAST, octets, add_path=True) if add_path else split_prefixes(octets, 32)


def multiprotocol(parsed: Attributes, add_path: bool) -> list[str]:
    """What MP_REACH_NLRI and MP_UNREACH_NLRI hold, if the family is known."""
    found = []
    for part in (parsed.mp_reach, parsed.mp_unreach):
        if part is not None and part.family in FRAMING:
            octets = parsed.octets[part.nlri_start : part.nlri_end]
            for nlri in split_nlri(part.family, octets, add_path=add_path):
                split_key(part.family, nlri)
                found.append(format_nlri(part.family, nlri))
    return found


def conclude(vector: dict[str, Any]) -> tuple[str, str]:
    """Our conclusion about a vector, with the notification if it is a session reset."""
    octets = bytes.fromhex(vector["hex"])
    try:
        found = scan(octets, 0, len(octets), EXTENDED_MESSAGE_LENGTH)
        if found.error is not None and not found.offsets:
            raise found.error
        if not found.offsets:
            return INCOMPLETE, ""
        end = found.offsets[1] if len(found.offsets) > 1 else found.end
        kind, body = octets[18], octets[19:end]
        if kind == MessageType.OPEN:
            decode_open(body)
        elif kind == MessageType.NOTIFICATION:
            decode_notification(body)
        elif kind == MessageType.ROUTE_REFRESH:
            decode_route_refresh(body)
        elif kind == MessageType.UPDATE:
            return conclude_with_width(vector, octets[:end])
    except NotificationError as error:
        return RESET, f"{error.notification.code}/{error.notification.subcode} {error.reason}"
    return VALID, ""


def conclude_with_width(vector: dict[str, Any], octets: bytes) -> tuple[str, str]:
    """Where the source does not say how wide AS numbers are or whether there are path identifiers, what fits counts."""
    widths = [vector["asn4"]] if vector["asn4"] is not None else [True, False]
    paths = [True] if vector.get("addpath") else [False, True]
    best: tuple[str, str] | None = None
    for add_path in paths:
        for asn4 in widths:
            try:
                outcome = conclude_update(octets, asn4, add_path)[0], ""
            except NotificationError as error:
                outcome = RESET, f"{error.notification.code}/{error.notification.subcode} {error.reason}"
            if best is None or outcome[0] == VALID:
                best = outcome
            if outcome[0] == VALID:
                return outcome
        if not vector.get("addpath") and vector["expect"]["outcome"] != VALID:
            break
    assert best is not None
    return best


def test_any_octets_give_a_value_or_one_of_three_errors(shared: Path) -> None:
    """All 2,173 vectors are concluded on, none with another exception."""
    vectors = load(shared)
    assert len(vectors) == 2173
    found = Counter(conclude(vector)[0] for vector in vectors)
    print(dict(found))
    assert sum(found.values()) == 2173


DIFFERENT: dict[str, tuple[str, str]] = {
    # Octets that end before the message does: the framing waits for more.
    **dict.fromkeys(
        [f"bgpkit-parser-hex-000{n}" for n in (2, 3, 4, 5)],
        (INCOMPLETE, "the source writes a header on its own; the rest of the OPEN is not in the vector"),
    ),
    # UPDATEs that announce IPv4 prefixes without the mandatory attributes.
    **dict.fromkeys(
        ["bgpkit-parser-hex-0009", "gobmp-0024", "rustybgp-0009"],
        (WITHDRAW, "not a whole UPDATE in the source: NLRI without any attribute, RFC 7606 section 3 d"),
    ),
    **dict.fromkeys(
        [f"pmacct-pcap-0{n}" for n in range(374, 423)],
        (WITHDRAW, "BMP Route Monitoring without NEXT_HOP, not sent on a session; RFC 7606 section 3 d"),
    ),
    "pmacct-pcap-0419": (WITHDRAW, "BMP Route Monitoring with NEXT_HOP 0.0.0.0, RFC 4271 section 6.3"),
    **dict.fromkeys(
        [f"ryu-pcap-000{n}" for n in (4, 5, 6, 7)],
        (WITHDRAW, "hand-made UPDATEs without ORIGIN and AS_PATH, RFC 7606 section 3 d"),
    ),
    "exabgp-qa-encoding-0005": (WITHDRAW, "NEXT_HOP 255.255.255.255 is no host address, RFC 4271 section 6.3"),
    **dict.fromkeys(
        ["frr-aspath-0029", "frr-aspath-0033"],
        (WITHDRAW, "the AS_PATH is longer than its segments, RFC 7606 section 7.2; the source reads a stream"),
    ),
    "rustybgp-rfc7606-0002": (DISCARD, "a malformed AGGREGATOR is discarded, RFC 7606 section 7.7"),
    "rustybgp-rfc7606-0006": (WITHDRAW, "NLRI without attributes, RFC 7606 section 3 d; the source tests one only"),
    # Sources that refuse what the RFCs let pass.
    "bio-rd-0006": (VALID, "ROUTE-REFRESH with ORF entries (RFC 5291) is legal; the family is one we do not know"),
    "frr-aspath-0034": (VALID, "an empty AS_PATH is legal, RFC 4271 section 5.1.2; the source asserts its own parser"),
    **dict.fromkeys(
        ["frr-capability-0010", "frr-capability-0014", "frr-capability-0029", "frr-capability-0031",
         "frr-capability-0036", "frr-capability-0037"],
        (VALID, "a malformed capability other than multiprotocol and 4-octet AS is ignored, RFC 5492 section 3"),
    ),
    "frr-capability-0044": (VALID, "an OPEN without optional parameters is legal, RFC 4271 section 4.2"),
    **dict.fromkeys(
        ["nexthop-bgp-tests-0020", "nexthop-bgp-tests-0030", "tcpdump-pcap-0042"],
        (VALID, "no answer is given to a NOTIFICATION whatever its codes, RFC 4271 section 6.4"),
    ),
    "routecore-0013": (VALID, "the attributes are well-formed; the source asserts on what it builds from them"),
    # Octets that are no message of their own, or wrong by the RFC.
    "exabgp-qa-encoding-0093": (RESET, "an IPv4 next hop for IPv6 prefixes: RFC 8950 defines only the other direction"),
    "gobmp-0003": (RESET, "a BGP-LS TLV put into the frame of an OPEN: 2/0"),
    **dict.fromkeys(
        ["gobmp-0021", "gobmp-0029", "rustybgp-0002", "rustybgp-0015"],
        (RESET, "other NLRI or communities put into the Withdrawn Routes of IPv4: RFC 7606 section 5.3"),
    ),
    "pmacct-pcap-0367": (RESET, "the OPEN of a BMP Peer Up with AS 0, not sent on a session: RFC 7607 section 2"),
    **dict.fromkeys(
        ["opendaylight-functional-0040", "opendaylight-functional-0041"],
        (RESET, "VPN multicast without label, its length without route distinguisher: RFC 4364 section 4.3.4"),
    ),
    "yabgp-0003": (RESET, "Cisco's old ROUTE-REFRESH type 128 is in no RFC: 1/3"),
}  # fmt: skip
"""Where we conclude differently from the source, what, and why."""


def agrees(expected: str | None, ours: str) -> bool:
    """Whether our conclusion is the source's; a source that only says `error` is content with any."""
    return expected is None or ours == expected or (expected == "error" and ours != VALID)


def test_conclusions_are_the_sources_or_have_a_reason(shared: Path) -> None:
    """Each vector ends as its source says, or as the table above does with its reason; no entry is stale."""
    unused = set(DIFFERENT)
    for vector in load(shared):
        ours, detail = conclude(vector)
        name = vector["id"]
        if agrees(vector["expect"]["outcome"], ours):
            continue
        assert name in DIFFERENT, f"{name}: {vector['expect']['outcome']} by its source, {ours} by us: {detail}"
        assert ours == DIFFERENT[name][0], f"{name}: the table says {DIFFERENT[name]}, it is {ours}: {detail}"
        unused.discard(name)
    assert not unused, f"the table has entries that are not needed: {sorted(unused)}"


def test_notifications_are_those_of_most_daemons(shared: Path) -> None:
    """Where three of four daemons end the session with one code and subcode, so do we, or for the reason given."""
    reactions = [json.loads(line) for line in (shared / "reactions" / "consensus.jsonl").read_text().splitlines()]
    codes = {each["id"]: each["agreed_code"] for each in reactions if each["agreed_code"]}
    checked = 0
    for vector in load(shared):
        agreed = codes.get(vector["id"])
        if agreed is None or (vector["type"] == "OPEN" and agreed == "2/2"):
            continue  # such an OPEN names another AS than was configured there
        ours = conclude(vector)[1].split(" ")[0]
        withdrawn = int.from_bytes(bytes.fromhex(vector["hex"])[19:21], "big")
        if (agreed, ours) == ("3/1", "3/10") and withdrawn:
            continue  # RFC 4271 has a subcode for a malformed NLRI field, and none for one in Withdrawn Routes
        if vector["id"] == "gobmp-0030":
            assert ours == "3/2"  # an unknown attribute that says it is well-known, RFC 4271 section 6.3
            continue
        assert ours == agreed, vector["id"]
        checked += 1
    assert checked >= 50


def test_stated_as_paths(shared: Path) -> None:
    """Where FRR's tests state an AS path in words, ours reads the same AS numbers."""
    checked = 0
    for vector in load(shared):
        stated = vector["expect"].get("as_path")
        if not isinstance(stated, str) or conclude(vector)[0] != VALID:
            continue
        octets = bytes.fromhex(vector["hex"])
        withdrawn_end, attributes_end = sections(octets, 0, len(octets))
        asn4 = bool(vector["asn4"])
        parsed = parse_attributes(
            octets[withdrawn_end + 2 : attributes_end], AttributeContext(asn4=asn4, external=False)
        )
        numbers = [n for _, each in decode_as_path(parsed.as_path, asn4=asn4) for n in each]
        plain = re.sub(r"(\d+)\.(\d+)", lambda asdot: str(int(asdot[1]) << 16 | int(asdot[2])), stated)
        words = [int(word) for word in re.findall(r"\d+", plain)]
        assert set(numbers) == set(words), vector["id"]  # FRR drops repeated members of a set
        checked += 1
    assert checked >= 20
