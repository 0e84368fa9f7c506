"""Each grant with its own credentials on a server that enforces IAM: what is granted works, what is not is refused.

Twice, as rights come two ways: of a user that exists by the bucket's policy, and of a role that the program makes
(IRSA) by its own. MiniStack checks signatures, policies and OIDC trust. Its S3 asks no KMS: that S3 may use the key for
who reads an object is not proven here, that nobody may use it past S3 is.
"""

from __future__ import annotations

import base64
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
import yaml
from botocore.exceptions import ClientError

import runtime
from infra import emulators
from infra.endpoints import endpoints
from infra.engine.embedded import EmbeddedEngine
from infra.stack import Stack
from runtime.errors import PermissionDeniedError
from runtime.grants import NEEDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from infra.engine import Result
    from runtime.store import BlobStore
    from runtime.testing.fixtures import ProgramFactory

ROOT = Path(__file__).parents[2]
ACCOUNT = "000000000000"
ISSUER = "oidc.eks.eu-west-1.amazonaws.com/id/TEST"

GRANTS: dict[str, list[str]] = {
    "reader": ["read"],
    "writer": ["write"],
    "deleter": ["delete"],
    "lister": ["list"],
    "browser": ["read", "list"],
    "sharer": ["read", "presign"],
    "dropbox": ["write", "presign"],
    "app": ["read", "write", "list", "presign"],
    "mover": ["read", "write", "delete"],
    "everything": ["read", "write", "list", "presign", "delete"],
    "admin": ["admin"],
}


def _multipart(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    at = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    etag = s3.upload_part(**at, PartNumber=1, Body=b"x")["ETag"]
    s3.list_parts(**at)
    s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})


