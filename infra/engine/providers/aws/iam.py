"""``aws:iam/policy:Policy``, roles, and what ties them together."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

from infra.engine.providers import s3api
from infra.engine.providers.aws.cloud import Aws
from infra.engine.providers.base import Created, Handler, Live

NO_ENTITY: Final = frozenset({"NoSuchEntity", "NoSuchEntityException"})
MOST_VERSIONS: Final = 5
"""Versions that a managed policy can have.

Source:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def _tags(entries: list[dict[str, str]]) -> dict[str, str]:
    return {entry["Key"]: entry["Value"] for entry in entries}


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)  # botocore decodes some of them


class Policy(Handler[Aws]):
    """A managed policy; its id is its ARN."""

    type_name = "aws:iam/policy:Policy"
    required = frozenset({"name", "policy"})
    names = frozenset({"name", "path"})
    held = frozenset({"name", "path", "description", "policy", "tags"})
    kept: ClassVar = {"delayAfterPolicyCreationInMs": None}
    replace = frozenset({"name", "path", "description"})
    policies = frozenset({"policy"})
    defaults: ClassVar = {"path": "/"}

    def create(self, inputs: dict[str, Any]) -> Created:
        answer = self.cloud.iam.create_policy(
            PolicyName=inputs["name"],
            Path=inputs.get("path", "/"),
            Description=inputs.get("description", ""),
            PolicyDocument=inputs["policy"],
            Tags=_tag_list(self.cloud.all_tags(inputs)),
        )
        return Created(answer["Policy"]["Arn"])

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        iam = self.cloud.iam
        found = s3api.ask(iam.get_policy, NO_ENTITY, PolicyArn=resource_id)
        if found is None:
            return None
        policy = found["Policy"]
        version = iam.get_policy_version(PolicyArn=resource_id, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        tags = _tags(iam.list_policy_tags(PolicyArn=resource_id)["Tags"])
        inputs = {
            "name": policy["PolicyName"],
            "path": policy["Path"],
            "description": policy.get("Description", state.get("description")),
            "policy": _text(version["Document"]),
            "tags": self.cloud.own_tags(tags, state),
        }
        return Live(inputs, {"arn": resource_id, "policyId": policy["PolicyId"], "tagsAll": tags})

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        iam = self.cloud.iam
        if old.get("policy") != new["policy"]:
            versions = iam.list_policy_versions(PolicyArn=resource_id)["Versions"]
            spare = sorted((v for v in versions if not v["IsDefaultVersion"]), key=lambda v: v["CreateDate"])
            if len(versions) >= MOST_VERSIONS:
                iam.delete_policy_version(PolicyArn=resource_id, VersionId=spare[0]["VersionId"])
            iam.create_policy_version(PolicyArn=resource_id, PolicyDocument=new["policy"], SetAsDefault=True)
        before, after = self.cloud.all_tags(old), self.cloud.all_tags(new)
        if gone := sorted(before.keys() - after.keys()):
            iam.untag_policy(PolicyArn=resource_id, TagKeys=gone)
        if after and after != before:
            iam.tag_policy(PolicyArn=resource_id, Tags=_tag_list(after))

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        del state
        iam = self.cloud.iam
        listed = s3api.ask(iam.list_policy_versions, NO_ENTITY, PolicyArn=resource_id)
        for version in (listed or {}).get("Versions", ()):
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=resource_id, VersionId=version["VersionId"])
        s3api.ask(iam.delete_policy, NO_ENTITY, PolicyArn=resource_id)

    def find(self, inputs: dict[str, Any]) -> str | None:
        pages = self.cloud.iam.get_paginator("list_policies").paginate(Scope="Local")
        policies = (policy for page in pages for policy in page["Policies"])
        return next((policy["Arn"] for policy in policies if policy["PolicyName"] == inputs["name"]), None)


