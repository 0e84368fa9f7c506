"""The stand-in for ``pulumi_cloudflare``: R2 buckets, their CORS rules and lifecycle, on a server that speaks S3.

The provider's ``base_url`` is that server, its ``api_token`` is ``<access key>:<secret key>``. What only Cloudflare's
own API has (jurisdiction, locks, domains) is kept in the state and reported as not held.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from infra.engine.providers import s3api
from infra.engine.providers.base import Created, Handler, Live, StandIn
from infra.engine.providers.cloudflare_token import Token
from infra.engine.providers.loopback import require_loopback
from runtime.errors import ConfigError

REGION: Final = "us-east-1"  # emulators take R2's "auto" for objects, not for the creation of a bucket
DAY: Final = 24 * 60 * 60
"""Seconds; R2 counts ages in them, S3 in days."""

NO_API: Final = "the S3 API has nothing like it"
ONE_PLACE: Final = "the emulator keeps everything on this machine"
CORS_ABSENT: Final = s3api.NO_BUCKET | {"NoSuchCORSConfiguration"}
LIFECYCLE_ABSENT: Final = s3api.NO_BUCKET | {"NoSuchLifecycleConfiguration"}

_STORAGE_CLASSES: Final = {"InfrequentAccess": "STANDARD_IA", "Standard": "STANDARD"}
_R2_CLASSES: Final = {theirs: ours for ours, theirs in _STORAGE_CLASSES.items()}


class R2:
    """The clients of the emulator: its S3, and the IAM that some have beside it.

    Attributes:
        keys: The emulator's own key pair.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        url = require_loopback(settings.get("baseUrl"), "cloudflare:Provider base_url")
        access_key, _, secret_key = (settings.get("apiToken") or "").partition(":")
        if not secret_key:
            raise ConfigError("cloudflare:Provider api_token must be '<access key>:<secret key>' of the emulator")
        self.s3: Any = s3api.client("s3", url, REGION, access_key, secret_key)
        self.keys = (access_key, secret_key)
        self.iam: Any = s3api.client("iam", url, REGION, access_key, secret_key)

    def has(self, bucket: str) -> bool:
        """Whether a bucket exists."""
        return s3api.ask(self.s3.head_bucket, Bucket=bucket) is not None


class Bucket(Handler[R2]):
    """An R2 bucket; always encrypted, its id is its name."""

    type_name = "cloudflare:index/r2Bucket:R2Bucket"
    required = frozenset({"accountId", "name"})
    names = held = frozenset({"name"})
    kept: ClassVar = {"accountId": None, "jurisdiction": ONE_PLACE, "location": ONE_PLACE, "storageClass": NO_API}
    replace = frozenset({"accountId", "jurisdiction", "location", "name"})

    def own_id(self, import_id: str) -> str:
        """``<account>/<bucket>/<jurisdiction>`` is what Cloudflare imports by."""
        parts = import_id.split("/")
        return parts[1] if len(parts) > 1 else import_id

    def create(self, inputs: dict[str, Any]) -> Created:
        s3api.create_bucket(self.cloud.s3, inputs["name"], REGION)
        return Created(inputs["name"])

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        del state
        return Live({"name": resource_id}) if self.cloud.has(resource_id) else None

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Nothing to call: what can change without a new bucket is kept in the state."""

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        del state
        s3api.delete_bucket(self.cloud.s3, resource_id, force=False)


class Setting(Handler[R2]):
    """One sub-resource of a bucket, written as a whole; its id is the bucket's name."""

    required = frozenset({"accountId", "bucketName"})
    names = frozenset({"bucketName"})
    held = frozenset({"bucketName", "rules"})
    kept: ClassVar = {"accountId": None, "jurisdiction": None}  # the bucket reports the jurisdiction
    replace = frozenset({"accountId", "bucketName", "jurisdiction"})

    def create(self, inputs: dict[str, Any]) -> Created:
        self.write(inputs["bucketName"], inputs.get("rules") or [])
        return Created(inputs["bucketName"])

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        del old
        self.write(resource_id, new.get("rules") or [])

    def write(self, bucket: str, rules: list[dict[str, Any]]) -> None:
        """Replace the bucket's rules."""
        raise NotImplementedError


