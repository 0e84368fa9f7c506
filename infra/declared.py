"""Resource types that are registered by their token and typed arguments, without the package that has all of them.

Properties are those of the installed package, and so is the version of the plugin; a test compares each type with it.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import ClassVar, Protocol

import pulumi

from infra.wire import wire


class Args(Protocol):
    """The properties of one resource type."""

    token: ClassVar[str]


class Declared(pulumi.CustomResource):
    """One resource of a provider.

    Attributes:
        package: The Python package of the provider.
    """

    package: ClassVar[str]

    def __init__(self, name: str, args: Args, opts: pulumi.ResourceOptions, **outputs: None) -> None:
        properties = {**wire(args), **outputs}  # an output is a property without a value
        super().__init__(args.token, name, properties, pulumi.ResourceOptions.merge(plugin(self.package), opts))


def plugin(package: str) -> pulumi.ResourceOptions:
    """That a resource is handled by the plugin of the installed *package*."""
    return pulumi.ResourceOptions(version=installed(package))


@cache
def installed(package: str) -> str:
    """The version of a package."""
    return version(package)  # reads a file of the installation