def _abort(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="aborted")["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key="aborted", UploadId=upload)


def _presigned(s3: Any, bucket: str, call: str, method: str) -> None:
    url = s3.generate_presigned_url(call, {"Bucket": bucket, "Key": "there"}, 60)
    answer = httpx.request(method, url, content=b"signed" if method == "PUT" else None)
    if answer.is_error:
        raise ClientError({"Error": {"Code": str(answer.status_code)}}, call)


CALLS: dict[str, tuple[set[str], Any]] = {
    "GetObject": ({"read"}, lambda s3, b: s3.get_object(Bucket=b, Key="there")),
    "HeadObject": ({"read"}, lambda s3, b: s3.head_object(Bucket=b, Key="there")),
    "GetObject by URL": ({"read"}, lambda s3, b: _presigned(s3, b, "get_object", "GET")),
    "GetObjectTagging": ({"read"}, lambda s3, b: s3.get_object_tagging(Bucket=b, Key="there")),
    "PutObject": ({"write"}, lambda s3, b: s3.put_object(Bucket=b, Key="there", Body=b"2")),
    "PutObject by URL": ({"write"}, lambda s3, b: _presigned(s3, b, "put_object", "PUT")),
    "multipart upload": ({"write"}, _multipart),
    "AbortMultipartUpload": ({"write"}, _abort),
    "ListObjectsV2": ({"list"}, lambda s3, b: s3.list_objects_v2(Bucket=b)),
    "ListMultipartUploads": ({"list"}, lambda s3, b: s3.list_multipart_uploads(Bucket=b)),
    "HeadBucket": ({"list"}, lambda s3, b: s3.head_bucket(Bucket=b)),
    "DeleteObject": ({"delete"}, lambda s3, b: s3.delete_object(Bucket=b, Key="extra")),
    "ListObjectVersions": ({"admin"}, lambda s3, b: s3.list_object_versions(Bucket=b)),
    "GetBucketVersioning": ({"admin"}, lambda s3, b: s3.get_bucket_versioning(Bucket=b)),
    "GetBucketEncryption": ({"admin"}, lambda s3, b: s3.get_bucket_encryption(Bucket=b)),
    "GetBucketLifecycle": ({"admin"}, lambda s3, b: s3.get_bucket_lifecycle_configuration(Bucket=b)),
    "PutBucketVersioning": (
        {"nobody"},
        lambda s3, b: s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Suspended"}),
    ),
    "DeleteBucketPolicy": ({"nobody"}, lambda s3, b: s3.delete_bucket_policy(Bucket=b)),
    "DeleteBucket": ({"nobody"}, lambda s3, b: s3.delete_bucket(Bucket=b)),
    "ListBuckets": ({"nobody"}, lambda s3, _: s3.list_buckets()),
}
"""What is asked of the server itself, and the verbs that it takes."""


class Cloud:
    """A stack on MiniStack with a grant of every kind, and the credentials of each."""

    def __init__(self, root: Path) -> None:
        (root / "infra").mkdir(parents=True)
        (root / "stacks").mkdir()
        shutil.copy(ROOT / "infra" / "__main__.py", root / "infra")
        shutil.copy(ROOT / "Pulumi.yaml", root)
        (root / "stacks" / "Pulumi.test.yaml").write_text(yaml.safe_dump({"config": spec()}))
        self.root = root
        emulators.up(self.stack)
        for name in GRANTS:
            self.admin("iam").create_user(UserName=f"lp-{name}")
        self.result: Result = EmbeddedEngine().up(self.stack)
        for bucket in (self.bucket("plain"), self.bucket("secret"), self.bucket("other")):
            for key in ("there", "extra"):
                self.admin("s3").put_object(Bucket=bucket, Key=key, Body=b"1")

    @property
    def stack(self) -> Stack:
        return Stack.read("test", self.root)

    def admin(self, service: str) -> Any:
        at = endpoints(self.stack)["aws"]
        return self.client(service, {"aws_access_key_id": at.access_key, "aws_secret_access_key": at.secret_key})

    def client(self, service: str, keys: Mapping[str, str]) -> Any:
        at = endpoints(self.stack)["aws"]
        return boto3.client(service, endpoint_url=at.url, region_name="eu-west-1", **keys)  # type: ignore[call-overload] # its stubs want each argument literally

    def entry(self, backend: str) -> dict[str, Any]:
        listed = self.result.outputs["storage"]["storage"]["backends"]
        (found,) = [entry for entry in listed if entry["name"] == backend]
        return dict(found)

    def bucket(self, backend: str) -> str:
        entry = self.entry(backend)
        return str(entry[entry["driver"]]["bucket"])

    def keys(self, form: str, name: str) -> dict[str, str]:
        """Credentials of a grant: a user's own key, or a session of the role that the program made."""
        if form == "user":
            key = self.admin("iam").create_access_key(UserName=f"lp-{name}")["AccessKey"]
            return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        made = self.session(self.role(name), f"system:serviceaccount:lp:{name}")
        return {
            "aws_access_key_id": made["AccessKeyId"],
            "aws_secret_access_key": made["SecretAccessKey"],
            "aws_session_token": made["SessionToken"],
        }

    def role(self, name: str) -> str:
        return str(self.result.outputs["identities"][f"irsa/lp/{name}"]["role_arn"])

    def session(self, role: str, subject: str, audience: str = "sts.amazonaws.com") -> dict[str, str]:
        sts = self.client("sts", {"aws_access_key_id": "none", "aws_secret_access_key": "none"})
        wanted = {"RoleArn": role, "RoleSessionName": "test", "WebIdentityToken": token(subject, audience)}
        found: dict[str, str] = sts.assume_role_with_web_identity(**wanted)["Credentials"]
        return found


def token(subject: str, audience: str = "sts.amazonaws.com") -> str:
    """What a cluster would give a pod; MiniStack compares the claims and leaves the signature."""
    parts = ({"alg": "RS256"}, {"iss": f"https://{ISSUER}", "sub": subject, "aud": audience, "exp": 4_000_000_000})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2ln"])


def spec() -> dict[str, Any]:
    irsa = [
        {"to": {"irsa": {"oidc_provider": ISSUER, "namespace": "lp", "service_account": name}}, "access": access}
        for name, access in GRANTS.items()
    ]
    users = [{"to": f"user/lp-{name}", "access": access} for name, access in GRANTS.items()]
    until = {"expires": "2035-12-31"}
    tokens = [
        {"to": {"token": {"name": "full", **until}}, "access": ["read", "write", "list", "delete", "presign"]},
        {"to": {"token": {"name": "reads", **until}}, "access": ["read", "list"]},
    ]
    s3 = {"driver": "s3", "versioning": True}
    return {
        "aws:region": "eu-west-1",
        "tandem:emulators": {"aws": "ministack", "cloudflare": "ministack"},
        "tandem:storage": {
            "profile": "dev",
            "backends": {
                "plain": {**s3, "primary": True, "grants": [*users, *irsa]},
                "secret": {**s3, "encryption": {"type": "aws:kms"}, "grants": [*users, *irsa]},
                "other": {"driver": "s3"},
                "media": {"driver": "r2", "grants": tokens},
            },
        },
    }


@pytest.fixture(scope="module")
def cloud(program: ProgramFactory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    program("ministack")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TANDEM_STATE", raising=False)
        found = Cloud(tmp_path_factory.mktemp("least-privilege") / "project")
        yield found
        emulators.down(found.stack)


def allowed(call: Any, s3: Any, bucket: str) -> bool:
    """Whether the server lets a call through; any other failure than a refusal is one of the test."""
    try:
        call(s3, bucket)
    except ClientError as exc:
        if exc.response["Error"]["Code"] not in {"403", "AccessDenied", "Forbidden"}:
            raise
        return False
    return True


@pytest.mark.parametrize("name", GRANTS)
@pytest.mark.parametrize("form", ["user", "irsa"])
@pytest.mark.parametrize("backend", ["plain", "secret"])
def test_server_lets_a_grant_do_what_it_says_and_nothing_else(cloud: Cloud, form: str, name: str, backend: str) -> None:
    s3, bucket, verbs = cloud.client("s3", cloud.keys(form, name)), cloud.bucket(backend), set(GRANTS[name])

    found = {call: allowed(do, s3, bucket) for call, (_, do) in CALLS.items()}
    expected = {
        call: bool(needs & verbs) or ("admin" in verbs and "nobody" not in needs) for call, (needs, _) in CALLS.items()
    }

    assert found == expected
    for call in ("GetObject", "PutObject", "ListObjectsV2", "DeleteObject"):
        assert not allowed(CALLS[call][1], s3, cloud.bucket("other")), "a grant is for one bucket"
    cloud.admin("s3").put_object(Bucket=bucket, Key="extra", Body=b"1")


@pytest.mark.parametrize("backend", ["plain", "secret"])
def test_every_call_succeeds_for_the_account(cloud: Cloud, backend: str) -> None:
    """Or the refusals above would prove nothing."""
    ruinous = {"DeleteBucketPolicy", "DeleteBucket", "PutBucketVersioning"}
    for call, (_, do) in CALLS.items():
        assert call in ruinous or allowed(do, cloud.admin("s3"), cloud.bucket(backend)), call
    cloud.admin("s3").put_object(Bucket=cloud.bucket(backend), Key="extra", Body=b"1")


@pytest.mark.parametrize("name", GRANTS)
@pytest.mark.anyio
async def test_contract_refuses_what_the_server_would(cloud: Cloud, name: str) -> None:
    """Every operation of the runtime, with the contract's identity and without: the answers agree."""
    keys = cloud.keys("user", name)
    entry = cloud.entry("plain")
    entry["s3"] |= {"access_key": keys["aws_access_key_id"], "secret_key": keys["aws_secret_access_key"]}
    verbs = set(GRANTS[name])
    told = {**entry, "identity": f"user/lp-{name}"}
    for key in ("from-early", "from-late"):
        cloud.admin("s3").put_object(Bucket=cloud.bucket("plain"), Key=key, Body=b"1")
    async with (
        runtime.open_storage({"backends": [told]}) as knowing,
        runtime.open_storage({"backends": [entry]}) as trying,
    ):
        for operation, call in operations().items():
            early, late = await refused(call, knowing["plain"]), await refused(call, trying["plain"])
            if operation == "presign":  # the server knows nothing of it: a URL can do what its signer can
                assert early == (not {"presign", "admin"} & verbs or not {"read", "admin"} & verbs)
                continue
            needed = set(NEEDS[operation])
            assert early == late == (not needed <= verbs and "admin" not in verbs), operation


def operations() -> dict[str, Callable[[BlobStore], Any]]:
    async def listed(store: BlobStore) -> None:
        [_ async for _ in store.list()]

    async def moved(store: BlobStore) -> None:
        await store.move("from-early" if store.backend.identity else "from-late", "to")

    async def updated(store: BlobStore) -> None:
        await store.update("there", lambda old: old or b"1")

    return {
        "upload": lambda store: store.upload("new", b"1"),
        "download": lambda store: store.download("there"),
        "info": lambda store: store.info("there"),
        "exists": lambda store: store.exists("there"),
        "list": listed,
        "copy": lambda store: store.copy("there", "copied"),
        "update": updated,
        "move": moved,
        "delete": lambda store: store.delete("gone"),
        "presign": lambda store: store.get_presigned_url("there"),
    }


async def refused(call: Callable[[BlobStore], Any], store: BlobStore) -> bool:
    try:
        await call(store)
    except PermissionDeniedError:
        return True
    return False


@pytest.mark.anyio
async def test_application_in_a_pod_is_the_role_of_its_service_account(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key anywhere: the AWS default chain takes the role with the pod's token, as on EKS."""
    (tmp_path / "token").write_text(token("system:serviceaccount:lp:browser"))
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", cloud.role("browser"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoints(cloud.stack)["aws"].url)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    entry = cloud.entry("plain") | {"identity": "irsa/lp/browser"}
    entry["s3"] = {key: value for key, value in entry["s3"].items() if key not in {"access_key", "secret_key"}}
    async with runtime.open_storage({"backends": [entry]}) as storage:
        assert await storage["plain"].download("there")
        assert not await storage["plain"].exists("nowhere")
        with pytest.raises(
            PermissionDeniedError, match=r"grant 'irsa/lp/browser' on backend 'plain' allows read, list"
        ):
            await storage["plain"].upload("there", b"2")


@pytest.mark.parametrize(
    ("subject", "audience"),
    [
        ("system:serviceaccount:lp:writer", "sts.amazonaws.com"),
        ("system:serviceaccount:other:reader", "sts.amazonaws.com"),
        ("system:serviceaccount:lp:reader", "somebody.else"),
    ],
)
def test_role_is_taken_by_its_service_account_only(cloud: Cloud, subject: str, audience: str) -> None:
    assert cloud.session(cloud.role("reader"), "system:serviceaccount:lp:reader")["AccessKeyId"]
    with pytest.raises(ClientError, match="AccessDenied"):
        cloud.session(cloud.role("reader"), subject, audience)


@pytest.mark.parametrize("name", ["reader", "writer", "lister", "admin"])
@pytest.mark.parametrize("form", ["user", "irsa"])
def test_nobody_uses_the_key_past_s3(cloud: Cloud, form: str, name: str) -> None:
    rules = cloud.admin("s3").get_bucket_encryption(Bucket=cloud.bucket("secret"))
    key = rules["ServerSideEncryptionConfiguration"]["Rules"][0]["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]
    wanted = {"KeyId": key, "KeySpec": "AES_256"}
    with pytest.raises(ClientError, match="AccessDenied"):
        cloud.client("kms", cloud.keys(form, name)).generate_data_key(**wanted)

    right = {"Effect": "Allow", "Action": "kms:GenerateDataKey", "Resource": key}  # the same, not bound to S3
    document = json.dumps({"Version": "2012-10-17", "Statement": [right]})
    cloud.admin("iam").put_user_policy(UserName=f"lp-{name}", PolicyName="past-s3", PolicyDocument=document)
    try:
        assert cloud.client("kms", cloud.keys("user", name)).generate_data_key(**wanted)["Plaintext"]
    finally:
        cloud.admin("iam").delete_user_policy(UserName=f"lp-{name}", PolicyName="past-s3")


@pytest.mark.anyio
async def test_r2_token_is_a_key_pair_for_one_bucket(cloud: Cloud) -> None:
    secrets = cloud.result.outputs["secrets"]
    assert set(secrets) == {
        "MEDIA_ACCESS_KEY", "MEDIA_SECRET_KEY", "MEDIA_READS_ACCESS_KEY", "MEDIA_READS_SECRET_KEY",
    }  # fmt: skip
    async with runtime.open_storage(cloud.stack.contract) as storage:
        media = storage["media"]
        await media.upload("a", b"1")
        assert [info.path async for info in media.list()] == ["a"]
        url = await media.get_presigned_url("a", timedelta(minutes=1))
        async with httpx.AsyncClient() as browser:
            assert (await browser.get(url)).content == b"1"
    pairs = {"full": "MEDIA", "reads": "MEDIA_READS"}
    works = {}
    for name, variable in pairs.items():
        keys = {
            "aws_access_key_id": secrets[f"{variable}_ACCESS_KEY"],
            "aws_secret_access_key": secrets[f"{variable}_SECRET_KEY"],
        }
        s3 = cloud.client("s3", keys)
        works[name] = {
            "get": allowed(lambda c, b: c.get_object(Bucket=b, Key="a"), s3, cloud.bucket("media")),
            "list": allowed(lambda c, b: c.list_objects_v2(Bucket=b), s3, cloud.bucket("media")),
            "put": allowed(lambda c, b: c.put_object(Bucket=b, Key="a", Body=b"2"), s3, cloud.bucket("media")),
            "delete": allowed(lambda c, b: c.delete_object(Bucket=b, Key="b"), s3, cloud.bucket("media")),
            "other bucket": allowed(lambda c, b: c.list_objects_v2(Bucket=b), s3, cloud.bucket("other")),
        }
    everything = {"get": True, "list": True, "put": True, "delete": True, "other bucket": False}
    assert works == {"full": everything, "reads": {**everything, "put": False, "delete": False}}
