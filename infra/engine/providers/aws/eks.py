"""``aws:eks/podIdentityAssociation:…``: no emulator here runs a Kubernetes cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from infra.engine.providers.aws.cloud import Aws
from infra.engine.providers.noted import Noted

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_CLUSTER: Final = "no emulator has EKS clusters: no pod takes this role"


class PodIdentityAssociation(Noted[Aws]):
    """Which service account of a cluster takes a role."""

    type_name = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
    required = frozenset({"clusterName", "namespace", "roleArn", "serviceAccount"})
    names = replace = frozenset({"clusterName", "namespace", "serviceAccount"})
    kept: ClassVar = {
        "clusterName": NO_CLUSTER,
        "namespace": NO_CLUSTER,
        "region": None,
        "roleArn": NO_CLUSTER,
        "serviceAccount": NO_CLUSTER,
        "tags": None,
    }

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return "/".join(inputs[name] for name in ("clusterName", "namespace", "serviceAccount"))


HANDLERS = (PodIdentityAssociation,)
