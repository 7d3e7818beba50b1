"""What may somebody be told, and when: by their role, their choice, and their hours.

Told whatever they chose: what another party does with their money (25-parties.md), and
to the super what the server cannot do. Everything else is a kind that a person turns
off or on for themselves, wherever they work.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta

from ..base.acting import BOOKKEEPER, COLLECTOR, MANAGER
from ..base.refusals import BadInputError
from ..base.zones import Zone, zone_or_utc
from ..models import Preferences
from .cash_attention import TOLD_OF_CASH

OPERATOR, LP, SUPER = "operator", "lp", "super"
# What waits for a person, and is told while it does.
NOTIFIED_KINDS = (
    "payouts_stopped",
    "leg_failed",
    "quarantined",
    "dispense",
    "less_arrived",
    "wallet_short",
    "payments_waiting",
    "offline",
    "balance_used_up",
)
SALE, DEPOSIT, INVITATION, VISIT = "sale", "deposit", "invitation", "visit"
# What happened, which nobody has to decide; each action of the log by its kind.
KIND_OF_NEWS = {
    "client_accept": INVITATION,
    "client_leave": INVITATION,
    "deposit_create": DEPOSIT,
    "deposit_claim": DEPOSIT,
    "deposit_confirmed": DEPOSIT,
    "deposit_dispute_withdrawn": DEPOSIT,
    "visit_close": VISIT,
}
_DESK = (*NOTIFIED_KINDS, *sorted(TOLD_OF_CASH))
KINDS_OF_ROLE: dict[str, tuple[str, ...]] = {
    OPERATOR: (*_DESK, SALE, DEPOSIT, INVITATION, VISIT),
    # who works for an operator sees no more by message than on the screen
    MANAGER: _DESK,
    BOOKKEEPER: ("cash_left", "cash_difference"),
    COLLECTOR: ("offline", "low_cash", "box_full", "visit_open"),
    LP: (DEPOSIT,),
    SUPER: (),
}
ALL_KINDS = frozenset(kind for kinds in KINDS_OF_ROLE.values() for kind in kinds)
# A message for each sale is for who asks for it.
OFF_UNTIL_CHOSEN = frozenset({SALE})


def is_told(preferences: Preferences | None, kind: str) -> bool:
    """Whether they are told of this: a kind of theirs, or one that is no choice."""
    kind = KIND_OF_NEWS.get(kind, kind)
    chosen = preferences.notify if preferences else {}
    return chosen.get(kind, kind not in OFF_UNTIL_CHOSEN)


def kinds_of(roles: Iterable[str]) -> dict[str, list[str]]:
    """What somebody of these roles may choose, in order: kind -> as what."""
    found: dict[str, list[str]] = {}
    for role in roles:
        for kind in KINDS_OF_ROLE[role]:
            found.setdefault(kind, []).append(role)
    return found


# ------------------------------------------------------------------------------- when


def time_of_day(text: str) -> time:
    """ "22:00" as a time; ValueError for what is none."""
    at = time.fromisoformat(text)
    if len(text) != len("22:00") or at.tzinfo:
        raise ValueError(text)
    return at


def check_hours(preferences: Preferences) -> None:
    """Refuse quiet hours without an end, or of no length."""
    begins, ends = preferences.quiet_from, preferences.quiet_until
    if (begins is None) != (ends is None):
        raise BadInputError("Quiet hours need both a beginning and an end.")
    if begins is not None and begins == ends:
        raise BadInputError("Quiet hours begin and end at the same time.")


def zone_of(preferences: Preferences | None) -> Zone:
    return zone_or_utc(preferences.time_zone if preferences else None)


def held_until(preferences: Preferences | None, now: datetime) -> datetime | None:
    """The end of the quiet hours that it is now; None if it is not."""
    if preferences is None or not (preferences.quiet_from and preferences.quiet_until):
        return None
    begins = time_of_day(preferences.quiet_from)
    ends = time_of_day(preferences.quiet_until)
    zone = zone_of(preferences)
    local = zone.local(now)
    shown = local.time()
    is_over_midnight = begins > ends
    is_quiet = (
        shown >= begins or shown < ends if is_over_midnight else begins <= shown < ends
    )
    if not is_quiet:
        return None
    is_tomorrow = is_over_midnight and shown >= begins
    day = local.date() + timedelta(days=int(is_tomorrow))
    until = zone.moment(day, ends)
    # a clock that is put back shows a time twice
    return until if until > now else None


def digest_moment(preferences: Preferences, now: datetime) -> datetime | None:
    """When today's sum of their day is due, by their clock."""
    if preferences.digest_at is None:
        return None
    zone = zone_of(preferences)
    return zone.moment(zone.day_of(now), time_of_day(preferences.digest_at))
