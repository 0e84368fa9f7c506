"""Objects in the memory of the application: nothing to provision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pulumi

from infra.backend import BackendSpec
from runtime.config import NamedStorageConfig, StorageMemoryConfig

if TYPE_CHECKING:
    from infra.context import Context

_NOTHING = "nothing is stored outside of the application"


class Spec(BackendSpec):
    """A backend in memory."""

    cannot = dict.fromkeys(
        (
            "cors",
            "encryption",
            "lifecycle",
            "grants",
            "versioning",
            "public",
            "public_url",
            "existing",
            "take_over",
            "force_destroy",
            "tags",
        ),
        _NOTHING,
    )

    driver: Literal["memory"]


class Bucket(pulumi.ComponentResource):
    """A name in the stack, so that the stack lists all its backends.

    Attributes:
        resources: Nothing of Pulumi's.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__("tandem:storage:Memory", spec.name, {})
        self.resources: list[pulumi.CustomResource] = []
        self.register_outputs({})


def provision(spec: Spec, context: Context) -> Bucket:  # noqa: ARG001 - every driver's provision has both
    """Name the backend in the stack."""
    return Bucket(spec)


def entry(spec: Spec, context: Context) -> NamedStorageConfig:  # noqa: ARG001 - every driver's entry has both
    """The backend as the contract has it."""
    return spec.named(StorageMemoryConfig())
