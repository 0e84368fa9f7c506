"""Places that hand out AWS keys, real ones of MiniStack's STS, and the ways to make botocore look there."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from uuid import uuid4

import boto3
from botocore.config import Config
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from runtime.config import NamedStorageConfig
from runtime.drivers.s3 import S3Driver
from runtime.store import BlobStore

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from starlette.requests import Request

LIFETIME = 5
MIB = 1024 * 1024
SUBJECT = "a.token.of-the-cluster"
EVERYTHING = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
)
MACHINE = "/latest/meta-data/iam/security-credentials/"


@dataclass
class Cloud:
    """MiniStack with a bucket and a role, and the places that hand out the role's keys.

    Attributes:
        lifetime: Seconds for which MiniStack accepts keys.
        told: Seconds that the places say so, where that is not true; None for the truth.
    """

    url: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str = ""
    role: str = ""
    vendor: str = ""
    lifetime: int = LIFETIME
    told: int | None = None
    fails: bool = False
    asked: list[str] = field(default_factory=list)
    given: list[dict[str, Any]] = field(default_factory=list, repr=False)

    s3: Any = None
    sts: Any = None

    def client(self, service: str, access_key: str, secret_key: str, token: str | None = None) -> Any:
        session: Any = boto3.session.Session()  # boto3's own one remembers profiles; typed for names of services only
        return session.client(
            service,
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=token,
            config=Config(parameter_validation=False),  # or no life below 15 minutes
        )

    def prepare(self) -> None:
        name = f"tandem-{uuid4().hex[:12]}"
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        iam, self.s3, self.sts = (
            self.client(service, self.access_key, self.secret_key) for service in ("iam", "s3", "sts")
        )
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        self.role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="s3", PolicyDocument=EVERYTHING)
        self.s3.create_bucket(Bucket=name)
        self.bucket = name

    def store(self, **settings: str) -> BlobStore:
        s3 = {"bucket": self.bucket, "region": self.region, "endpoint_url": self.url, **settings}
        transfer = {"part_size": 5 * MIB, "concurrency": 1}
        entry = {"name": "media", "driver": "s3", "s3": s3, "transfer": transfer}
        backend = NamedStorageConfig.model_validate(entry)
        return BlobStore(backend, S3Driver(backend))

    # where keys are handed out

    def keys(self, kind: str) -> dict[str, Any]:
        self.asked.append(kind)
        given = {"RoleArn": self.role, "RoleSessionName": "tests", "DurationSeconds": self.lifetime}
        found = self.sts.assume_role(**given)["Credentials"]
        self.given.append(found)
        ends = found["Expiration"] if self.told is None else datetime.now(UTC) + timedelta(seconds=self.told)
        return {**found, "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self._sts, methods=["POST"]),
                Route("/container", self._container),
                Route("/latest/api/token", self._session, methods=["PUT"]),
                Route(MACHINE, self._role_of_machine),
                Route(MACHINE + "{role}", self._machine),
            ]
        )

    async def _sts(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        action = form["Action"]
        known = form.get("WebIdentityToken") == SUBJECT or "authorization" in request.headers
        if self.fails or not known or form["RoleArn"] != self.role:
            denied = "<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>"
            return Response(f"<ErrorResponse>{denied}</ErrorResponse>", 403, media_type="text/xml")
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in self.keys(action).items())
        result = f"<{action}Result><Credentials>{inner}</Credentials></{action}Result>"
        space = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
        return Response(f"<{action}Response {space}>{result}</{action}Response>", media_type="text/xml")

    async def _container(self, request: Request) -> Response:
        if request.headers.get("authorization") != SUBJECT:
            return PlainTextResponse("no", 401)
        found = self.keys("container")
        return JSONResponse({"Token": found.pop("SessionToken"), **found, "RoleArn": self.role})

    async def _session(self, request: Request) -> Response:  # noqa: ARG002 - a route's signature
        return PlainTextResponse("session")

    async def _role_of_machine(self, request: Request) -> Response:
        return PlainTextResponse("role") if self._in_session(request) else PlainTextResponse("no", 401)

    async def _machine(self, request: Request) -> Response:
        if not self._in_session(request):
            return PlainTextResponse("no", 401)
        found = self.keys("machine")
        return JSONResponse({"Code": "Success", "Token": found.pop("SessionToken"), **found})

    def _in_session(self, request: Request) -> bool:
        return request.headers.get("x-aws-ec2-metadata-token") == "session"


def from_variables(cloud: Cloud, patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setenv("AWS_ACCESS_KEY_ID", cloud.access_key)
    patch.setenv("AWS_SECRET_ACCESS_KEY", cloud.secret_key)


def from_variables_with_token(cloud: Cloud, patch: pytest.MonkeyPatch, _: Path) -> None:
    cloud.lifetime = 3600  # variables are never renewed
    found = cloud.keys("variables")
    patch.setenv("AWS_ACCESS_KEY_ID", found["AccessKeyId"])
    patch.setenv("AWS_SECRET_ACCESS_KEY", found["SecretAccessKey"])
    patch.setenv("AWS_SESSION_TOKEN", found["SessionToken"])


def _credentials_file(cloud: Cloud, directory: Path) -> None:
    keys = f"aws_access_key_id = {cloud.access_key}\naws_secret_access_key = {cloud.secret_key}\n"
    (directory / "credentials").write_text(f"[media]\n{keys}")


def from_profile(cloud: Cloud, patch: pytest.MonkeyPatch, directory: Path) -> None:
    _credentials_file(cloud, directory)
    patch.setenv("AWS_PROFILE", "media")


def from_assumed_role(cloud: Cloud, patch: pytest.MonkeyPatch, directory: Path) -> None:
    _credentials_file(cloud, directory)
    (directory / "config").write_text(f"[profile app]\nrole_arn = {cloud.role}\nsource_profile = media\n")
    patch.setenv("AWS_PROFILE", "app")


def from_web_identity(cloud: Cloud, patch: pytest.MonkeyPatch, directory: Path) -> None:
    (directory / "subject").write_text(SUBJECT)
    patch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(directory / "subject"))
    patch.setenv("AWS_ROLE_ARN", cloud.role)


def from_process(cloud: Cloud, patch: pytest.MonkeyPatch, directory: Path) -> None:
    script = directory / "keys.py"
    script.write_text(
        "import json, sys, urllib.request as u\n"
        "ask = u.Request(sys.argv[1] + '/container', headers={'authorization': sys.argv[2]})\n"
        "found = json.load(u.urlopen(ask))\n"
        "found['SessionToken'] = found.pop('Token')\n"
        "print(json.dumps({'Version': 1, **found}))\n"
    )
    command = f"{sys.executable} {script} {cloud.vendor} {SUBJECT}"
    (directory / "config").write_text(f"[profile app]\ncredential_process = {command}\n")
    patch.setenv("AWS_PROFILE", "app")


def from_container(cloud: Cloud, patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{cloud.vendor}/container")
    patch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", SUBJECT)


def from_machine(cloud: Cloud, patch: pytest.MonkeyPatch, _: Path) -> None:
    cloud.lifetime = 3600  # see the top of this file
    patch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    patch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", cloud.vendor)


LASTING = {from_variables: [], from_variables_with_token: ["variables"], from_profile: [], from_machine: ["machine"]}
RENEWED = {
    from_assumed_role: "AssumeRole",
    from_web_identity: "AssumeRoleWithWebIdentity",
    from_process: "container",
    from_container: "container",
}
