"""``cloudflare:index/accountToken:AccountToken``: on an emulator a user of its IAM, with a key and a policy.

The user may do on the bucket what the token's permission says, until the token ends. The key's secret is the server's
own, and not the hash of the token's value that it is on R2: the output ``value`` is the secret itself. Where a server
has no IAM the key is the emulator's own, which is reported.
"""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus
from typing import Any, ClassVar, Final

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from infra.aws import canonical
from infra.engine.providers import s3api
from infra.engine.providers.compare import canonical_policy
from infra.engine.providers.handler import Created, Handler, Live

NO_USER: Final = frozenset({"NoSuchEntity", "NoSuchEntityException"})
EXISTS: Final = frozenset({"EntityAlreadyExists", "EntityAlreadyExistsException"})
NO_SUCH_CALL: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})
NO_USERS: Final = "the server has no users: the key is the emulator's own, which may do everything"
POLICY: Final = "token"

_LISTS: Final = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads")
_READS: Final = ("s3:GetObject",)
_WRITES: Final = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:ListMultipartUploadParts", "s3:PutObject")
_PERMISSIONS: Final = {
    "2efd5506f9c8494dacb1fa10a3e7d5b6": (*_READS, *_WRITES),
    "6a018a9f2fc74eb6b293b0c548f38b39": _READS,
}
"""What Cloudflare's permissions for the objects of a bucket let one do, by their ids; listing is part of both.

Source: https://developers.cloudflare.com/r2/api/tokens/#permission-groups
"""


class Token(Handler[Any]):
    """A token of the account; its id is the access key."""

    type_name = "cloudflare:index/accountToken:AccountToken"
    required = frozenset({"accountId", "name", "policies"})
    names = frozenset({"name"})
    held = frozenset({"expiresOn", "name", "policies"})
    kept: ClassVar = {"accountId": None, "condition": "whoever asks the emulator is on this machine"}
    replace = frozenset({"accountId"})
    secrets = frozenset({"value"})

    def create(self, inputs: dict[str, Any]) -> Created:
        user, users = _user(inputs), True
        try:
            self._make_user(user)
        except ResponseParserError:
            users = False
        except ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] not in NO_SUCH_CALL:
                raise
            users = False
        if not users:  # it took the call for a strange request to S3
            access, secret = self.cloud.keys
            return Created(access, {"value": secret, "userName": ""})
        self._write(user, inputs)
        key = self.cloud.iam.create_access_key(UserName=user)["AccessKey"]
        return Created(key["AccessKeyId"], {"value": key["SecretAccessKey"], "userName": user})

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        user = state.get("userName", _user(state))
        known: dict[str, Any] = {name: state[name] for name in ("expiresOn", "name", "policies") if name in state}
        if not user:
            return Live(known, unheld=dict.fromkeys(("expiresOn", "policies"), NO_USERS))
        listed = s3api.ask(self.cloud.iam.list_access_keys, NO_USER, UserName=user) or {}
        if resource_id not in {key["AccessKeyId"] for key in listed.get("AccessKeyMetadata", ())}:
            return None
        found = s3api.ask(self.cloud.iam.get_user_policy, NO_USER, UserName=user, PolicyName=POLICY)
        document = (found or {}).get("PolicyDocument", "{}")
        text = document if isinstance(document, str) else json.dumps(document)
        same = canonical_policy(text) == canonical_policy(_policy(state))
        return Live(known if same else {**known, "policies": []})  # what it is now has no form on R2

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        del resource_id
        if user := old.get("userName"):
            self._write(user, new)

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        del resource_id
        if user := state.get("userName"):
            self._drop_keys(user)
            s3api.ask(self.cloud.iam.delete_user_policy, NO_USER, UserName=user, PolicyName=POLICY)
            s3api.ask(self.cloud.iam.delete_user, NO_USER, UserName=user)

    def find(self, inputs: dict[str, Any]) -> str | None:
        """Nothing: the secret of a key is shown once, so a key that nobody noted is made anew by `create`."""
        del inputs
        return None

    def _make_user(self, user: str) -> None:
        """Have the user, without the keys that an interrupted creation left."""
        s3api.ask(self.cloud.iam.create_user, EXISTS, UserName=user)
        self._drop_keys(user)

    def _drop_keys(self, user: str) -> None:
        listed = s3api.ask(self.cloud.iam.list_access_keys, NO_USER, UserName=user) or {}
        for key in listed.get("AccessKeyMetadata", ()):
            self.cloud.iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])

    def _write(self, user: str, inputs: dict[str, Any]) -> None:
        self.cloud.iam.put_user_policy(UserName=user, PolicyName=POLICY, PolicyDocument=_policy(inputs))


def _user(inputs: dict[str, Any]) -> str:
    """A user's name for a token's, which may hold anything."""
    return f"r2-{hashlib.sha256(inputs['name'].encode()).hexdigest()[:32]}"


def _policy(inputs: dict[str, Any]) -> str:
    statements = []
    ends = {"DateLessThan": {"aws:CurrentTime": inputs["expiresOn"]}} if inputs.get("expiresOn") else None
    for policy in inputs["policies"]:
        actions = {action for group in policy["permissionGroups"] for action in _PERMISSIONS[group["id"]]}
        buckets = [f"arn:aws:s3:::{key.split('_', 2)[2]}" for key in json.loads(policy["resources"])]
        parts = ((sorted(_LISTS), buckets), (sorted(actions), [f"{bucket}/*" for bucket in buckets]))
        for names, resources in parts:
            statement = {"Action": names, "Effect": policy["effect"].capitalize(), "Resource": resources}
            statements.append({**statement, "Condition": ends} if ends else statement)
    return canonical(statements)
