import pytest

from trio_bgp.session.collision import keeps_incoming


@pytest.mark.parametrize(
    ("local", "remote", "kept"),
    [
        ((1, 65000), (2, 65001), True),
        ((2, 65000), (1, 65001), False),
        ((0x0A000001, 65000), (0xC0000201, 65001), True),
        ((7, 65000), (7, 65001), True),
        ((7, 65001), (7, 65000), False),
        ((0xFFFFFFFF, 1), (1, 65001), False),
    ],
)
def test_the_connection_of_the_higher_identifier_is_kept(
    local: tuple[int, int], remote: tuple[int, int], kept: bool
) -> None:
    """RFC 4271 section 6.8: identifiers compare as unsigned numbers, equal ones are decided by AS (RFC 6286)."""
    assert keeps_incoming(local[0], remote[0], local[1], remote[1]) is kept


def test_both_speakers_keep_the_same_connection() -> None:
    """What is incoming for one is outgoing for the other: exactly one side keeps its incoming connection."""
    for ours, theirs in [((1, 5), (2, 5)), ((3, 9), (3, 8)), ((9, 1), (4, 7))]:
        assert keeps_incoming(ours[0], theirs[0], ours[1], theirs[1]) is not keeps_incoming(
            theirs[0], ours[0], theirs[1], ours[1]
        )
