"""ListObjectsV2: one page is one request. Its objects are read by one pattern where all of them have the usual form.

What the pattern leaves, and pages with any object in another form, are parsed by libxml2 without a Python object per
element. A test holds both ways to the same result.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

from runtime.drivers import _xml
from runtime.drivers.s3.errors import ServiceError
from runtime.drivers.s3.headers import DEFAULT_TYPE
from runtime.models import ObjectPage, listed_info

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_OBJECT: Final = re.compile(
    r"\s*<Contents>\s*<Key>([^<&\x00-\x1f]+)</Key>\s*<LastModified>([^<&\x00-\x1f]*)</LastModified>\s*<ETag>([^<\x00-\x1f]*)</ETag>"
    r"(?:\s*<[A-Za-z]+>[^<&\x00-\x1f]*</[A-Za-z]+>)*?\s*<Size>(\d+)</Size>"
    r"(?:\s*<[A-Za-z]+>[^<&\x00-\x1f]*</[A-Za-z]+>)*\s*</Contents>"
)
"""An object as AWS and most servers write it: elements without attributes, text without entities but in the etag."""


def page_query(prefix: str, delimiter: str, start_after: str, cursor: str | None, limit: int) -> list[tuple[str, str]]:
    """The query of one page. Owners are not asked for; names come percent-encoded, as XML can not carry all."""
    query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(limit))]
    if prefix:
        query.append(("prefix", prefix))
    if delimiter:
        query.append(("delimiter", delimiter))
    if cursor is not None:
        query.append(("continuation-token", cursor))
    elif start_after:
        query.append(("start-after", start_after))
    return query


@lru_cache(maxsize=4)
def _texts(namespace: str) -> dict[str, Callable[[Any], list[str]]]:
    """Compiled expressions that give the text of every such element of a page, as plain strings."""
    paths = (
        *("Contents/Key", "Contents/LastModified", "Contents/Size", "Contents/ETag", "CommonPrefixes/Prefix"),
        *("EncodingType", "IsTruncated", "NextContinuationToken"),
    )
    return {path.rpartition("/")[2]: _xml.texts(path, namespace) for path in paths}


def parse_page(body: bytes) -> ObjectPage:
    """The page in *body*.

    Raises:
        ServiceError: The body is no listing: cut off, or with a name that this server should have encoded.
    """
    objects, frame = _usual(body) or ([], body)
    try:
        root = _xml.parse(frame)
    except _xml.MalformedError as exc:
        raise ServiceError(None, "MalformedListing", f"the page can not be parsed: {exc}") from exc
    if _xml.local_name(root) != "ListBucketResult":
        raise ServiceError(None, "MalformedListing", f"the answer is <{_xml.local_name(root)}>, not a listing")
    texts = _texts(_xml.namespace(root))
    encoded = texts["EncodingType"](root) == ["url"]
    prefixes, tokens = texts["Prefix"](root), texts["NextContinuationToken"](root)
    if not objects:
        objects = _any(root, texts)
    names, times, tags, sizes = map(list, zip(*objects, strict=True)) if objects else ([], [], [], [])
    if encoded:
        names = [unquote_plus(name) if "%" in name or "+" in name else name for name in names]
        prefixes = [unquote_plus(name) if "%" in name or "+" in name else name for name in prefixes]
    truncated = texts["IsTruncated"](root) == ["true"]
    infos = [
        listed_info(name, int(size), DEFAULT_TYPE, moment, tag.strip('"') or None)
        for name, size, moment, tag in zip(names, sizes, _moments(times), tags, strict=True)
    ]
    return ObjectPage(tuple(infos), tuple(prefixes), tokens[0] if truncated and tokens else None)


def _usual(body: bytes) -> tuple[list[tuple[str, str, str, str]], bytes] | None:
    """Name, time, etag and size of every object, and the page without them; None for a page to be parsed as a whole."""
    start = body[:100].lower()
    if b"<!" in body or b"\r" in body or (b"encoding" in start and b"utf-8" not in start):
        return None
    try:
        pieces = _OBJECT.split(body.decode())
    except UnicodeDecodeError:
        return None
    frame = "".join(pieces[::5])
    tags = [tag.replace("&quot;", '"').replace("&#34;", '"') for tag in pieces[3::5]]
    if "<Contents" in frame or any("&" in tag for tag in tags):
        return None
    return list(zip(pieces[1::5], pieces[2::5], tags, pieces[4::5], strict=True)), frame.encode()


def _any(root: Any, texts: Mapping[str, Callable[[Any], list[str]]]) -> list[tuple[str, str, str, str]]:
    """The same of a page in any form."""
    names, tags = texts["Key"](root), texts["ETag"](root)
    times, sizes = texts["LastModified"](root), texts["Size"](root)
    if len(tags) != len(names):  # some servers have no ETag for some objects: then pair them element by element
        tags = [element.findtext("{*}ETag") or "" for element in root.iterchildren("{*}Contents")]
    if not len(names) == len(times) == len(sizes) == len(tags):
        raise ServiceError(None, "MalformedListing", "an object has no name, time or size")
    return list(zip(names, times, tags, sizes, strict=True))


def _moments(times: list[str]) -> list[datetime]:
    moments = list(map(datetime.fromisoformat, times))
    if moments and moments[0].tzinfo is None:  # a server that leaves the Z out leaves it out everywhere
        return [moment.replace(tzinfo=UTC) for moment in moments]
    return moments
