"""Pulumi's resource monitor, in this process: what the SDK calls when a program declares something.

The SDK talks to an engine through one object; normally it is a gRPC stub of the Pulumi CLI. `Monitor` has the same
methods and answers from a `Deployment`. It is called from many threads at once.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from google.protobuf import empty_pb2
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.proto import engine_pb2, resource_pb2

from infra.engine.planning import STACK_TYPE, Goal, make_urn
from infra.engine.providers.values import plain_map
from infra.engine.state import Entry
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from infra.engine.deployment import Deployment

log = logging.getLogger("tandem.engine")

LEVELS: Final = {
    engine_pb2.DEBUG: logging.DEBUG,
    engine_pb2.INFO: logging.INFO,
    engine_pb2.WARNING: logging.WARNING,
    engine_pb2.ERROR: logging.ERROR,
}

FEATURES: Final = (
    resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
    resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
    # claimed so that the program's own use of them reaches us and is refused by name, not with "update the Pulumi CLI"
    resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
    resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACE_WITH,
    resource_pb2.RESOURCE_MONITOR_FEATURE_TRANSFORMS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_INVOKE_TRANSFORMS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_HOOKS,
)


class Monitor:
    """See the module. Method names are those of the protocol.

    Attributes:
        outputs: What the stack exports, once its program has run.
    """

    def __init__(self, deployment: Deployment, stack: str, project: str) -> None:
        self.outputs: dict[str, PropertyValue] = {}
        self._deployment = deployment
        self._names = (stack, project)
        self._stack_urn = ""

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        """Declare a resource; answers when it is as the program wants it."""
        urn = make_urn(self._names, request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            self._stack_urn = urn
        outcome = self._deployment.register(Goal.from_request(request, urn, self._names))
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id=outcome.id, object=PropertyValue.marshal_map(outcome.outputs)
        )

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        """What a component, or the stack itself, shows to the outside."""
        if request.urn == self._stack_urn:
            self.outputs = PropertyValue.unmarshal_map(request.outputs)
        return empty_pb2.Empty()

    def ReadResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        """Look a resource up that this stack does not manage."""
        urn = make_urn(self._names, request.parent, request.type, request.name)
        inputs = plain_map(PropertyValue.unmarshal_map(request.properties))
        provider = request.provider.rpartition("::")[0]
        outcome = self._deployment.look_up(
            Entry(urn, request.type, request.name, id=request.id, provider=provider, inputs=inputs)
        )
        return resource_pb2.ReadResourceResponse(urn=urn, properties=PropertyValue.marshal_map(outcome.outputs))

    def Invoke(self, request: Any) -> NoReturn:  # noqa: N802 - the protocol's name
        """Functions of a provider (``aws.get_caller_identity``): there are none here."""
        self._refuse(f"the function {request.tok!r}")

    def Call(self, request: Any) -> NoReturn:  # noqa: N802 - the protocol's name
        """Methods of a resource: there are none here."""
        self._refuse(f"the method {request.tok!r}")

    def RegisterStackTransform(self, request: Any) -> NoReturn:  # noqa: N802 - the protocol's name
        """Transforms would be lost silently."""
        del request
        self._refuse("a transform of all resources")

    def RegisterStackInvokeTransform(self, request: Any) -> NoReturn:  # noqa: N802 - the protocol's name
        """Transforms would be lost silently."""
        del request
        self._refuse("a transform of all functions")

    def RegisterResourceHook(self, request: Any) -> NoReturn:  # noqa: N802 - the protocol's name
        """Hooks would be lost silently."""
        self._refuse(f"the hook {request.name!r}")

    def SupportsFeature(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        """The older question for a feature, by its name."""
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in {"secrets", "resourceReferences"})

    def GetDeploymentInfo(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        """What this monitor understands."""
        del request
        return resource_pb2.DeploymentInfo(supportedFeatures=FEATURES)

    def SignalAndWaitForShutdown(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        """The program has ended."""
        del request
        return empty_pb2.Empty()

    def _refuse(self, what: str) -> NoReturn:
        error = ConfigError(
            f"the program uses {what}, which the embedded engine does not have",
            hint="run this stack with the pulumi CLI",
        )
        self._deployment.fail(error, "while running the program")
        raise error


class Log:
    """The engine's log, where ``pulumi.log`` goes: the logger ``tandem.engine``."""

    def Log(self, request: Any) -> None:  # noqa: N802 - the protocol's name
        """One message of the program or the SDK."""
        if request.severity != engine_pb2.DEBUG:  # the SDK reports every RPC there
            log.log(LEVELS.get(request.severity, logging.INFO), "%s", request.message)

    def RequirePulumiVersion(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        """Version ranges are about the CLI; this is none."""
        del request
        return SimpleNamespace()