class Role(Handler[Aws]):
    """A role; its id is its name."""

    type_name = "aws:iam/role:Role"
    required = frozenset({"name", "assumeRolePolicy"})
    names = frozenset({"name"})
    held = frozenset({"name", "path", "description", "assumeRolePolicy", "maxSessionDuration", "tags"})
    kept: ClassVar = {"forceDetachPolicies": None}
    replace = frozenset({"name", "path"})
    policies = frozenset({"assumeRolePolicy"})
    defaults: ClassVar = {"path": "/", "maxSessionDuration": 3600}

    def create(self, inputs: dict[str, Any]) -> Created:
        self.cloud.iam.create_role(
            RoleName=inputs["name"],
            Path=inputs.get("path", "/"),
            Description=inputs.get("description", ""),
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            MaxSessionDuration=inputs.get("maxSessionDuration", 3600),
            Tags=_tag_list(self.cloud.all_tags(inputs)),
        )
        return Created(inputs["name"])

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        found = s3api.ask(self.cloud.iam.get_role, NO_ENTITY, RoleName=resource_id)
        if found is None:
            return None
        role = found["Role"]
        tags = _tags(self.cloud.iam.list_role_tags(RoleName=resource_id)["Tags"])
        inputs = {
            "name": role["RoleName"],
            "path": role["Path"],
            "description": role.get("Description", ""),
            "assumeRolePolicy": _text(role["AssumeRolePolicyDocument"]),
            "maxSessionDuration": role.get("MaxSessionDuration", 3600),
            "tags": self.cloud.own_tags(tags, state),
        }
        return Live(inputs, {"arn": role["Arn"], "uniqueId": role["RoleId"], "tagsAll": tags})

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        iam = self.cloud.iam
        if old.get("assumeRolePolicy") != new["assumeRolePolicy"]:
            iam.update_assume_role_policy(RoleName=resource_id, PolicyDocument=new["assumeRolePolicy"])
        iam.update_role(
            RoleName=resource_id,
            Description=new.get("description", ""),
            MaxSessionDuration=new.get("maxSessionDuration", 3600),
        )
        before, after = self.cloud.all_tags(old), self.cloud.all_tags(new)
        if gone := sorted(before.keys() - after.keys()):
            iam.untag_role(RoleName=resource_id, TagKeys=gone)
        if after and after != before:
            iam.tag_role(RoleName=resource_id, Tags=_tag_list(after))

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        iam = self.cloud.iam
        if state.get("forceDetachPolicies"):
            attached = s3api.ask(iam.list_attached_role_policies, NO_ENTITY, RoleName=resource_id) or {}
            for policy in attached.get("AttachedPolicies", ()):
                iam.detach_role_policy(RoleName=resource_id, PolicyArn=policy["PolicyArn"])
        s3api.ask(iam.delete_role, NO_ENTITY, RoleName=resource_id)


class RolePolicy(Handler[Aws]):
    """A policy written into a role; its id is ``role:name``."""

    type_name = "aws:iam/rolePolicy:RolePolicy"
    required = held = frozenset({"name", "role", "policy"})
    names = replace = frozenset({"name", "role"})
    policies = frozenset({"policy"})

    def create(self, inputs: dict[str, Any]) -> Created:
        self.cloud.iam.put_role_policy(
            RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"]
        )
        return Created(f"{inputs['role']}:{inputs['name']}")

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        del state
        role, _, name = resource_id.partition(":")
        found = s3api.ask(self.cloud.iam.get_role_policy, NO_ENTITY, RoleName=role, PolicyName=name)
        if found is None:
            return None
        return Live({"name": name, "role": role, "policy": _text(found["PolicyDocument"])})

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        del resource_id, old
        self.create(new)

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        del state
        role, _, name = resource_id.partition(":")
        s3api.ask(self.cloud.iam.delete_role_policy, NO_ENTITY, RoleName=role, PolicyName=name)


class RolePolicyAttachment(Handler[Aws]):
    """A managed policy given to a role; its id is ``role/arn``."""

    type_name = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    required = held = names = replace = frozenset({"role", "policyArn"})

    def create(self, inputs: dict[str, Any]) -> Created:
        self.cloud.iam.attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
        return Created(f"{inputs['role']}/{inputs['policyArn']}")

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        del state
        role, _, arn = resource_id.partition("/")
        found = s3api.ask(self.cloud.iam.list_attached_role_policies, NO_ENTITY, RoleName=role) or {}
        attached = any(policy["PolicyArn"] == arn for policy in found.get("AttachedPolicies", ()))
        return Live({"role": role, "policyArn": arn}) if attached else None

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Never asked: both properties replace."""

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        del state
        role, _, arn = resource_id.partition("/")
        s3api.ask(self.cloud.iam.detach_role_policy, NO_ENTITY, RoleName=role, PolicyArn=arn)


HANDLERS = (Policy, Role, RolePolicy, RolePolicyAttachment)
