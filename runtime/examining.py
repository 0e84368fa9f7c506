"""One health check for blob and key-value stores alike: asked within a time, answered with a result, never raised."""

from __future__ import annotations

from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio

from runtime.errors import StorageError, StorageTimeoutError
from runtime.health import HealthCheckResult, HealthStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


async def examine(
    component: str,
    driver: str,
    describe: Callable[[], Awaitable[Mapping[str, Any]]],
    *,
    seconds: float,
    bug: str,
) -> HealthCheckResult:
    """What *describe* says, as a result.

    Args:
        component: Name of the store.
        driver: Its driver.
        describe: Asks the service; raises when it can not be used.
        seconds: How long it may take.
        bug: What is told of an error that is none of ours: its own text may hold a secret.
    """
    begin = perf_counter()
    facts: Mapping[str, Any] = {}
    problem: Exception | None = None
    try:
        with anyio.move_on_after(seconds) as scope:
            facts = await describe()
        if scope.cancelled_caught:
            problem = StorageTimeoutError(f"no answer within {seconds:g} s", backend=component)
    except Exception as exc:  # noqa: BLE001 - an unhealthy store is this function's answer
        problem = exc
    safe = str(problem) if isinstance(problem, StorageError) else bug
    return HealthCheckResult(
        component=component,
        status=HealthStatus.UNHEALTHY if problem else HealthStatus.HEALTHY,
        message=safe if problem else None,
        error=f"{type(problem).__name__}: {safe}" if problem else None,
        duration_ms=(perf_counter() - begin) * 1000,
        details={"driver": driver, **facts},
        checked_at=datetime.now(UTC),
    )
