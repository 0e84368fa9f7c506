"""How long the customer keys that the program makes live: when they rotate, how long a deleted one can be rescued."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from runtime.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.backend import BackendSpec, Encryption


@dataclass(frozen=True, slots=True)
class Times:
    """What one cloud's keys can do, and what ours do when the spec does not say.

    Attributes:
        rotate_after: Age at which a key gets new material.
        rotations: The least and the most that the cloud takes.
        rescue: How long a deleted key can be rescued; the least in profile dev.
        rescues: The least and the most that the cloud takes.
    """

    rotate_after: timedelta
    rotations: tuple[timedelta, timedelta]
    rescue: timedelta
    rescues: tuple[timedelta, timedelta]

    def resolved(self, encryption: Encryption, profile: str) -> Encryption:
        """The same with the defaults in place of what is left out."""
        rescue = self.rescues[0] if profile == "dev" else self.rescue
        defaults = {"rotate_after": self.rotate_after, "delete_after": rescue}
        missing = {key: value for key, value in defaults.items() if getattr(encryption, key) is None}
        return encryption.model_copy(update=missing)


def days(count: int) -> timedelta:
    """So many days."""
    return timedelta(days=count)


def problems(backend: BackendSpec) -> Iterator[Problem]:
    """Times that the cloud does not take, and times of keys that the program does not make."""
    found, times = backend.encryption, backend.key_times
    if found is None:
        return
    for key in ("rotate_after", "delete_after"):
        value = getattr(found, key)
        if value is None:
            continue
        if times is None or found.kms_key_id or not found.customer_key:
            message = "is for keys that the program makes, and this one it does not"
            yield Problem(f"encryption.{key}", message, "leave it out")
            continue
        least, most = times.rotations if key == "rotate_after" else times.rescues
        if not least <= value <= most:
            yield Problem(f"encryption.{key}", f"found {value.days}d", f"{least.days}d to {most.days}d")
