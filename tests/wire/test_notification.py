import pytest

from tests.wire.octets import message
from trio_bgp.wire.notification import (
    AttributeDiscard,
    Notification,
    NotificationError,
    TreatAsWithdraw,
    decode_notification,
    describe,
    encode_notification,
    read_shutdown_communication,
    shutdown_communication,
)


def test_code_subcode_and_data_are_read() -> None:
    """RFC 4271, section 4.5; the data may be missing."""
    assert decode_notification(bytes.fromhex("06 02 03 627965")) == Notification(6, 2, b"\x03bye")
    assert decode_notification(bytes.fromhex("04 00")) == Notification(4)


def test_code_subcode_and_data_are_written() -> None:
    """RFC 4271, section 4.5: type 3."""
    assert encode_notification(Notification(1, 2, b"\x10\x01")) == message(3, "01 02 1001")
    assert encode_notification(Notification(4)) == message(3, "04 00")


def test_data_is_cut_where_the_message_reaches_4096_octets() -> None:
    """Every peer can read a NOTIFICATION, with extended messages or without."""
    longest = encode_notification(Notification(3, 9, b"\x01" * 4075))
    assert longest == message(3, b"\x03\x09" + b"\x01" * 4075)
    assert len(longest) == 4096
    assert encode_notification(Notification(3, 9, b"\x01" * 4075 + b"\x02" * 9)) == longest


@pytest.mark.parametrize(
    ("code", "subcode", "words"),
    [
        (1, 0, "Message Header Error"),
        (1, 1, "Message Header Error/Connection Not Synchronized"),
        (1, 2, "Message Header Error/Bad Message Length"),
        (1, 3, "Message Header Error/Bad Message Type"),
        (2, 1, "Open Message Error/Unsupported Version Number"),
        (2, 3, "Open Message Error/Bad BGP Identifier"),
        (2, 4, "Open Message Error/Unsupported Optional Parameter"),
        (2, 6, "Open Message Error/Unacceptable Hold Time"),
        (2, 7, "Open Message Error/Unsupported Capability"),
        (2, 11, "Open Message Error/Role Mismatch"),
        (3, 1, "Update Message Error/Malformed Attribute List"),
        (3, 10, "Update Message Error/Invalid Network Field"),
        (3, 11, "Update Message Error/Malformed AS Path"),
        (4, 0, "Hold Timer Expired"),
        (5, 0, "FSM Error"),
        (6, 0, "Cease"),
        (6, 1, "Cease/Maximum Number of Prefixes Reached"),
        (6, 2, "Cease/Administrative Shutdown"),
        (6, 3, "Cease/Peer De-configured"),
        (6, 4, "Cease/Administrative Reset"),
        (6, 5, "Cease/Connection Rejected"),
        (6, 6, "Cease/Other Configuration Change"),
        (6, 7, "Cease/Connection Collision Resolution"),
        (6, 8, "Cease/Out of Resources"),
        (6, 9, "Cease/Hard Reset"),
        (6, 10, "Cease/BFD Down"),
        (7, 1, "Route Refresh Message Error/Invalid Message Length"),
        (8, 0, "Send Hold Timer Expired"),
    ],
)
def test_codes_are_described_in_the_rfcs_words(code: int, subcode: int, words: str) -> None:
    """RFC 4271, section 4.5, RFC 4486, RFC 7313, RFC 8538, RFC 9384."""
    assert describe(Notification(code, subcode, b"\x01")) == words


def test_bad_peer_as_is_described_in_the_rfc_s_words() -> None:
    """RFC 4271, section 4.5: subcode 2 of OPEN errors is Bad Peer AS."""
    assert describe(Notification(2, 2)) == "Open Message Error/Bad Peer AS"


def test_unknown_codes_are_described_by_number() -> None:
    """Peers may send what no RFC defines."""
    assert describe(Notification(6, 99)) == "Cease/subcode 99"
    assert describe(Notification(4, 1)) == "Hold Timer Expired/subcode 1"
    assert describe(Notification(99, 7)) == "code 99/subcode 7"
    assert describe(Notification(0)) == "code 0/subcode 0"


def test_a_notification_in_words_shows_numbers_and_data() -> None:
    """Name, code and subcode, and the data in hex if there is some."""
    assert str(Notification(6, 4)) == "Cease/Administrative Reset (6/4)"
    assert str(Notification(1, 2, b"\x10\x01")) == "Message Header Error/Bad Message Length (1/2) data=1001"


def test_an_error_carries_its_notification_and_says_why() -> None:
    """Without a reason of its own the NOTIFICATION's name is the reason."""
    error = NotificationError(3, 9, b"\x01", "MP_REACH_NLRI is malformed")
    assert error.notification == Notification(3, 9, b"\x01")
    assert str(error) == "MP_REACH_NLRI is malformed"
    assert str(NotificationError(6, 2)) == "Cease/Administrative Shutdown"


@pytest.mark.parametrize("kind", [TreatAsWithdraw, AttributeDiscard])
def test_attribute_errors_say_what_is_at_fault(kind: type[TreatAsWithdraw | AttributeDiscard]) -> None:
    """Reason, attribute type and octets."""
    error = kind("ORIGIN is malformed", 1, b"\x40\x01\x00")
    assert str(error) == error.reason == "ORIGIN is malformed"
    assert (error.attribute_type, error.data) == (1, b"\x40\x01\x00")
    assert (kind("x").attribute_type, kind("x").data) == (0, b"")


def test_a_shutdown_communication_is_a_counted_text() -> None:
    """RFC 9003, section 2: a length octet and UTF-8; no text, no data."""
    assert shutdown_communication("bye") == b"\x03bye"
    assert shutdown_communication("é") == b"\x02\xc3\xa9"
    assert shutdown_communication("") == b""


def test_a_shutdown_communication_is_cut_between_characters() -> None:
    """RFC 9003, section 2: at most 255 octets, and they are valid UTF-8."""
    assert shutdown_communication("x" * 300) == b"\xff" + b"x" * 255
    assert shutdown_communication("x" * 254 + "é") == b"\xfe" + b"x" * 254
    assert shutdown_communication("x" * 253 + "é") == b"\xff" + b"x" * 253 + b"\xc3\xa9"
    assert shutdown_communication("x" * 252 + "\N{GRINNING FACE}") == b"\xfc" + b"x" * 252


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", None),
        (b"\x00", None),
        (b"\x03bye", "bye"),
        (b"\x06caf\xc3\xa9!", "café!"),
        (b"\xff" + b"x" * 255, "x" * 255),
        (b"\x09a\nb\x1b[31mc", "a?b?[31mc"),
        (b"\x05a\x00\xe2\x80\xae", "a??"),
    ],
)
def test_a_shutdown_communication_is_read_and_made_printable(data: bytes, text: str | None) -> None:
    """RFC 9003, sections 2 and 5: no control character and no change of direction reaches a terminal."""
    assert read_shutdown_communication(data) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"\x04bye", "hex:04627965"), (b"\x01", "hex:01"), (b"\x02\xc3\x28", "hex:c328"), (b"\x01\xff", "hex:ff")],
)
def test_an_unreadable_shutdown_communication_is_shown_in_hex(data: bytes, text: str) -> None:
    """RFC 9003, section 4: a length beyond the data, and what is no UTF-8, are still logged."""
    assert read_shutdown_communication(data) == text
