from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from runtime.fields import (
    AzureAccountName,
    AzureContainerName,
    BackendName,
    GCSBucketName,
    HttpUrl,
    R2BucketName,
    S3BucketName,
)

GOOD = [
    (BackendName, ["a", "avatars", "user-files", "user_files", "x2", "a" * 63]),
    (S3BucketName, ["abc", "my-bucket", "my.bucket.example", "0ab", "a" * 63, "app-media-1234-eu-west-1-an"]),
    (R2BucketName, ["abc", "my-bucket", "a" * 63]),
    (GCSBucketName, ["abc", "my_bucket", "a" * 63, f"{'a' * 63}.{'b' * 63}"]),
    (AzureContainerName, ["abc", "my-container", "$web", "$root", "$logs"]),
    (AzureAccountName, ["abc", "devstoreaccount1", "a" * 24]),
]
BAD = [
    (BackendName, ["", "A", "1a", "-a", "a-", "a__b", "a--b", "a b", "a.b", "a" * 64, "a\n"]),
    (
        S3BucketName,
        ["ab", "My", "a_b", "a..b", "-abc", "abc-", "a.-b", "192.168.1.1", "xn--abc", "abc-s3alias", "a" * 64],
    ),
    (R2BucketName, ["ab", "a.b.c", "a_b", "-abc", "abc-", "a" * 64]),
    (GCSBucketName, ["ab", "goog-a", "my-google-bucket", "10.0.0.1", "a" * 64, "a..b", "_ab", f"{'a' * 64}.b"]),
    (AzureContainerName, ["ab", "a--b", "-abc", "abc-", "Abc", "$other", "a" * 64]),
    (AzureAccountName, ["ab", "my-account", "A" * 5, "a" * 25]),
]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in GOOD for name in names])
def test_right_names_are_taken(kind: Any, name: str) -> None:
    assert TypeAdapter(kind).validate_python(name) == name


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in BAD for name in names])
def test_wrong_names_are_refused(kind: Any, name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(name)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9000", "https://cdn.example.com/media", "http://[::1]:80", "http://h:10000/devstoreaccount1"],
)
def test_http_urls_are_taken(url: str) -> None:
    adapter = TypeAdapter[str](HttpUrl)

    assert adapter.validate_python(url) == url
    assert adapter.validate_python(f"{url}/") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cdn.example.com",
        "ftp://h",
        "http://",
        "https://u:p@h",
        "https://u@h",
        "https://@h",
        "https://h?a=b",
        "https://h?",
        "https://h#f",
        "http://h:99999",
        "http://h:0",
        "http://h:x",
        "http://a b",
        "http://[::1",
        "http://h/\n",
    ],
)
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter[str](HttpUrl).validate_python(url)

    assert "u:p" not in caught.value.errors()[0]["msg"]
