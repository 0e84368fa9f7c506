"""ListObjectsV2: one page is one request, parsed by libxml2 without a Python object per element.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

from lxml import etree

from runtime.drivers._s3_errors import ServiceError
from runtime.drivers._s3_headers import DEFAULT_TYPE
from runtime.models import ObjectPage, listed_info

if TYPE_CHECKING:
    from collections.abc import Callable

_PARSER: Final = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)


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
    ns = {"s": namespace} if namespace else None
    colon = "s:" if namespace else ""

    def expression(*names: str) -> Callable[[Any], list[str]]:
        path = "/".join(colon + name for name in names)
        found: Callable[[Any], list[str]] = etree.XPath(f"{path}/text()", namespaces=ns, smart_strings=False)
        return found

    return {
        "Key": expression("Contents", "Key"),
        "LastModified": expression("Contents", "LastModified"),
        "Size": expression("Contents", "Size"),
        "ETag": expression("Contents", "ETag"),
        "Prefix": expression("CommonPrefixes", "Prefix"),
        "EncodingType": expression("EncodingType"),
        "IsTruncated": expression("IsTruncated"),
        "NextContinuationToken": expression("NextContinuationToken"),
    }


def parse_page(body: bytes) -> ObjectPage:
    """The page in *body*.

    Raises:
        ServiceError: The body is no listing: cut off, or with a name that this server should have encoded.
    """
    try:
        root = etree.fromstring(body, _PARSER)
    except etree.XMLSyntaxError as exc:
        raise ServiceError(None, "MalformedListing", f"the page can not be parsed: {exc.msg}") from exc
    tag = etree.QName(root)
    if tag.localname != "ListBucketResult":
        raise ServiceError(None, "MalformedListing", f"the answer is <{tag.localname}>, not a listing")
    texts = _texts(tag.namespace or "")
    encoded = texts["EncodingType"](root) == ["url"]
    names, tags = texts["Key"](root), texts["ETag"](root)
    times, sizes = texts["LastModified"](root), texts["Size"](root)
    if len(tags) != len(names):  # some servers have no ETag for some objects: then pair them element by element
        tags = [element.findtext("{*}ETag") or "" for element in root.iterchildren("{*}Contents")]
    if not len(names) == len(times) == len(sizes) == len(tags):
        raise ServiceError(None, "MalformedListing", "an object has no name, time or size")
    prefixes = texts["Prefix"](root)
    if encoded:
        names = [unquote_plus(name) if "%" in name or "+" in name else name for name in names]
        prefixes = [unquote_plus(name) if "%" in name or "+" in name else name for name in prefixes]
    tokens = texts["NextContinuationToken"](root)
    truncated = texts["IsTruncated"](root) == ["true"]
    objects = [
        listed_info(name, int(size), DEFAULT_TYPE, moment, tag.strip('"') or None)
        for name, size, moment, tag in zip(names, sizes, _moments(times), tags, strict=True)
    ]
    return ObjectPage(tuple(objects), tuple(prefixes), tokens[0] if truncated and tokens else None)


def _moments(times: list[str]) -> list[datetime]:
    moments = list(map(datetime.fromisoformat, times))
    if moments and moments[0].tzinfo is None:  # a server that leaves the Z out leaves it out everywhere
        return [moment.replace(tzinfo=UTC) for moment in moments]
    return moments
