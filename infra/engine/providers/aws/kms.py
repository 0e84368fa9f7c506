"""``aws:kms/key:Key`` and ``aws:kms/alias:Alias``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from infra.engine.providers import s3api
from infra.engine.providers.aws.cloud import Aws
from infra.engine.providers.base import Created, Handler, Live

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_FOUND: Final = frozenset({"NotFoundException"})
GONE: Final = frozenset({"PendingDeletion", "PendingReplicaDeletion"})


class Key(Handler[Aws]):
    """A customer's key. One that waits for its deletion counts as gone, as nothing can use it."""

    type_name = "aws:kms/key:Key"
    held = frozenset({
        "description", "policy", "enableKeyRotation", "rotationPeriodInDays", "isEnabled", "keyUsage",
        "customerMasterKeySpec", "multiRegion", "tags",
    })  # fmt: skip
    kept: ClassVar[Mapping[str, str | None]] = {
        "deletionWindowInDays": None,  # an argument of the deletion
        "bypassPolicyLockoutSafetyCheck": None,  # an argument of PutKeyPolicy
        "region": None,
    }
    filled = frozenset({"region", "policy", "keyUsage", "customerMasterKeySpec", "rotationPeriodInDays"})
    replace = frozenset({"keyUsage", "customerMasterKeySpec", "multiRegion", "region"})
    policies = frozenset({"policy"})
    defaults: ClassVar[Mapping[str, Any]] = {"isEnabled": True}

    def create(self, inputs: dict[str, Any]) -> Created:
        asked = {
            "Description": inputs.get("description"),
            "KeySpec": inputs.get("customerMasterKeySpec"),
            "KeyUsage": inputs.get("keyUsage"),
            "MultiRegion": inputs.get("multiRegion"),
            "Policy": inputs.get("policy"),
            "Tags": _tag_list(self.cloud.all_tags(inputs)),
        }
        kms = self.cloud.kms(inputs)
        answer = kms.create_key(**{name: value for name, value in asked.items() if value})
        key_id: str = answer["KeyMetadata"]["KeyId"]
        _rotate(kms, key_id, inputs)
        _enable(kms, key_id, inputs)
        return Created(key_id)

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        kms = self.cloud.kms(state)
        found = s3api.ask(kms.describe_key, NOT_FOUND, KeyId=resource_id)
        if found is None or found["KeyMetadata"]["KeyState"] in GONE:
            return None
        key = found["KeyMetadata"]
        rotation = kms.get_key_rotation_status(KeyId=resource_id) if key["Enabled"] else {}
        tags = {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=resource_id)["Tags"]}
        region = self.cloud.region_of(state)
        inputs = {
            "customerMasterKeySpec": key["KeySpec"],
            "description": key["Description"],
            "enableKeyRotation": rotation.get("KeyRotationEnabled", state.get("enableKeyRotation")),
            "isEnabled": key["Enabled"],
            "keyUsage": key["KeyUsage"],
            "multiRegion": key.get("MultiRegion", False),
            "policy": kms.get_key_policy(KeyId=resource_id, PolicyName="default")["Policy"],
            "rotationPeriodInDays": rotation.get("RotationPeriodInDays", state.get("rotationPeriodInDays")),
            "tags": self.cloud.own_tags(tags, state),
        }
        return Live(inputs, {"arn": key["Arn"], "keyId": key["KeyId"], "region": region, "tagsAll": tags})

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        kms = self.cloud.kms(old)
        if not old.get("isEnabled", True) and new.get("isEnabled", True):
            kms.enable_key(KeyId=resource_id)  # a disabled key takes no other change
        if new.get("policy") and new["policy"] != old.get("policy"):
            kms.put_key_policy(KeyId=resource_id, PolicyName="default", Policy=new["policy"])
        if new.get("description", "") != old.get("description", ""):
            kms.update_key_description(KeyId=resource_id, Description=new.get("description", ""))
        _rotate(kms, resource_id, new)
        _tag(kms, resource_id, self.cloud.all_tags(old), self.cloud.all_tags(new))
        _enable(kms, resource_id, new)

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        days = state.get("deletionWindowInDays") or 30
        absent = NOT_FOUND | {"KMSInvalidStateException"}  # the second: it is being deleted already
        call = self.cloud.kms(state).schedule_key_deletion
        s3api.ask(call, absent, KeyId=resource_id, PendingWindowInDays=days)

    def find(self, inputs: dict[str, Any]) -> str | None:
        # a key has no name: the same description, tags and policy on a key without an alias is as near as it gets
        kms = self.cloud.kms(inputs)
        used = {entry.get("TargetKeyId") for page in _pages(kms, "list_aliases") for entry in page["Aliases"]}
        for page in _pages(kms, "list_keys"):
            for entry in page["Keys"]:
                live = None if entry["KeyId"] in used else self.read(entry["KeyId"], inputs)
                names = ("description", "tags", "policy") if "policy" in inputs else ("description", "tags")
                if live and inputs.get("description") and _same(self, live.inputs, inputs, names):
                    return str(entry["KeyId"])
        return None


