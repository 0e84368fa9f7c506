"""Lengths of time as people write them: ``90s``, ``15m``, ``1h30m``, ``7d``, ``2w``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

ALLOWED: Final = "a number with its unit, as in 90s, 15m, 1h, 7d, 2w or 1h30m"
"""What `parse_duration` reads, for messages."""

_SECONDS: Final = {"w": 7 * 86_400, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION: Final = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?" for unit in _SECONDS))


def parse_duration(text: str) -> timedelta:
    """The length of time that *text* says.

    A number without a unit is refused: nobody can see whether it means seconds, minutes or days.

    Args:
        text: Whole numbers with units, the largest unit first, each at most once.

    Raises:
        ValueError: *text* is no such thing, or longer than a `timedelta` can be.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)
    """
    match = _DURATION.fullmatch(text.strip())
    if not match or not any(match.groups()):
        raise ValueError(f"{text!r} is not a duration; allowed: {ALLOWED}")
    try:
        return timedelta(seconds=sum(int(count) * _SECONDS[unit] for unit, count in match.groupdict(0).items()))
    except OverflowError as exc:
        raise ValueError(f"{text!r} is longer than {timedelta.max.days} days") from exc


def format_duration(duration: timedelta) -> str:
    """The same length of time as `parse_duration` reads it; parts of a second are cut off.

    >>> format_duration(timedelta(minutes=90))
    '1h30m'
    """
    seconds, text = int(duration.total_seconds()), ""
    for unit, length in _SECONDS.items():
        count, seconds = divmod(seconds, length)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
