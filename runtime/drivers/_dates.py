"""Dates of HTTP headers.

Source:
    https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1
    )
}
_LENGTH: Final = len("Mon, 23 Nov 2026 07:00:00 GMT")


def seconds_to_wait(text: str) -> float | None:
    """``Retry-After``: seconds, or the time when to come back; None for what is neither.

    Source:
        https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    if text.isdecimal():
        return float(text)
    try:
        return max((http_date(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except ValueError:
        return None


def http_date(text: str) -> datetime:
    """A date as aware UTC time; the one form that servers may send costs an eighth of `email.utils`.

    Raises:
        ValueError: It is no date.
    """
    month = _MONTHS.get(text[8:11])
    if month is None or len(text) != _LENGTH or text[25:] != " GMT":
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - for servers that have their own ideas

        return parsedate_to_datetime(text).astimezone(UTC)
    return datetime(
        int(text[12:16]), month, int(text[5:7]), int(text[17:19]), int(text[20:22]), int(text[23:25]), 0, UTC
    )
