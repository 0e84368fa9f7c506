"""Who a grant is to: an identity that exists, by its name, or one that the program makes, as a mapping.

```yaml
to: role/app                                                             # as the backend's cloud names it
to: {pod_identity: {cluster: prod, namespace: media, service_account: api}}          # AWS, EKS
to: {irsa: {oidc_provider: oidc.eks.…/id/ABC, namespace: media, service_account: api}}  # AWS, any Kubernetes
to: {federated: {issuer: "https://token.actions.githubusercontent.com", subject: "repo:org/app:environment:prod"}}
to: {workload_identity: {namespace: media, service_account: api}}        # GCP, GKE
to: {token: {expires: "2027-06-30"}}                                     # R2
```

Each has a name, by which the contract knows it and by which resources are named: ``irsa/media/api``. What is made of
it is in ``infra/identities/<cloud>.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from infra.fields import Day, Unique, wrong

_KUBERNETES_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_LABEL: Final = r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
_HOST: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?(/[\w.~-]+)*")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _kubernetes_name(value: str) -> str:
    if not _KUBERNETES_NAME.fullmatch(value):
        raise wrong(f"found {value!r}", "a name of Kubernetes: at most 63 of a-z, 0-9 and -")
    return value


def _provider(value: str) -> str:
    """``oidc.eks.eu-west-1.amazonaws.com/id/ABC``: the issuer without its scheme; a whole ARN or URL is cut to it."""
    host = value.rpartition(":oidc-provider/")[2].removeprefix("https://").rstrip("/")
    if not _HOST.fullmatch(host):
        raise wrong(
            f"found {value!r}", "the issuer's URL, or the provider's ARN: oidc.eks.<region>.amazonaws.com/id/<id>"
        )
    return host


def _issuer(value: str) -> str:
    if not value.startswith("https://"):
        raise wrong(f"found {value!r}", "https://, the issuer exactly as its tokens name it")
    _provider(value)
    return value


KubernetesName = Annotated[str, AfterValidator(_kubernetes_name)]
"""A namespace or a service account."""


def _subject(value: str) -> str:
    if not re.fullmatch(r"[^\s*?]{1,600}", value):
        raise wrong(f"found {value!r}", "one subject exactly, without * and ?")
    return value


def _address(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise wrong(f"found {value!r}", "an address or a range: 203.0.113.7, 203.0.113.0/24, 2001:db8::/48") from None


class Label(_Model):
    """What every made identity may have.

    Attributes:
        name: Another name for it, where two would have the same.
    """

    name: str | None = Field(default=None, pattern=_LABEL, description="1 to 63 letters, digits and _.-")

    @property
    def label(self) -> str:
        """The name, or what it is made from."""
        return self.name or self.own_label()

    def own_label(self) -> str:
        """What names it when nobody does."""
        raise NotImplementedError


class ServiceAccount(Label):
    """A service account of a Kubernetes cluster.

    Attributes:
        namespace: Its namespace.
        service_account: Its name there.
    """

    namespace: KubernetesName = Field(description="the Kubernetes namespace")
    service_account: KubernetesName = Field(description="the Kubernetes service account")

    def own_label(self) -> str:
        """``media/api``."""
        return f"{self.namespace}/{self.service_account}"

    @property
    def subject(self) -> str:
        """As the cluster's tokens name it."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"


class PodIdentity(ServiceAccount):
    """A role for the pods of an EKS cluster, by EKS Pod Identity.

    Attributes:
        cluster: Name of the cluster, in the account and region of the bucket.
    """

    cluster: str = Field(pattern=r"^[0-9A-Za-z][\w-]{0,99}$", description="the EKS cluster's name")

    def own_label(self) -> str:
        """``prod/media/api``."""
        return f"{self.cluster}/{super().own_label()}"


class Irsa(ServiceAccount):
    """A role for the pods of a cluster whose OIDC provider IAM knows.

    Attributes:
        oidc_provider: The provider: the issuer without ``https://``.
    """

    oidc_provider: Annotated[str, AfterValidator(_provider)] = Field(description="the cluster's OIDC issuer")


class Federated(Label):
    """An identity for whoever holds a token of an OIDC issuer: GitHub Actions, another cloud's cluster.

    Attributes:
        issuer: The issuer's URL.
        subject: Its ``sub``, exactly.
        audience: Its ``aud``; the cloud's own when it is left out.
    """

    issuer: Annotated[str, AfterValidator(_issuer)] = Field(description="the issuer's URL")
    subject: Annotated[str, AfterValidator(_subject)] = Field(description="the token's sub, exactly")
    audience: str | None = Field(default=None, min_length=1, max_length=600)

    def own_label(self) -> str:
        """The subject."""
        return self.subject


class WorkloadIdentity(ServiceAccount):
    """A Google service account for the pods of a GKE cluster.

    Attributes:
        gsa: E-mail of a Google service account that exists; the program makes one when it is left out.
        project: Project of the cluster; the backend's when it is left out.
    """

    gsa: str | None = Field(default=None, pattern=r"^[^@\s]+@[a-z0-9.-]+$", description="a service account's e-mail")
    project: str | None = Field(
        default=None, pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$", description="the id of the cluster's project"
    )


class Token(Label):
    """A key pair for one R2 bucket.

    Attributes:
        expires: The first day on which it is of no use any more, at 00:00 UTC.
        ips: Addresses and ranges that it works from; everywhere when there are none.
    """

    expires: Day = Field(description='a day, quoted: "2027-06-30"')
    ips: Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], Unique] = ()

    def own_label(self) -> str:
        """``app``."""
        return "app"


class Identity(_Model):
    """One of them, or the name of one that exists.

    Attributes:
        known: Name of an identity that exists, as the backend's cloud has it.
        pod_identity: See `PodIdentity`.
        irsa: See `Irsa`.
        federated: See `Federated`.
        workload_identity: See `WorkloadIdentity`.
        token: See `Token`.
    """

    known: str | None = Field(default=None, exclude=True)
    pod_identity: PodIdentity | None = None
    irsa: Irsa | None = None
    federated: Federated | None = None
    workload_identity: WorkloadIdentity | None = None
    token: Token | None = None

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        if isinstance(value, str) and value:
            return {"known": value}
        if isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in KINDS:
            return value
        found = f"found {', '.join(map(str, value))}" if isinstance(value, Mapping) and value else f"found {value!r}"
        raise wrong(found, f"an identity's name, or a mapping with one of {', '.join(KINDS)}")

    @property
    def kind(self) -> str | None:
        """Which of them it is; None for the name of one that exists."""
        return next((kind for kind in KINDS if getattr(self, kind) is not None), None)

    @property
    def name(self) -> str:
        """By what the contract knows it, and messages and resources too."""
        if self.known is not None:
            return self.known
        kind = self.kind or ""
        label: Label = getattr(self, kind)
        return f"{kind}/{label.label}"


KINDS: Final = tuple(name for name in Identity.model_fields if name != "known")
"""The identities that programs make."""
