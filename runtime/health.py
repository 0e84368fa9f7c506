"""The answer of a health check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime


class HealthStatus(StrEnum):
    """How a component is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class HealthCheckResult:
    """What a health check found.

    Attributes:
        component: Name of the backend that was asked.
        status: The verdict.
        message: One line for a person, when there is something to say.
        error: Class and message of what went wrong; never a secret.
        duration_ms: How long the check took, in milliseconds.
        details: Facts by name (driver, bucket, …).
        checked_at: When, as an aware UTC time.
    """

    component: str
    status: HealthStatus = HealthStatus.HEALTHY
    message: str | None = None
    error: str | None = None
    duration_ms: float = 0.0
    details: dict[str, Any] | None = None
    checked_at: datetime | None = None

    def is_healthy(self) -> bool:
        """Whether the component can be used without reserve."""
        return self.status is HealthStatus.HEALTHY
