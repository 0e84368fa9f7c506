from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.drivers.s3 import listing
from runtime.drivers.s3.errors import ServiceError
from runtime.drivers.s3.listing import page_query, parse_page

NS = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
OBJECT = (
    '<Contents><Key>{}</Key><LastModified>2026-02-03T04:05:06.789Z</LastModified><ETag>"e1"</ETag><Size>7</Size>'
    "<StorageClass>STANDARD</StorageClass></Contents>"
)


def page(content: str, *, ns: str = NS, encoding: str = "<EncodingType>url</EncodingType>") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult{ns}>{encoding}{content}</ListBucketResult>'.encode()
    )


@pytest.mark.parametrize("ns", [NS, ""])
def test_a_page_is_read_with_and_without_a_namespace(ns: str) -> None:
    found = parse_page(page(OBJECT.format("a/b"), ns=ns))
    (info,) = found.objects
    assert (info.path, info.size, info.etag) == ("a/b", 7, "e1")
    assert info.last_modified == datetime(2026, 2, 3, 4, 5, 6, 789_000, UTC)
    assert found.cursor is None


@pytest.mark.parametrize("time", ["2026-02-03T04:05:06Z", "2026-02-03T04:05:06.000Z", "2026-02-03T04:05:06"])
def test_every_form_of_time_is_utc(time: str) -> None:
    (info,) = parse_page(page(OBJECT.format("a").replace("2026-02-03T04:05:06.789Z", time))).objects
    assert info.last_modified == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("a+b", "a b"),
        ("a%20b", "a b"),
        ("a%2Bb", "a+b"),
        ("a%2520b", "a%20b"),
        ("%C3%BC", "ü"),
        ("a%01b", "a\x01b"),
        ("a%0D%0Ab", "a\r\nb"),
        ("a%EF%BF%BE", "a\ufffe"),
        ("dir%2F", "dir/"),
    ],
)
def test_encoded_names_are_decoded_once(sent: str, name: str) -> None:
    found = parse_page(page(OBJECT.format(sent) + f"<CommonPrefixes><Prefix>{sent}</Prefix></CommonPrefixes>"))
    assert found.objects[0].path == name
    assert found.prefixes == (name,)


@pytest.mark.parametrize("encoding", ["", "<EncodingType></EncodingType>", "<EncodingType/>"])
def test_names_of_a_server_that_does_not_encode_are_left_alone(encoding: str) -> None:
    found = parse_page(page(OBJECT.format("a+b%20c &amp; &#13;d"), encoding=encoding))
    assert found.objects[0].path == "a+b%20c & \rd"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=5))
def test_any_name_survives_the_way_that_s3_encodes_it(names: list[str]) -> None:
    encoded = [quote(name, safe="/-_.~").replace("%20", "+") for name in names]
    assert [info.path for info in parse_page(page("".join(map(OBJECT.format, encoded)))).objects] == names


def test_a_missing_etag_does_not_shift_those_of_others() -> None:
    bare = OBJECT.format("a").replace('<ETag>"e1"</ETag>', "")
    first, second = parse_page(page(bare + OBJECT.format("b"))).objects
    assert (first.path, first.etag, second.path, second.etag) == ("a", None, "b", "e1")


def test_a_truncated_page_gives_its_cursor() -> None:
    token = "<NextContinuationToken>t/1+=</NextContinuationToken>"
    assert parse_page(page(f"<IsTruncated>true</IsTruncated>{token}")).cursor == "t/1+="
    assert parse_page(page(f"<IsTruncated>false</IsTruncated>{token}")).cursor is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>proxy</html>",
        page(OBJECT.format("a"))[:-30],
        page(OBJECT.format("a").replace("<Size>7</Size>", "")),
        page(OBJECT.format("a&#1;b"), encoding=""),
    ],
)
def test_what_is_no_listing_is_an_error_and_never_a_short_page(body: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        parse_page(body)
    assert caught.value.code == "MalformedListing"


def test_a_page_asks_for_what_was_wanted_and_not_for_owners() -> None:
    assert page_query("p/", "/", "p/a", None, 10) == [
        ("list-type", "2"),
        ("encoding-type", "url"),
        ("max-keys", "10"),
        ("prefix", "p/"),
        ("delimiter", "/"),
        ("start-after", "p/a"),
    ]
    assert ("continuation-token", "t") in page_query("", "", "a", "t", 10)
    assert ("start-after", "a") not in page_query("", "", "a", "t", 10)


OTHER_FORMS = [
    "<Contents><Key>a</Key><Size>7</Size><LastModified>2026-02-03T04:05:06Z</LastModified><ETag>e</ETag></Contents>",
    (
        "<Contents><Key>a</Key><LastModified>2026-02-03T04:05:06Z</LastModified><ETag>e</ETag><Size>7</Size>"
        "<Owner><ID>x</ID></Owner></Contents>"
    ),
    "<Contents><Key>a</Key><LastModified>2026-02-03T04:05:06Z</LastModified><Size>7</Size></Contents>",
    (
        '<Contents><Key xml:lang="x">a</Key><LastModified>2026-02-03T04:05:06Z</LastModified><ETag>e</ETag>'
        "<Size>7</Size></Contents>"
    ),
    (
        "<Contents><Key><![CDATA[a]]></Key><LastModified>2026-02-03T04:05:06Z</LastModified><ETag>e</ETag>"
        "<Size>7</Size></Contents>"
    ),
    "<!-- <Contents></Contents> -->" + OBJECT.format("a"),
    OBJECT.format("a&#98;"),
    OBJECT.format("a").replace('"e1"', "&lt;e&gt;"),
    OBJECT.format("a").replace('"e1"', "&quot;e1&#34;"),
    OBJECT.format("a").replace("<StorageClass>", "<ChecksumType>FULL_OBJECT</ChecksumType>\n  <StorageClass>"),
    OBJECT.format("a").replace("<Size>", "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm>\t<Size>"),
]


@pytest.mark.parametrize("other", OTHER_FORMS)
@pytest.mark.parametrize("count", [0, 3])
def test_objects_in_any_form_are_read_and_keep_their_place(
    other: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = [OBJECT.format(f"k{number}") for number in range(2 * count)]
    prefixes = "<CommonPrefixes><Prefix>Contents/</Prefix></CommonPrefixes>"
    end = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    body = page("\n".join([*around[:count], other, *around[count:], prefixes, end]))
    found = parse_page(body)
    assert len(found.objects) == 2 * count + 1
    assert found.objects[count].path in {"a", "ab"}
    assert (found.prefixes, found.cursor) == (("Contents/",), "t")
    monkeypatch.setattr(listing, "_usual", lambda _: None)
    assert parse_page(body) == found


@pytest.mark.parametrize("declared", ["ISO-8859-1", "utf-16"])
def test_a_page_in_another_encoding_is_read_as_what_it_says(declared: str) -> None:
    text = page(OBJECT.format("ü"), encoding="").decode().replace("UTF-8", declared)
    assert parse_page(text.encode(declared)).objects[0].path == "ü"


@given(st.lists(st.text(min_size=1), min_size=1))
def test_both_ways_of_reading_a_page_give_the_same(names: list[str]) -> None:
    body = page("".join(OBJECT.format(quote(name.encode("utf-8", "replace"), safe="/")) for name in names))
    usual = listing._usual(body)
    assert usual is not None
    assert len(usual[0]) == len(names)
    found = parse_page(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_usual", lambda _: None)
        assert parse_page(body) == found
