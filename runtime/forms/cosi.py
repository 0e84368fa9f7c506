"""Variables of the Container Object Storage Interface, as its Secrets hold them: ``AVATARS_COSI_S3_BUCKET_ID``, ….

A Secret of COSI is one bucket, so each backend's variables begin with its name, as ``envFrom`` with a ``prefix`` makes
them. The backend without a prefix is called ``default``.

COSI knows protocols and buckets, and little else. What it can not hold is told when it is written, never dropped in
silence: `write` lists it, and reading gives the same contract without it.

| | COSI | here |
|---|---|---|
| S3 | bucket, endpoint, region, key pair | ``s3``; ``r2`` where the endpoint is R2's |
| GCS | bucket, project, service account | ``gcs``; the account signs. HMAC keys are not used |
| Azure | account, and a shared access signature with its address | ``azure``; no signature, no container |

Source:
    https://github.com/kubernetes-sigs/container-object-storage-interface
    (client/apis/objectstorage/v1alpha2/protocols.go)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from runtime.errors import ConfigError, Problem
from runtime.forms import Encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runtime.config import StorageDocument

_PROTOCOL: Final = re.compile(r"(?P<prefix>(?:[A-Z][A-Z0-9_]*_)?)COSI_PROTOCOL")
_R2: Final = ".r2.cloudflarestorage.com"
_AWS: Final = "https://s3.{region}.amazonaws.com"
_AZURE: Final = "https://{account}.blob.core.windows.net"
DEFAULT: Final = "default"
"""Name of the backend whose variables have no prefix."""


def write(document: StorageDocument) -> Encoded:
    """Lines of a ``.env`` file, secrets as references in single quotes, and what COSI can not hold."""
    untold = {key: "COSI knows buckets only" for key in document.to_dict()["storage"] if key != "backends"}
    lines = []
    for backend in document.storage.named_backends():
        told, why = _told(backend.document())
        prefix = "" if backend.name == DEFAULT else f"{backend.name.upper().replace('-', '_')}_"
        lines += [f"{prefix}{key}='{value}'" for key, value in told.items()]
        untold |= {f"backends.{backend.name}.{path}".rstrip("."): reason for path, reason in why.items()}
    return Encoded({"": "\n".join([*lines, ""])}, untold)


def _told(entry: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """The variables of one backend without their prefix, and what they do not say, by path below the backend."""
    name, driver = entry["name"], entry["driver"]
    told, why = _TELLERS.get(driver, _no_protocol)(entry.get(driver) or {})
    if not told:
        return {}, why
    untold = {f"{driver}.{key}".rstrip("."): reason for key, reason in why.items()}
    untold |= {key: "COSI has no such thing" for key in entry if key not in {"name", "driver", driver}}
    if "-" in name:
        untold["name"] = f"variables know no '-': it is {name.replace('-', '_')} there"
    return told, untold


def _s3(settings: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    region = settings.get("region", "auto")
    endpoint = settings.get("endpoint_url")
    told = {
        "COSI_PROTOCOL": "S3",
        "COSI_S3_BUCKET_ID": settings["bucket"],
        "COSI_S3_ENDPOINT": endpoint or _AWS.format(region=region),
        "COSI_S3_REGION": region,
        "COSI_S3_ADDRESSING_STYLE": "path" if endpoint else "virtual",
    }
    if "access_key" in settings:
        told |= {
            "COSI_S3_ACCESS_KEY_ID": settings["access_key"],
            "COSI_S3_ACCESS_SECRET_KEY": settings["secret_key"],
        }
    held = {"bucket", "region", "endpoint_url", "access_key", "secret_key"}
    return told, _rest(settings, held)


def _r2(settings: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    told, untold = _s3(settings)
    if not _is_r2(settings["endpoint_url"]):
        untold[""] = "only an endpoint of Cloudflare tells R2 from S3: it is s3 there"
    return told, untold


def _gcs(settings: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    told = {
        "COSI_PROTOCOL": "GCS",
        "COSI_GCS_BUCKET_NAME": settings["bucket"],
        "COSI_GCS_PROJECT_ID": settings["project_id"],
    }
    if "signer_email" in settings:
        told["COSI_GCS_SERVICE_ACCOUNT"] = settings["signer_email"]
    return told, _rest(settings, {"bucket", "project_id", "signer_email"})


def _azure(settings: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    if "sas_token" not in settings:
        return {}, {"": "COSI names an Azure container in a shared access signature only, and there is none"}
    base = settings.get("endpoint_url") or _AZURE.format(account=settings["account_name"])
    told = {
        "COSI_PROTOCOL": "Azure",
        "COSI_AZURE_STORAGE_ACCOUNT": settings["account_name"],
        "COSI_AZURE_ACCESS_TOKEN": f"{base}/{settings['container']}?{settings['sas_token']}",
    }
    return told, _rest(settings, {"account_name", "container", "sas_token", "endpoint_url"})


def _no_protocol(_: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    return {}, {"": "COSI has the protocols S3, GCS and Azure only"}


_TELLERS: Final[dict[str, Callable[[Mapping[str, Any]], tuple[dict[str, str], dict[str, str]]]]] = {
    "s3": _s3,
    "r2": _r2,
    "gcs": _gcs,
    "azure": _azure,
}


def _rest(settings: Mapping[str, Any], held: set[str]) -> dict[str, str]:
    return {key: "COSI has no such thing" for key in settings if key not in held}


def read(environ: Mapping[str, str]) -> dict[str, Any]:
    """The document of all buckets that *environ* has variables of.

    Raises:
        ConfigError: there is none, or a variable is missing or says what can not be honoured; with every problem.
    """
    problems: list[Problem] = []
    backends = []
    for variable in sorted(environ):
        if named := _PROTOCOL.fullmatch(variable):
            prefix = named["prefix"]
            found = _Variables(environ, prefix, problems)
            backend = _READERS.get(environ[variable], _unknown)(found)
            if backend is not None:
                backends.append({"name": prefix.lower().rstrip("_") or DEFAULT, **backend})
    if problems:
        raise ConfigError("the COSI variables are wrong", source="environment", problems=problems)
    if not backends:
        raise ConfigError("no COSI variables were found", source="environment", hint="one of them is COSI_PROTOCOL")
    return {"version": 1, "storage": {"backends": backends}}


class _Variables:
    """The variables of one bucket."""

    def __init__(self, environ: Mapping[str, str], prefix: str, problems: list[Problem]) -> None:
        self._environ, self._prefix, self._problems = environ, prefix, problems

    def need(self, name: str) -> str:
        value = self._environ.get(f"{self._prefix}{name}", "")
        if not value:
            self.wrong(name, "is required")
        return value

    def get(self, name: str) -> str | None:
        return self._environ.get(f"{self._prefix}{name}") or None

    def wrong(self, name: str, why: str, allowed: str | None = None) -> None:
        self._problems.append(Problem(f"{self._prefix}{name}", why, allowed))


def _s3_backend(found: _Variables) -> dict[str, Any]:
    region, endpoint = found.need("COSI_S3_REGION"), found.need("COSI_S3_ENDPOINT")
    settings: dict[str, Any] = {"bucket": found.need("COSI_S3_BUCKET_ID"), "region": region}
    if endpoint != _AWS.format(region=region):
        settings["endpoint_url"] = endpoint
        if found.need("COSI_S3_ADDRESSING_STYLE") not in {"path", ""}:
            found.wrong("COSI_S3_ADDRESSING_STYLE", "a server that is not AWS is addressed in the path", "path")
    if key := found.get("COSI_S3_ACCESS_KEY_ID"):
        settings |= {"access_key": key, "secret_key": found.need("COSI_S3_ACCESS_SECRET_KEY")}
    driver = "r2" if _is_r2(endpoint) else "s3"
    if driver == "r2" and region == "auto":
        del settings["region"]  # it has no other
    return {"driver": driver, driver: settings}


def _gcs_backend(found: _Variables) -> dict[str, Any]:
    settings = {"bucket": found.need("COSI_GCS_BUCKET_NAME"), "project_id": found.need("COSI_GCS_PROJECT_ID")}
    if account := found.get("COSI_GCS_SERVICE_ACCOUNT"):
        settings["signer_email"] = account
    return {"driver": "gcs", "gcs": settings}


def _azure_backend(found: _Variables) -> dict[str, Any]:
    account = found.need("COSI_AZURE_STORAGE_ACCOUNT")
    address, _, token = found.need("COSI_AZURE_ACCESS_TOKEN").partition("?")
    base, _, container = address.rpartition("/")
    if not (base.startswith(("https://", "http://")) and container and token):
        found.wrong("COSI_AZURE_ACCESS_TOKEN", "names no container", "<account's URL>/<container>?<signature>")
    settings = {"account_name": account, "container": container, "sas_token": token}
    if base != _AZURE.format(account=account):
        settings["endpoint_url"] = base
    return {"driver": "azure", "azure": settings}


def _unknown(found: _Variables) -> None:
    found.wrong("COSI_PROTOCOL", "is none that there is a driver for", "S3, GCS, Azure")


_READERS: Final[dict[str, Callable[[_Variables], dict[str, Any] | None]]] = {
    "S3": _s3_backend,
    "GCS": _gcs_backend,
    "Azure": _azure_backend,
}


def _is_r2(endpoint: str) -> bool:
    return (urlsplit(endpoint).hostname or "").endswith(_R2)
