"""AWS Systems Manager Parameter Store: ``ssm:/apps/shop/storage``.

A parameter holds 4 KiB, an advanced one 8 KiB: AWS chooses the tier by itself.

Source:
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
"""

from __future__ import annotations

from runtime.carriers._aws import client


def fetch(name: str) -> str:
    """The parameter's value, decrypted."""
    with client("ssm") as ssm:
        return str(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])


def store(name: str, text: str) -> None:
    """Write the parameter; it stays of the kind that it is."""
    with client("ssm") as ssm:
        ssm.put_parameter(Name=name, Value=text, Type="String", Overwrite=True, Tier="Intelligent-Tiering")
