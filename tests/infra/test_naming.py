from __future__ import annotations

import doctest
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from infra import naming
from runtime.fields import AzureAccountName, AzureContainerName, GCSBucketName, R2BucketName, S3BucketName

PROJECTS = st.from_regex(r"[A-Za-z0-9_.-]{1,100}", fullmatch=True) | st.sampled_from(
    ["google", "goog", "g00gle-x", "xn--a", "sthree-", "sthree-sthree-x", "amzn-s3-demo-x", "goooogle", "-", "..."]
)
BACKENDS = st.from_regex(r"[a-z](?:[_-]?[a-z0-9]){0,62}", fullmatch=True).filter(lambda name: len(name) <= 63)
PARTS = st.tuples(PROJECTS, PROJECTS, BACKENDS, st.sampled_from(["", "123456789012"]))


@given(PARTS)
def test_every_name_is_one_that_its_service_takes(parts: tuple[str, str, str, str]) -> None:
    bucket = naming.bucket(*parts)
    for kind in (S3BucketName, R2BucketName, AzureContainerName):
        TypeAdapter[str](kind).validate_python(bucket)
    TypeAdapter[str](GCSBucketName).validate_python(naming.gcs_bucket(*parts))
    TypeAdapter[str](AzureAccountName).validate_python(naming.azure_account(*parts))


@given(PARTS)
def test_a_gcs_name_does_not_look_like_google(parts: tuple[str, str, str, str]) -> None:
    name = naming.gcs_bucket(*parts)
    assert not re.search(r"^goog|g[o0]{2,}g[l1]e", name)


@given(PARTS, PARTS)
def test_names_differ_where_anything_differs(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    for make in (naming.bucket, naming.gcs_bucket, naming.azure_account):
        assert (make(*one) == make(*other)) is (one == other)


@given(PARTS)
def test_names_do_not_change_from_run_to_run(parts: tuple[str, str, str, str]) -> None:
    assert naming.bucket(*parts) == naming.bucket(*parts)


@pytest.mark.parametrize(
    ("parts", "bucket"),
    [
        (("tandem", "prod", "avatars", "123456789012"), "tandem-prod-avatars-700a5624"),
        (("tandem", "prod", "avatars", ""), "tandem-prod-avatars-44449735"),
        (("My_App", "dev", "user_files", ""), "my-app-dev-user-files-1c0dc21b"),
    ],
)
def test_names_are_these(parts: tuple[str, str, str, str], bucket: str) -> None:
    # a change here renames, that is replaces, every bucket that anybody has
    assert naming.bucket(*parts) == bucket


def test_a_long_name_is_cut_before_its_suffix() -> None:
    name = naming.bucket("p" * 50, "s" * 50, "b" * 50)
    assert len(name) == 63
    assert name.endswith(naming.identity("p" * 50, "s" * 50, "b" * 50, ""))
    assert len(naming.azure_account("p" * 50, "s", "b")) == 24


def test_a_name_of_the_accounts_own_ends_as_s3_asks_and_fits() -> None:
    where = ("123456789012", "ap-southeast-1")
    name = naming.regional_bucket("tandem", "production", "a-very-long-name-of-a-backend", *where)
    assert name.endswith("-123456789012-ap-southeast-1-an")
    assert len(name) == 63
    assert name != naming.regional_bucket("tandem", "production", "a-very-long-name-of-another", *where)
    TypeAdapter(S3BucketName).validate_python(name)


def test_what_is_joined_differently_is_not_the_same() -> None:
    assert naming.bucket("a-b", "c", "d") != naming.bucket("a", "b-c", "d")


def test_the_examples_are_true() -> None:
    assert doctest.testmod(naming).failed == 0
