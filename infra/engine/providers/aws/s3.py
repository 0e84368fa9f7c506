"""The settings of an S3 bucket, one resource each: ``aws:s3/bucketCorsConfiguration:…`` and its siblings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Final

from infra.engine.providers import s3api
from infra.engine.providers.aws.cloud import Aws
from infra.engine.providers.base import Created, Handler, Live
from infra.engine.providers.compare import canonical_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCKS_OUT: Final = "not sent: over http it would deny everybody everything"


class Setting(Handler[Aws]):
    """One sub-resource of a bucket, written as a whole; its id is the bucket's name.

    Attributes:
        put: Operation that writes it, in botocore's CamelCase.
        member: Member of that operation's input that holds the setting.
        verbs: The client's methods: read, write, remove.
        absent: Codes that mean that the bucket has no such setting.
    """

    put: ClassVar[str]
    member: ClassVar[str]
    verbs: ClassVar[tuple[str, str, str]]
    absent: ClassVar[frozenset[str]] = frozenset()

    required = names = frozenset({"bucket"})
    replace = frozenset({"bucket", "region"})
    kept: ClassVar[Mapping[str, str | None]] = {"region": None, "expectedBucketOwner": None}
    filled = frozenset({"region"})

    def create(self, inputs: dict[str, Any]) -> Created:
        self._write(inputs)
        return Created(inputs["bucket"])

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        call = getattr(self.cloud.s3(state), self.verbs[0])
        answer = s3api.ask(call, self.absent | s3api.NO_BUCKET, Bucket=resource_id)
        inputs = None if answer is None else self.shown(answer, state)
        if inputs is None:
            return None
        return Live({"bucket": resource_id, **inputs}, {"region": self.cloud.region_of(state)})

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        self._write({"region": old.get("region"), **new, "bucket": resource_id})  # the setting is replaced as a whole

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        if not state.get("skipDestroy"):
            call = getattr(self.cloud.s3(state), self.verbs[2])
            s3api.ask(call, self.absent | s3api.NO_BUCKET, Bucket=resource_id)

    def asked(self, inputs: dict[str, Any]) -> Any:
        """The setting, as the program's names have it, for `to_api`."""
        return {name: inputs[name] for name in self.held if name in inputs and name != "bucket"}

    def shown(self, answer: dict[str, Any], state: dict[str, Any]) -> dict[str, Any] | None:
        """The inputs that an answer stands for, or None when it says that there is no setting."""
        del state
        found: dict[str, Any] = s3api.from_api(answer.get(self.member, answer))
        return found

    def _write(self, inputs: dict[str, Any], **more: Any) -> None:
        s3 = self.cloud.s3(inputs)
        shape = s3api.input_shape(s3, self.put, self.member)
        body = s3api.to_api(shape, self.asked(inputs))
        getattr(s3, self.verbs[1])(Bucket=inputs["bucket"], **{self.member: body}, **more)


class PublicAccessBlock(Setting):
    """Who can not make the bucket public."""

    type_name = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    put, member = "PutPublicAccessBlock", "PublicAccessBlockConfiguration"
    verbs = ("get_public_access_block", "put_public_access_block", "delete_public_access_block")
    absent = frozenset({"NoSuchPublicAccessBlockConfiguration"})
    held = frozenset({"bucket", "blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"})
    kept: ClassVar[Mapping[str, str | None]] = {**Setting.kept, "skipDestroy": None}


class OwnershipControls(Setting):
    """Whether object ACLs count."""

    type_name = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    put, member = "PutBucketOwnershipControls", "OwnershipControls"
    verbs = ("get_bucket_ownership_controls", "put_bucket_ownership_controls", "delete_bucket_ownership_controls")
    absent = frozenset({"OwnershipControlsNotFoundError"})
    held = frozenset({"bucket", "rule"})

    def asked(self, inputs: dict[str, Any]) -> Any:
        return {"rules": [inputs["rule"]]}

    def shown(self, answer: dict[str, Any], state: dict[str, Any]) -> dict[str, Any] | None:
        rules = (super().shown(answer, state) or {}).get("rules")
        return {"rule": rules[0]} if rules else None


