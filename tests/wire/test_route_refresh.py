import pytest

from tests.wire.octets import message
from trio_bgp.wire.notification import Notification, NotificationError
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST
from trio_bgp.wire.route_refresh import BORR, EORR, RouteRefreshMessage, decode_route_refresh, encode_route_refresh


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("0001 00 01", RouteRefreshMessage(IPV4_UNICAST)),
        ("0002 01 01", RouteRefreshMessage(IPV6_UNICAST, BORR)),
        ("0002 02 01", RouteRefreshMessage(IPV6_UNICAST, EORR)),
        ("0001 ff 01", RouteRefreshMessage(IPV4_UNICAST, 255)),
        ("0001 00 01 01 80 0001 80", RouteRefreshMessage(IPV4_UNICAST, 0, bytes.fromhex("0180000180"))),
    ],
)
def test_each_subtype_is_read_and_written(body: str, value: RouteRefreshMessage) -> None:
    """RFC 2918, section 3; RFC 7313, section 3.2; RFC 5291's entries are kept as octets."""
    assert decode_route_refresh(bytes.fromhex(body)) == value
    assert encode_route_refresh(value) == message(5, body)


@pytest.mark.parametrize("body", ["0001 01 01 00", "0002 02 01 01 80 0001 80"])
def test_a_demarcation_of_another_length_is_7_1(body: str) -> None:
    """RFC 7313, section 5: BoRR and EoRR have 4 octets; the data is the whole message."""
    with pytest.raises(NotificationError) as caught:
        decode_route_refresh(bytes.fromhex(body))
    assert caught.value.notification == Notification(7, 1, message(5, body))