class Cors(Setting):
    """Which web pages may use the bucket."""

    type_name = "cloudflare:index/r2BucketCors:R2BucketCors"
    unordered = frozenset({"headers", "methods", "origins", "exposeHeaders"})

    def write(self, bucket: str, rules: list[dict[str, Any]]) -> None:
        asked = []
        for rule in rules:
            allowed = {f"allowed{name.capitalize()}": values for name, values in rule["allowed"].items()}
            asked.append({key: value for key, value in rule.items() if key != "allowed"} | allowed)
        shape = s3api.input_shape(self.cloud.s3, "PutBucketCors", "CORSConfiguration")
        body = s3api.to_api(shape, {"corsRules": asked})
        self.cloud.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=body)

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        del state
        answer = s3api.ask(self.cloud.s3.get_bucket_cors, CORS_ABSENT, Bucket=resource_id)
        if answer is None:
            return None
        rules = []
        for rule in s3api.from_api(answer["CORSRules"]):
            names = {name: f"allowed{name.capitalize()}" for name in ("headers", "methods", "origins")}
            allowed = {name: rule.pop(key) for name, key in names.items() if key in rule}
            rules.append({"allowed": allowed, **rule})
        return Live({"bucketName": resource_id, "rules": rules})

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        del state
        s3api.ask(self.cloud.s3.delete_bucket_cors, CORS_ABSENT, Bucket=resource_id)


class Lifecycle(Setting):
    """What expires when. Ages are seconds on R2 and whole days here; other ages are rounded up and reported."""

    type_name = "cloudflare:index/r2BucketLifecycle:R2BucketLifecycle"

    def write(self, bucket: str, rules: list[dict[str, Any]]) -> None:
        if rules:
            body = {"Rules": [_to_s3(rule) for rule in rules]}
            self.cloud.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=body)
        else:
            self.delete(bucket, {})

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        answer = s3api.ask(self.cloud.s3.get_bucket_lifecycle_configuration, LIFECYCLE_ABSENT, Bucket=resource_id)
        if answer is None and (state.get("rules") or not self.cloud.has(resource_id)):
            return None
        return Live({"bucketName": resource_id, "rules": [_from_s3(rule) for rule in (answer or {}).get("Rules", ())]})

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        del state
        s3api.ask(self.cloud.s3.delete_bucket_lifecycle, LIFECYCLE_ABSENT, Bucket=resource_id)


def _to_s3(rule: dict[str, Any]) -> dict[str, Any]:
    prefix = (rule.get("conditions") or {}).get("prefix", "")
    found: dict[str, Any] = {
        "ID": rule["id"],
        "Status": "Enabled" if rule.get("enabled") else "Disabled",
        "Filter": {"Prefix": prefix},
    }
    if aborts := rule.get("abortMultipartUploadsTransition"):
        found["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": _days(aborts["condition"]["maxAge"])}
    if deletes := rule.get("deleteObjectsTransition"):
        found["Expiration"] = _when(deletes["condition"])
    if moves := rule.get("storageClassTransitions"):
        found["Transitions"] = [
            {**_when(move["condition"]), "StorageClass": _STORAGE_CLASSES.get(move["storageClass"], "STANDARD_IA")}
            for move in moves
        ]
    return found


def _from_s3(rule: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": rule.get("ID", ""),
        "enabled": rule["Status"] == "Enabled",
        "conditions": {"prefix": rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))},
    }
    if aborts := rule.get("AbortIncompleteMultipartUpload"):
        age = aborts["DaysAfterInitiation"] * DAY
        found["abortMultipartUploadsTransition"] = {"condition": {"type": "Age", "maxAge": age}}
    if expires := rule.get("Expiration"):
        found["deleteObjectsTransition"] = {"condition": _condition(expires)}
    if moves := rule.get("Transitions"):
        found["storageClassTransitions"] = [
            {"condition": _condition(move), "storageClass": _R2_CLASSES.get(move["StorageClass"], move["StorageClass"])}
            for move in moves
        ]
    return found


