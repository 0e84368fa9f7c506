"""What a value may be: what JSON holds, no more, so that what comes back equals what went in.

`json.dumps` alone would turn the key ``1`` into ``"1"``, a tuple into a list and NaN into no JSON at all, silently.
"""

from __future__ import annotations

import json
import marshal
from math import isfinite
from typing import Any, Final

from runtime.errors import InvalidValueError, QuotaExceededError

MAX_BYTES: Final = 16 * 1024 * 1024
"""Largest value as JSON; larger things are files."""

COUNTER_LIMIT: Final = 1 << 63
"""Counters have 64 bits and a sign, as Redis has them."""

_DEEPEST: Final = 100
_LARGEST_INT: Final = 1 << 14_000  # a little less than the 4,300 digits that Python itself reads
_LONGEST_ESCAPE: Final = 12  # bytes of JSON that a byte of `packed` can stand for at most
_WITHOUT_REFERENCES: Final = 2  # format of marshal that writes a text as often as it occurs, as JSON does
_SHOWN: Final = 10  # levels of a place that a message names
_PLAIN: Final = frozenset({str, bool, type(None)})
_HINTS: Final = (
    (("datetime", "date", "time"), "store its isoformat()"),
    (("timedelta",), "store its total_seconds()"),
    (("bytes", "bytearray", "memoryview"), "store files in a blob store, or base64 text here"),
    (("tuple", "set", "frozenset"), "store a list"),
    (("Decimal", "UUID", "PosixPath", "WindowsPath"), "store its str()"),
)


class _RefusedError(Exception):
    """What is wrong with a part of a value; who holds the part adds where it is."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.where: list[Any] = []


def copied(value: Any) -> Any:
    """A copy of *value* that shares nothing with it, of plain types only.

    Raises:
        InvalidValueError: JSON can not hold it; says where and what to do, never the value.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    try:
        return _copied(value, kind, 0)
    except _RefusedError as exc:
        # what is in a mapping's key may be data: only short, printable ones are repeated
        path = "".join(f"[{_shown(part)}]" for part in reversed(exc.where[-_SHOWN:]))
        raise InvalidValueError(f"value{path} {exc.problem}", hint=exc.hint) from None


def _copied(value: Any, kind: type, depth: int) -> Any:
    if kind is dict or isinstance(value, dict):
        return _copied_dict(value, depth)
    if kind is list or isinstance(value, list):
        return _copied_list(value, depth)
    return _number_or_text(value)


