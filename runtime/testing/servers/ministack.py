"""MiniStack with ``AUTH=true``: S3, IAM, KMS and STS in one Python process that checks signatures and policies."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from runtime.testing.servers._errors import ServerFailedError
from runtime.testing.servers._process import LOOPBACK
from runtime.testing.servers._recipe import Keys, Recipe, Site

if TYPE_CHECKING:
    from runtime.testing.servers._install import Toolbox

OK = 200
IAM = "{https://iam.amazonaws.com/doc/2010-05-08/}"
USER = "tandem"
# MiniStack takes its root key `test` at its word and checks no signature of it: good for making a user whose key is
# checked, and for nothing else
ROOT = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0"


class MiniStack(Recipe):
    """Runs in an environment of its own: it pins a botocore that no aioboto3 allows."""

    name = "ministack"
    probe = "/_ministack/health"

    def program(self, toolbox: Toolbox) -> list[str]:
        return [str(toolbox.python_environment("ministack")), "-m", "ministack"]

    def arguments(self, site: Site) -> list[str]:  # noqa: ARG002 - configured by environment only
        return []

    def environment(self, site: Site) -> dict[str, str]:
        return super().environment(site) | {
            "BIND_HOST": LOOPBACK,  # its default is every interface
            "GATEWAY_PORT": str(site.port),
            "AUTH": "true",
            "IOT_MTLS_ENABLED": "0",  # would listen on 8883 of every interface
            "SFTP_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
        }

    def admit(self, site: Site) -> Keys:
        """Make an administrator, whose signatures are checked, and give its key."""
        _iam(site, Action="CreateUser", UserName=USER)
        policy = "arn:aws:iam::aws:policy/AdministratorAccess"
        _iam(site, Action="AttachUserPolicy", UserName=USER, PolicyArn=policy)
        answer = _iam(site, Action="CreateAccessKey", UserName=USER)
        access, secret = (answer.findtext(f".//{IAM}{tag}") for tag in ("AccessKeyId", "SecretAccessKey"))
        if not access or not secret:
            raise ServerFailedError("ministack made no access key for its first user")
        return Keys(access, secret)


def _iam(site: Site, **parameters: str) -> ET.Element:
    """One call of the IAM query API, as root."""
    connection = http.client.HTTPConnection(LOOPBACK, site.port, timeout=30)
    try:
        headers = {"Authorization": ROOT, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/", urlencode({**parameters, "Version": "2010-05-08"}), headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != OK:
        raise ServerFailedError(f"ministack refused {parameters['Action']} with {response.status}")
    return ET.fromstring(body)  # noqa: S314 - the answer of a server that we started


recipe = MiniStack()
