"""Tokens that the program makes for a grant on R2, and the key pair that each of them is.

A token is for one bucket, ends on a day, and can read or do everything with objects: R2 has nothing between. Its key
pair is a secret of the stack; the contract refers to it by the variables ``<BACKEND>_ACCESS_KEY`` and
``<BACKEND>_SECRET_KEY``, on an emulator by two files. Further tokens of a backend have their name in between.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pulumi

from infra import cloudflare, private
from infra.endpoints import key_file
from runtime.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from infra.backend import BackendSpec, Grant
    from infra.context import Context

KINDS: Final = frozenset({"token"})
"""The identities that are made here."""

READS: Final = "Workers R2 Storage Bucket Item Read"
WRITES: Final = "Workers R2 Storage Bucket Item Write"

EMULATED_GROUPS: Final = {
    READS: "6a018a9f2fc74eb6b293b0c548f38b39",
    WRITES: "2efd5506f9c8494dacb1fa10a3e7d5b6",
}
"""The ids of the two permissions on Cloudflare, which no emulator can be asked for.

Source: https://developers.cloudflare.com/r2/api/tokens/#permission-groups
"""

_READER: Final = frozenset({"read", "list"})
_EVERYTHING: Final = frozenset({"read", "write", "list", "delete"})


def problems(spec: BackendSpec) -> Iterator[Problem]:
    """Grants that no token can express, and tokens that have ended."""
    today = datetime.now(UTC).date()
    for index, grant in enumerate(spec.grants):
        path = f"grants[{index}]"
        if grant.to.known is not None:
            allowed = '{token: {expires: "2027-06-30"}}'
            yield Problem(f"{path}.to", f"found {grant.to.known!r}: access to R2 is by tokens", allowed)
        if set(grant.access) - {"presign"} not in (_READER, _EVERYTHING):
            found = f"found {', '.join(grant.access)}: a token of R2 reads and lists, or does everything with objects"
            yield Problem(
                f"{path}.access", found, "read and list, or read, write, list and delete; presign beside either"
            )
        if (token := grant.to.token) and token.expires <= today:
            found = f"found {token.expires}, which has begun"
            yield Problem(f"{path}.to.token.expires", found, "a later day; the key pair stays the same")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a token's bucket is."""

    account: str
    jurisdiction: str
    name: str

    def resource(self) -> str:
        """What the token is for: the one bucket, in its jurisdiction."""
        return json.dumps({f"com.cloudflare.edge.r2.bucket.{self.account}_{self.jurisdiction}_{self.name}": "*"})


class KeyPair:
    """One grant's token and its key pair.

    Args:
        grant: Whose.
        spec: The backend.
        context: What the backends share.

    Attributes:
        access_key: Variable of the token's id.
        secret_key: Variable of the secret.
        files: On an emulator the file of each variable.
    """

    def __init__(self, grant: Grant, spec: BackendSpec, context: Context) -> None:
        self._grant, self._spec, self._context = grant, spec, context
        first = next(each for each in spec.grants if each.to.token)
        parts = [spec.name] if grant is first or grant.to.token is None else [spec.name, grant.to.token.label]
        name = "_".join(parts).upper().replace("-", "_").replace(".", "_")
        self.access_key, self.secret_key = f"{name}_ACCESS_KEY", f"{name}_SECRET_KEY"
        stem = f"token_{'_'.join(parts)}"
        kinds = ("access_key", "secret_key")
        files = (key_file(context.stack, stem, kind) for kind in kinds)
        self.files: dict[str, Path] = dict(zip((self.access_key, self.secret_key), files, strict=True))

    def references(self) -> dict[str, str]:
        """The key pair as the contract has it."""
        if self._context.emulated("cloudflare"):
            access, secret = (self._context.reference(file) for file in self.files.values())
            return {"access_key": access, "secret_key": secret}
        return {"access_key": f"${{{self.access_key}}}", "secret_key": f"${{{self.secret_key}}}"}

    def make(
        self, bucket: Bucket, opts: pulumi.ResourceOptions, parent: pulumi.Resource
    ) -> tuple[cloudflare.Token, dict[str, pulumi.Output[str]]]:
        """The token for a bucket, and the values of the variables."""
        spec, emulated = self._spec, self._context.emulated("cloudflare")
        label = self._grant.to.token.label if self._grant.to.token else ""
        group = EMULATED_GROUPS[self._permission()]
        found = group if emulated else cloudflare.permission_group(bucket.account, self._permission(), parent)
        policy = cloudflare.TokenPolicy(
            effect="allow",
            permission_groups=(cloudflare.PermissionGroup(id=found),),
            resources=bucket.resource(),
        )
        args = cloudflare.TokenArgs(
            account_id=bucket.account,
            name=f"{bucket.name} {label}",
            policies=(policy,),
            expires_on=self._expiry(),
            condition=self._condition(),
        )
        token = cloudflare.Token(f"{spec.name}-token-{label}", args, opts)
        value = token.value if emulated else token.value.apply(derived_secret)  # an emulator makes secrets of its own
        secret: pulumi.Output[str] = pulumi.Output.secret(value)
        if emulated and not pulumi.runtime.is_dry_run():
            pulumi.Output.all(token.id, secret).apply(self._write)
        return token, {self.access_key: pulumi.Output.secret(token.id), self.secret_key: secret}

    def _write(self, values: Collection[str]) -> None:
        for file, value in zip(self.files.values(), values, strict=True):
            if not file.is_file() or file.read_text() != value:
                private.write(file, value)

    def _permission(self) -> str:
        return WRITES if "write" in self._grant.access else READS

    def _condition(self) -> cloudflare.TokenCondition | None:
        ips = self._grant.to.token.ips if self._grant.to.token else ()
        return cloudflare.TokenCondition(request_ip=cloudflare.RequestIp(ins=ips)) if ips else None

    def _expiry(self) -> str:
        return f"{self._grant.to.token.expires}T00:00:00Z" if self._grant.to.token else ""


def derived_secret(value: str) -> str:
    """The secret access key that goes with a token's id: SHA-256 of its value.

    >>> derived_secret("abc")[:16]
    'ba7816bf8f01cfea'

    Source:
        https://developers.cloudflare.com/r2/api/tokens/#get-s3-api-credentials-from-an-api-token
    """
    return hashlib.sha256(value.encode()).hexdigest()