def _copied_dict(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    if depth >= _DEEPEST:
        raise _too_deep()
    result = {}
    key: Any = None
    try:
        for key, item in value.items():
            if type(key) is not str and not isinstance(key, str):
                break
            kind = type(item)
            if kind not in _PLAIN and (kind is not int or not -COUNTER_LIMIT < item < COUNTER_LIMIT):
                item = _copied(item, kind, depth + 1)  # noqa: PLW2901 - its copy
            result[key if type(key) is str else str.__str__(key)] = item
        else:
            return result
    except _RefusedError as exc:
        exc.where.append(key)
        raise
    raise _RefusedError(f"has a key that is {_a(key)}, and JSON's keys are text")


def _copied_list(value: list[Any], depth: int) -> list[Any]:
    if depth >= _DEEPEST:
        raise _too_deep()
    result = []
    try:
        for item in value:
            kind = type(item)
            result.append(item if kind in _PLAIN else _copied(item, kind, depth + 1))
    except _RefusedError as exc:
        exc.where.append(len(result))
        raise
    return result


def _number_or_text(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if not -_LARGEST_INT < value < _LARGEST_INT:
            raise _RefusedError("is a number of over 4,000 digits")
        return int.__int__(value)
    if isinstance(value, float):
        if not isfinite(value):
            raise _RefusedError("is infinite or not a number, which JSON has no form for")
        return float.__float__(value)
    if isinstance(value, str):
        return str.__str__(value)
    name = type(value).__name__
    hint = next((hint for names, hint in _HINTS if name in names), None)
    raise _RefusedError(f"is {_a(value)}, which JSON can not hold", hint)


def _too_deep() -> _RefusedError:
    return _RefusedError(f"is nested over {_DEEPEST} levels deep, or holds itself")


def encoded(value: Any) -> str:
    """*value* as JSON, in ASCII.

    Raises:
        InvalidValueError: as for `copied`.
        QuotaExceededError: larger than `MAX_BYTES`.
    """
    return _sized(copied(value))


def packed(value: Any) -> Any:
    """*value* for a store in this process: lists and mappings as bytes, all else as it is, as nobody can change it.

    Raises:
        InvalidValueError: as for `copied`.
        QuotaExceededError: larger than `MAX_BYTES` as JSON.
    """
    # a copy is only made of what is not made of plain types: marshal takes no others
    plain = value if _is_plain(value, type(value), 0) else copied(value)
    if not isinstance(plain, dict | list):
        if isinstance(plain, str) and len(plain) * _LONGEST_ESCAPE > MAX_BYTES:
            _sized(plain)
        return plain
    data = marshal.dumps(plain, _WITHOUT_REFERENCES)
    if len(data) * _LONGEST_ESCAPE > MAX_BYTES:  # perhaps too large: only then it has to be known
        _sized(plain)
    return data


def _is_plain(value: Any, kind: type, depth: int) -> bool:
    """Whether `copied` would give an equal thing of equal types; False when that has to be looked at more closely."""
    if kind is dict:
        return depth < _DEEPEST and _is_plain_dict(value, depth + 1)
    if kind is list:
        return depth < _DEEPEST and _is_plain_list(value, depth + 1)
    if kind is int:
        return bool(-COUNTER_LIMIT < value < COUNTER_LIMIT)
    return kind in _PLAIN or (kind is float and isfinite(value))


def _is_plain_dict(value: dict[Any, Any], depth: int) -> bool:
    for key, item in value.items():
        if type(key) is not str:
            return False
        kind = type(item)
        if kind not in _PLAIN and not _is_plain(item, kind, depth):
            return False
    return True


def _is_plain_list(value: list[Any], depth: int) -> bool:
    for item in value:
        kind = type(item)
        if kind not in _PLAIN and not _is_plain(item, kind, depth):
            return False
    return True


def unpacked(stored: Any) -> Any:
    """What `packed` was given, anew."""
    return marshal.loads(stored) if type(stored) is bytes else stored  # noqa: S302 - our own bytes, never left here


def packs(stored: Any, value: Any) -> bool:
    """Whether *value* is the same as what `packed` was given.

    Raises:
        InvalidValueError: as for `copied`.
    """
    if type(stored) is bytes:
        try:
            if marshal.dumps(value, _WITHOUT_REFERENCES) == stored:
                return True
        except ValueError:
            pass  # it can not be stored, or not as it is: looked at below
    return same(unpacked(stored), copied(value))


def _sized(copy: Any) -> str:
    text = _encode(copy)
    if len(text) > MAX_BYTES:
        size = f"the value has {len(text):,} bytes as JSON, at most {MAX_BYTES:,} are kept"
        raise QuotaExceededError(size, hint="store files in a blob store")
    return text


_decode = json.JSONDecoder().raw_decode


def decoded(text: str) -> Any:
    """What *text* holds as JSON."""
    try:
        value, end = _decode(text)
    except ValueError:
        value, end = None, -1
    return value if end == len(text) else json.loads(text)  # others may have put blanks around it, or anything else


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def same(left: Any, right: Any) -> bool:
    """Whether two values of plain types are the same JSON, whatever the order of their mappings."""
    if type(left) is not type(right):
        return False  # Python finds 1 == 1.0 == True
    if type(left) is dict:
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if type(left) is list:
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def counted(value: Any, amount: int) -> int:
    """The sum of what is stored and *amount*.

    Raises:
        InvalidValueError: it is no whole number, or the sum has more than 64 bits.
    """
    if type(value) is not int or not -COUNTER_LIMIT <= value < COUNTER_LIMIT:
        raise not_a_counter()
    total = value + amount
    if not -COUNTER_LIMIT <= total < COUNTER_LIMIT:
        raise not_a_counter()
    return total


def checked_amount(amount: int) -> int:
    """*amount* when a counter can be changed by it."""
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise TypeError(f"amount is a whole number, not {type(amount).__name__}")
    if not -COUNTER_LIMIT <= amount < COUNTER_LIMIT:
        raise InvalidValueError("the amount has more than 64 bits")
    return int.__int__(amount)


def not_a_counter() -> InvalidValueError:
    """The error for what can not be counted on."""
    return InvalidValueError("what is stored is no whole number, or the sum would need more than 64 bits")


def _shown(part: Any) -> str:
    return repr(part) if isinstance(part, int) or (len(part) <= 40 and part.isprintable()) else "…"  # noqa: PLR2004 - a line's worth


def _a(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"
