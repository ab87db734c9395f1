from trio_bgp.wire.numbers import FAMILIES, IPV6_UNICAST, VPNV4, afi_of, family, family_name, safi_of


def test_a_family_is_its_afi_and_safi() -> None:
    """IANA's numbers: IPv6 unicast is 2/1, VPN-IPv4 1/128, EVPN 25/70, BGP-LS 16388/71."""
    assert (afi_of(IPV6_UNICAST), safi_of(IPV6_UNICAST)) == (2, 1)
    assert (afi_of(VPNV4), safi_of(VPNV4)) == (1, 128)
    assert FAMILIES["l2vpn-evpn"] == family(25, 70)
    assert FAMILIES["bgp-ls"] == family(16388, 71)
    assert (afi_of(family(65535, 255)), safi_of(family(65535, 255))) == (65535, 255)


def test_each_family_has_one_name() -> None:
    """And a family without a name is called by its numbers."""
    assert len(set(FAMILIES.values())) == len(FAMILIES)
    assert all(family_name(value) == name for name, value in FAMILIES.items())
    assert family_name(family(16388, 99)) == "afi-16388-safi-99"