class Encryption(Setting):
    """How objects are encrypted when the upload does not say."""

    type_name = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    put, member = "PutBucketEncryption", "ServerSideEncryptionConfiguration"
    verbs = ("get_bucket_encryption", "put_bucket_encryption", "delete_bucket_encryption")
    absent = frozenset({"ServerSideEncryptionConfigurationNotFoundError"})
    held = frozenset({"bucket", "rules"})
    unordered = frozenset({"blockedEncryptionTypes"})

    def asked(self, inputs: dict[str, Any]) -> Any:
        rules = [dict(rule) for rule in inputs["rules"]]
        for rule in rules:
            if "blockedEncryptionTypes" in rule:
                rule["blockedEncryptionTypes"] = {"encryptionType": rule["blockedEncryptionTypes"]}
        return {"rules": rules}

    def shown(self, answer: dict[str, Any], state: dict[str, Any]) -> dict[str, Any] | None:
        found = super().shown(answer, state) or {}
        for rule in found["rules"]:
            if "blockedEncryptionTypes" in rule:
                rule["blockedEncryptionTypes"] = rule["blockedEncryptionTypes"].get("encryptionType")
        return found


class Versioning(Setting):
    """Whether overwritten objects stay."""

    type_name = "aws:s3/bucketVersioning:BucketVersioning"
    put, member = "PutBucketVersioning", "VersioningConfiguration"
    verbs = ("get_bucket_versioning", "put_bucket_versioning", "")
    held = frozenset({"bucket", "versioningConfiguration"})
    kept: ClassVar[Mapping[str, str | None]] = {**Setting.kept, "mfa": None}

    def asked(self, inputs: dict[str, Any]) -> Any:
        return inputs["versioningConfiguration"]

    def shown(self, answer: dict[str, Any], state: dict[str, Any]) -> dict[str, Any] | None:
        wanted = state.get("versioningConfiguration") or {}
        if not answer and wanted.get("status") != "Disabled":
            return None  # never switched on: the bucket was made anew
        return {"versioningConfiguration": {"status": "Disabled", **s3api.from_api(answer)}}

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        if (state.get("versioningConfiguration") or {}).get("status") == "Enabled":
            suspended = {"Status": "Suspended"}  # there is no way back to "never versioned"
            call = self.cloud.s3(state).put_bucket_versioning
            s3api.ask(call, Bucket=resource_id, VersioningConfiguration=suspended)

    def _write(self, inputs: dict[str, Any], **more: Any) -> None:
        if inputs["versioningConfiguration"].get("status") != "Disabled":
            super()._write(inputs, **more)


class Lifecycle(Setting):
    """What expires when."""

    type_name = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    put, member = "PutBucketLifecycleConfiguration", "LifecycleConfiguration"
    verbs = ("get_bucket_lifecycle_configuration", "put_bucket_lifecycle_configuration", "delete_bucket_lifecycle")
    absent = frozenset({"NoSuchLifecycleConfiguration"})
    held = frozenset({"bucket", "rules", "transitionDefaultMinimumObjectSize"})
    filled = frozenset({"region", "transitionDefaultMinimumObjectSize"})
    kept: ClassVar[Mapping[str, str | None]] = {**Setting.kept, "timeouts": None}

    def asked(self, inputs: dict[str, Any]) -> Any:
        whole = {"filter": {"prefix": ""}}  # the API wants a filter, and this one is every object
        return {"rules": [rule if "filter" in rule or "prefix" in rule else whole | rule for rule in inputs["rules"]]}

    def shown(self, answer: dict[str, Any], state: dict[str, Any]) -> dict[str, Any] | None:
        found = super().shown(answer, state) or {}
        for rule in found["rules"]:
            both = rule.get("filter", {}).get("and", {})
            if both.get("objectSizeGreaterThan") == 0:  # what the API shows for "any size"
                del both["objectSizeGreaterThan"]
        return found

    def _write(self, inputs: dict[str, Any], **more: Any) -> None:
        size = inputs.get("transitionDefaultMinimumObjectSize")
        if size:
            more["TransitionDefaultMinimumObjectSize"] = size
        super()._write(inputs, **more)


