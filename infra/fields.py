"""The kinds of values that the spec holds: durations, browser origins, addresses, tags; each with its own message.

A validator that depends on the profile reads it from the validation context, so that everything wrong in a spec
is found in one pass.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from runtime.durations import ALLOWED, format_duration, parse_duration
from runtime.validation import did_you_mean

_HOST: Final = r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_ORIGIN: Final = re.compile(rf"https?://(?:{_HOST}|\[[0-9a-f:]+\])(?::\d{{1,5}})?")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TAG_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:/=+@-]{0,126}")
_TAG_VALUE: Final = re.compile(r"[A-Za-z0-9 _.:/=+@-]{0,255}")


def wrong(message: str, allowed: str) -> PydanticCustomError:
    """An error that `infra.problems` turns into a problem with both parts."""
    return PydanticCustomError("tandem", "{message}", {"message": message, "allowed": allowed})


def lenient(info: ValidationInfo) -> bool:
    """Whether the spec is for a laptop; also when its profile does not exist, which is a problem of its own."""
    profile = info.context.get("profile") if isinstance(info.context, dict) else None
    return profile not in {"standard", "regulated"}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration("".join(str(value).split()))
    except ValueError:
        raise wrong(f"found {value!r}", ALLOWED) from None


def _whole_days(value: timedelta) -> timedelta:
    if value < timedelta(days=1) or value % timedelta(days=1):
        raise wrong(f"found {format_duration(value)}", "whole days: 1d, 7d, 30d")
    return value


def _browser_cache(value: timedelta) -> timedelta:
    if value > timedelta(days=1):
        raise wrong(f"found {format_duration(value)}", "0s to 24h, the most that any browser and R2 accept")
    return value


def _origin(value: str, info: ValidationInfo) -> str:
    local = lenient(info)
    allowed = f"https://app.example.com, http://localhost:3000 or *{'' if local else ' in profile dev'}"
    if value == "*":
        if not local:
            raise wrong("found '*', which lets every site in", allowed)
        return value
    if _ORIGIN.fullmatch(value):
        if value.startswith("http://") and not local:
            raise wrong(f"found {value!r}, which is not encrypted", allowed)
        return value
    raise wrong(f"found {value!r}{_origin_fault(value)}", allowed)


def _origin_fault(value: str) -> str:
    if "*" in value:
        return ", and not every service knows wildcards inside an origin"
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in {"http", "https"}:
        return ", which does not start with https://"
    if "/" in rest or "?" in rest or "#" in rest:
        return ": an origin has no path and no slash at its end"
    if value != value.lower():
        return ": browsers send origins in lower case"
    return ", which is no origin"


def _header(value: str) -> str:
    if not _HEADER.fullmatch(value):
        raise wrong(f"found {value!r}", "a header's name such as content-type, or *")
    return value


def _url(value: str, info: ValidationInfo) -> str:
    local = lenient(info)
    allowed = "https:// (or http:// in profile dev), a host, no query" if not local else "http:// or https://, a host"
    try:
        parts = urlsplit(value)
        faulty = not parts.hostname or bool(parts.query or parts.fragment or parts.username) or parts.port == 0
    except ValueError:
        raise wrong("found what is no URL", allowed) from None
    if faulty or parts.scheme not in ({"http", "https"} if local else {"https"}) or re.search(r"\s", value):
        raise wrong(f"found {value!r}" if not parts.username else "found a URL with credentials", allowed)
    return value.rstrip("/")


def _tags(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        if key.lower().startswith(("aws:", "tandem:")):
            raise wrong(f"found the key {key!r}", "keys that do not start with aws: or tandem:")
        if not _TAG_KEY.fullmatch(key):
            raise wrong(f"found the key {key!r}", "a letter, then at most 126 letters, digits and _.:/=+@-")
        if not _TAG_VALUE.fullmatch(text):
            raise wrong(f"found {text!r} for {key!r}", "at most 255 letters, digits, spaces and _.:/=+@-")
    return value


def _unique(value: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = sorted({str(item) for item in value if value.count(item) > 1})
    if twice:
        raise wrong(f"found {', '.join(twice)} twice", "each value once")
    return value


def _day(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise wrong(f"found {value!r}", 'a day, quoted: "2027-06-30"') from None


def _rule_id(value: str) -> str:
    from infra.rules import RULES  # noqa: PLC0415 - sixty functions, for stacks with exemptions

    known = [rule.id for rule in RULES]
    if value not in known:
        raise wrong(f"found {value!r}{did_you_mean(value, known)}", "a rule that `tandem check --rules` lists")
    return value


Unique = AfterValidator(_unique)

Day = Annotated[date, BeforeValidator(_day)]
"""A day of the calendar."""

RuleId = Annotated[str, AfterValidator(_rule_id)]
"""The id of a security rule."""

Duration = Annotated[timedelta, BeforeValidator(_duration)]
"""``7d 1h 30m 15s``: the largest unit first, blanks as you like."""

Days = Annotated[Duration, AfterValidator(_whole_days)]
"""A duration of whole days, which is what bucket lifecycles count in."""

CacheTime = Annotated[Duration, AfterValidator(_browser_cache)]
"""How long a browser may remember a CORS answer, at most a day."""

Origin = Annotated[str, AfterValidator(_origin)]
"""A browser's origin: scheme, host and port; http and ``*`` in profile dev only."""

Header = Annotated[str, AfterValidator(_header)]
"""The name of an HTTP header, or ``*``."""

PublicUrl = Annotated[str, AfterValidator(_url)]
"""Where a bucket is served to browsers; https outside profile dev. A slash at the end is cut off."""

Tags = Annotated[dict[str, str], AfterValidator(_tags)]
"""Owner tags; keys with ``tandem:`` are ours."""
