"""AWS Secrets Manager: ``aws-sm:prod/media``, by name or ARN.

Source:
    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

from __future__ import annotations

from runtime.carriers import CarrierError
from runtime.carriers._aws import client


def fetch(name: str) -> str:
    """The current version of the secret."""
    with client("secretsmanager") as manager:
        found = manager.get_secret_value(SecretId=name)
    if "SecretString" not in found:
        raise CarrierError("holds bytes and no text")
    return str(found["SecretString"])


def store(name: str, text: str) -> None:
    """Add a version, or the secret itself."""
    with client("secretsmanager") as manager:
        try:
            manager.put_secret_value(SecretId=name, SecretString=text)
        except manager.exceptions.ResourceNotFoundException:
            manager.create_secret(Name=name, SecretString=text)