class Alias(Handler[Aws]):
    """A name for a key."""

    type_name = "aws:kms/alias:Alias"
    required = frozenset({"name", "targetKeyId"})
    names = frozenset({"name"})
    held = frozenset({"name", "targetKeyId"})
    kept: ClassVar[Mapping[str, str | None]] = {"region": None}
    filled = frozenset({"region"})
    replace = frozenset({"name", "region"})

    def create(self, inputs: dict[str, Any]) -> Created:
        self.cloud.kms(inputs).create_alias(AliasName=inputs["name"], TargetKeyId=inputs["targetKeyId"])
        return Created(inputs["name"])

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        found = s3api.ask(self.cloud.kms(state).describe_key, NOT_FOUND, KeyId=resource_id)
        if found is None:
            return None
        arn, key_id = found["KeyMetadata"]["Arn"], found["KeyMetadata"]["KeyId"]
        target = state.get("targetKeyId")
        inputs = {"name": resource_id, "targetKeyId": target if target in {arn, key_id} else key_id}
        outputs = {
            "arn": f"{arn.rpartition(':')[0]}:{resource_id}",
            "targetKeyArn": arn,
            "region": self.cloud.region_of(state),
        }
        return Live(inputs, outputs)

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        self.cloud.kms(old).update_alias(AliasName=resource_id, TargetKeyId=new["targetKeyId"])

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        s3api.ask(self.cloud.kms(state).delete_alias, NOT_FOUND, AliasName=resource_id)


def _rotate(kms: Any, key_id: str, inputs: dict[str, Any]) -> None:
    if inputs.get("enableKeyRotation"):
        period = inputs.get("rotationPeriodInDays")
        more = {"RotationPeriodInDays": period} if period else {}
        kms.enable_key_rotation(KeyId=key_id, **more)
    elif kms.get_key_rotation_status(KeyId=key_id).get("KeyRotationEnabled"):
        kms.disable_key_rotation(KeyId=key_id)


def _enable(kms: Any, key_id: str, inputs: dict[str, Any]) -> None:
    if not inputs.get("isEnabled", True):
        kms.disable_key(KeyId=key_id)


def _tag(kms: Any, key_id: str, before: dict[str, str], after: dict[str, str]) -> None:
    if gone := sorted(before.keys() - after.keys()):
        kms.untag_resource(KeyId=key_id, TagKeys=gone)
    if after and after != before:
        kms.tag_resource(KeyId=key_id, Tags=_tag_list(after))


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in sorted(tags.items())]


def _pages(api: Any, operation: str) -> Any:
    return api.get_paginator(operation).paginate()


def _same(handler: Key, one: dict[str, Any], other: dict[str, Any], names: tuple[str, ...]) -> bool:
    first, second = (handler.normal({name: side.get(name) for name in names}) for side in (one, other))
    return first == second


HANDLERS = (Key, Alias)
