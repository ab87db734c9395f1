"""A peer's limit on prefixes of each family (RFC 4271, section 6.7; RFC 4486, section 4), and what is done at it."""

from collections.abc import Callable

from trio_bgp.passthrough.repack import Part
from trio_bgp.rib.table import Table
from trio_bgp.routing.group import Member
from trio_bgp.settings import MaxPrefixesAction
from trio_bgp.wire.notification import Notification
from trio_bgp.wire.numbers import CeaseSubcode, ErrorCode, Family, afi_of, family_name, safi_of

__all__ = ["drops", "exceeded", "within_limit"]

Report = Callable[[Member, str, bytes], None]


def drops(member: Member) -> bool:
    """Whether prefixes above the limit are not taken."""
    settings = member.settings
    return settings.max_prefixes is not None and settings.max_prefixes_action is MaxPrefixesAction.DROP


def within_limit(table: Table, member: Member, part: Part, report: Report) -> Part:
    """The part without new prefixes that exceed the limit; the same object if there are none.

    Args:
        table: of the part's family.
        member: who announced it, and drops what is too much.
        part: an announcement.
        report: told once of a family that has too many.
    """
    limit = member.settings.max_prefixes or 0
    room = limit - member.source.prefixes.get(part.family, 0)
    if len(part.nlris) <= room or part.lane is None:
        return part
    known = set(table.lanes_of(member.source, part.nlris).get(part.lane, ()))
    wanted = []
    for nlri in part.nlris:
        if nlri not in known:
            if room <= 0:
                continue
            room -= 1
        wanted.append(nlri)
    if len(wanted) == len(part.nlris):
        return part
    _note(member, part.family, "further ones are not taken", report)
    if not wanted and part.path is not None and not part.path.uses:
        table.forget(part.path)
    return part._replace(nlris=wanted)


def exceeded(member: Member, report: Report) -> tuple[Notification, str] | None:
    """Why a member's session must end because of its limit, as NOTIFICATION and words for the log; None if it need not.

    Args:
        member: whose prefixes are counted.
        report: told once of a family that has more than the limit where that is only warned of.
    """
    limit = member.settings.max_prefixes
    if limit is None:
        return None
    action = member.settings.max_prefixes_action
    for family, count in member.source.prefixes.items():
        if count <= limit or action is MaxPrefixesAction.DROP:
            continue
        if action is MaxPrefixesAction.WARN:
            _note(member, family, "that is allowed", report)
            continue
        data = afi_of(family).to_bytes(2, "big") + bytes([safi_of(family)]) + limit.to_bytes(4, "big")
        notification = Notification(ErrorCode.CEASE, CeaseSubcode.MAXIMUM_NUMBER_OF_PREFIXES_REACHED, data)
        return notification, f"{count} prefixes, the limit is {limit}"
    return None


def _note(member: Member, family: Family, what: str, report: Report) -> None:
    if family not in member.over_limit:
        member.over_limit.add(family)
        limit = member.settings.max_prefixes
        report(member, f"more than {limit} prefixes of {family_name(family)}: {what}", b"")