class Policy(Setting):
    """The bucket policy.

    A statement that denies requests without TLS is not sent to a server that is reached over http: it would deny
    everybody everything, the removal of the policy included. It is kept in the state and reported.
    """

    type_name = "aws:s3/bucketPolicy:BucketPolicy"
    put, member = "PutBucketPolicy", "Policy"
    verbs = ("get_bucket_policy", "put_bucket_policy", "delete_bucket_policy")
    absent = frozenset({"NoSuchBucketPolicy"})
    required = frozenset({"bucket", "policy"})
    held = policies = frozenset({"bucket", "policy"})

    def asked(self, inputs: dict[str, Any]) -> Any:
        document = json.loads(inputs["policy"])
        document["Statement"] = [entry for entry in _statements(document) if not self._locks_out(entry)]
        return json.dumps(document)

    def shown(self, answer: dict[str, Any], state: dict[str, Any]) -> dict[str, Any] | None:
        del state
        return {"policy": answer["Policy"]}

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        live = super().read(resource_id, state)
        if not state.get("policy"):
            return live
        statements = _statements(json.loads(state["policy"]))
        withheld = {i: entry for i, entry in enumerate(statements) if self._locks_out(entry)}
        if not withheld:
            return live
        if live is None:
            there = s3api.ask(self.cloud.s3(state).head_bucket, Bucket=resource_id) is not None
            if len(withheld) < len(statements) or not there:
                return None
            live = Live({"bucket": resource_id}, {"region": self.cloud.region_of(state)})  # nothing was left to send
        document = json.loads(live.inputs.get("policy", '{"Statement": []}'))
        sent = canonical_policy(self.asked(state))
        same = canonical_policy(json.dumps(document)).get("Statement") == sent["Statement"]
        document["Statement"] = [*_statements(document), *withheld.values()]
        policy = state["policy"] if same else json.dumps(document)
        unheld = {f"policy.Statement[{index}]": LOCKS_OUT for index in withheld}
        return Live({**live.inputs, "policy": policy}, live.outputs, unheld)

    def _write(self, inputs: dict[str, Any], **more: Any) -> None:
        if json.loads(self.asked(inputs))["Statement"]:
            super()._write(inputs, **more)
        else:
            self.delete(inputs["bucket"], inputs)

    def _locks_out(self, statement: dict[str, Any]) -> bool:
        secure = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
        return self.cloud.speaks_http and statement.get("Effect") == "Deny" and str(secure).lower() == "false"


class Cors(Setting):
    """Which web pages may use the bucket."""

    type_name = "aws:s3/bucketCorsConfiguration:BucketCorsConfiguration"
    put, member = "PutBucketCors", "CORSConfiguration"
    verbs = ("get_bucket_cors", "put_bucket_cors", "delete_bucket_cors")
    absent = frozenset({"NoSuchCORSConfiguration"})
    held = frozenset({"bucket", "corsRules"})
    unordered = frozenset({"allowedHeaders", "allowedMethods", "allowedOrigins", "exposeHeaders"})


class ObjectLock(Setting):
    """How long objects can not be deleted; there while the bucket is, as nothing takes a lock away."""

    type_name = "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration"
    put, member = "PutObjectLockConfiguration", "ObjectLockConfiguration"
    verbs = ("get_object_lock_configuration", "put_object_lock_configuration", "")
    absent = frozenset({"ObjectLockConfigurationNotFoundError"})
    held = frozenset({"bucket", "objectLockEnabled", "rule"})
    kept: ClassVar[Mapping[str, str | None]] = {**Setting.kept, "token": None}
    defaults: ClassVar[Mapping[str, Any]] = {"objectLockEnabled": "Enabled"}

    def asked(self, inputs: dict[str, Any]) -> Any:
        return {**self.defaults, **super().asked(inputs)}

    def shown(self, answer: dict[str, Any], state: dict[str, Any]) -> dict[str, Any] | None:
        found = super().shown(answer, state) or {}
        return found if found.get("rule") else None

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        call, absent = self.cloud.s3(state).put_object_lock_configuration, self.absent | s3api.NO_BUCKET
        s3api.ask(call, absent, Bucket=resource_id, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})


class Logging(Setting):
    """Where the access log goes."""

    type_name = "aws:s3/bucketLogging:BucketLogging"
    put, member = "PutBucketLogging", "BucketLoggingStatus"
    verbs = ("get_bucket_logging", "put_bucket_logging", "")
    required = frozenset({"bucket", "targetBucket"})
    held = frozenset({"bucket", "targetBucket", "targetPrefix", "targetGrants", "targetObjectKeyFormat"})

    def asked(self, inputs: dict[str, Any]) -> Any:
        return {"loggingEnabled": {"targetPrefix": "", **super().asked(inputs)}}

    def shown(self, answer: dict[str, Any], state: dict[str, Any]) -> dict[str, Any] | None:
        del state
        enabled: dict[str, Any] | None = s3api.from_api(answer.get("LoggingEnabled"))
        return enabled

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        s3api.ask(self.cloud.s3(state).put_bucket_logging, Bucket=resource_id, BucketLoggingStatus={})


def _statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    found = document.get("Statement", [])
    return found if isinstance(found, list) else [found]


HANDLERS = (PublicAccessBlock, OwnershipControls, Encryption, Versioning, Lifecycle, Policy, Cors, ObjectLock, Logging)