def _days(seconds: int) -> int:
    return max(1, -(-seconds // DAY))


def _when(condition: dict[str, Any]) -> dict[str, Any]:
    return {"Date": condition["date"]} if condition["type"] == "Date" else {"Days": _days(condition["maxAge"])}


def _condition(when: dict[str, Any]) -> dict[str, Any]:
    if "Date" in when:
        return {"type": "Date", "date": when["Date"].strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {"type": "Age", "maxAge": when["Days"] * DAY}


class Noted(Handler[R2]):
    """A setting for which the S3 API has no call: it exists while its bucket does, and lives in the state only."""

    required = frozenset({"accountId", "bucketName"})
    names = frozenset({"bucketName"})

    def create(self, inputs: dict[str, Any]) -> Created:
        return Created(inputs["bucketName"])

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        return Live({}, self.outputs(state)) if self.cloud.has(resource_id.partition("/")[0]) else None

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Nothing to call."""

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        """Nothing to call."""

    def outputs(self, state: dict[str, Any]) -> dict[str, Any]:
        """What Cloudflare would compute."""
        del state
        return {}


class Lock(Noted):
    """How long objects can not be deleted."""

    type_name = "cloudflare:index/r2BucketLock:R2BucketLock"
    kept: ClassVar = {"accountId": None, "bucketName": None, "jurisdiction": None, "rules": NO_API}
    replace = frozenset({"accountId", "bucketName", "jurisdiction"})


class ManagedDomain(Noted):
    """Public reads below ``r2.dev``; switched off, which is what programs here ask for, is how every emulator is."""

    type_name = "cloudflare:index/r2ManagedDomain:R2ManagedDomain"
    required = frozenset({"accountId", "bucketName", "enabled"})
    kept: ClassVar = {"accountId": None, "bucketName": None, "jurisdiction": None, "enabled": None}
    replace = frozenset({"accountId", "bucketName", "jurisdiction"})

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        live = super().read(resource_id, state)
        return Live({}, unheld={"enabled": NO_API}) if live and state.get("enabled") else live


class CustomDomain(Noted):
    """A domain of one's own in front of the bucket; its id is ``bucket/domain``."""

    type_name = "cloudflare:index/r2CustomDomain:R2CustomDomain"
    required = frozenset({"accountId", "bucketName", "domain", "enabled", "zoneId"})
    names = frozenset({"bucketName", "domain"})
    kept: ClassVar = {
        "accountId": None,
        "bucketName": None,
        "ciphers": NO_API,
        "domain": NO_API,
        "enabled": NO_API,
        "jurisdiction": None,
        "minTls": NO_API,
        "zoneId": NO_API,
    }
    replace = frozenset({"accountId", "bucketName", "domain", "jurisdiction", "zoneId"})

    def create(self, inputs: dict[str, Any]) -> Created:
        return Created(f"{inputs['bucketName']}/{inputs['domain']}")


class CloudflareProvider(StandIn):
    """``pulumi_cloudflare.Provider`` with ``base_url`` and ``api_token``."""

    name = "cloudflare"
    handlers = (Bucket, Cors, Lifecycle, Lock, ManagedDomain, CustomDomain, Token)

    def connect(self, settings: dict[str, Any]) -> R2:
        """The client of the emulator at ``base_url``."""
        return R2(settings)

    def unreachable(self, error: BaseException) -> bool:
        """Whether an error means that no server answered."""
        return s3api.unreachable(error)

    def conflict(self, error: BaseException) -> bool:
        """Whether an error means that something of this name exists already."""
        return s3api.conflict(error)


provider_class = CloudflareProvider
