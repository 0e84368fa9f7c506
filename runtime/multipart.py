"""Sends one object, whole or in parts, so that it becomes visible completely or not at all.

Memory: at most ``part_size x concurrency`` bytes of content, as a part is read only when one may be sent.
Parts have exactly the size that was chosen. It grows where 10,000 parts of the configured size would not
do: at once when the size is known, else by doubling after every tenth of the parts that are allowed.

Checksums are computed of what is in memory anyway: the caller's, which is held against the bytes before they
become visible, and the driver's own (`Driver.own_checksum`), which goes with them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from runtime import checksums
from runtime.checksums import PartsChecksum
from runtime.errors import NotSupportedError
from runtime.models import with_checksum
from runtime.pieces import Span, joined

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.driver import Bytes, Capabilities, Driver
    from runtime.models import FileInfo, UploadOptions
    from runtime.pieces import Source

START_SECONDS: Final = 60.0
"""Time that the begin of a multipart upload may take, also while it is cancelled: else its id would be lost."""

CLEAN_UP_SECONDS: Final = 30.0
"""Time that aborting may take, together with its repetitions, also while it is cancelled."""

ABORT_DELAYS: Final = (0.0, 0.2, 1.0, 4.0)
"""Seconds to wait before each attempt to abort."""

LINGER_SECONDS: Final = 0.25
"""Time in which a part that was given up may still arrive; then the upload is aborted once more."""

_GROWTH_STEPS = 10
_MIB = 1024 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """How large the parts of one object are.

    Attributes:
        first: Bytes of the first part.
        limits: What the service demands of parts.
        grows: Whether later parts may be larger, as the size of the object is not known.
    """

    first: int
    limits: Capabilities
    grows: bool

    def size_of(self, number: int) -> int:
        """Bytes of part *number*, counted from 1."""
        if number > self.limits.max_parts:
            raise NotSupportedError(
                f"the object needs more than {self.limits.max_parts:,} parts",
                hint="raise transfer.part_size of this backend",
            )
        if not self.grows:
            return self.first
        step = max(self.limits.max_parts // _GROWTH_STEPS, 1)
        return min(self.first << ((number - 1) // step), self.limits.max_part_size)


def plan_parts(size: int | None, part_size: int, limits: Capabilities) -> Plan:
    """Choose the size of the parts.

    Args:
        size: Bytes of the object, where known.
        part_size: Bytes that the configuration asks for.
        limits: What the service demands of parts.
    """
    first = min(max(part_size, limits.min_part_size), limits.max_part_size)
    if size is None:
        return Plan(first, limits, grows=not limits.equal_parts)
    if size > first * limits.max_parts:
        needed = -(-size // limits.max_parts)
        if needed > limits.max_part_size:
            raise NotSupportedError(f"{size:,} bytes are more than this service takes in one object")
        first = min(-(-needed // _MIB) * _MIB, limits.max_part_size)
    return Plan(first, limits, grows=False)


async def send(
    driver: Driver,
    path: str,
    source: Source,
    options: UploadOptions,
    *,
    part_size: int,
    concurrency: int,
    sent: Callable[[int], None] | None = None,
) -> FileInfo:
    """Write one object from *source*, in one call when it fits into one part.

    Args:
        driver: The service.
        path: Where to.
        source: What to read.
        options: How to write it.
        part_size: Bytes that the parts shall have.
        concurrency: Parts in flight.
        sent: Told the bytes of every part that has arrived.
    """
    try:
        await source.open()
        size = source.size if source.expected is None else source.expected
        plan = plan_parts(size, part_size, driver.capabilities)
        first = await source.read(plan.first)
        if source.count < plan.first or not await source.more():
            source.demand_all()
            data = joined(first)
            info = await driver.put(path, data, await summed(driver, data, options))
            if sent is not None:
                sent(len(data))
        else:
            sender = _Sender(driver, path, source, options, plan, first, sent)
            del first  # the sender lets go of it as soon as it is sent
            info = await sender.run(concurrency if driver.capabilities.parallel_parts else 1)
    except BaseException as exc:
        await to_the_end(source.close, CLEAN_UP_SECONDS, note_on(exc, "the source was not closed"))
        raise
    await source.close()
    return info


async def summed(driver: Driver, data: Bytes, options: UploadOptions) -> UploadOptions:
    """The options of one whole object with the checksum that its service is to be told.

    Raises:
        ChecksumMismatchError: *data* does not have the checksum that the caller gave.
    """
    given, own = options.checksum, driver.own_checksum
    if given is not None:
        checksums.demand(given, await checksums.compute(checksums.algorithm_of(given), data))
        if own is None or checksums.algorithm_of(given) in driver.capabilities.checksums:
            return options
    if own is None:
        return options
    if len(data) <= checksums.INLINE:
        return with_checksum(options, checksums.value_of(own, data))
    return with_checksum(options, await checksums.compute(own, data))


class _Sender:
    """One multipart upload."""

    def __init__(
        self,
        driver: Driver,
        path: str,
        source: Source,
        options: UploadOptions,
        plan: Plan,
        first: list[Bytes],
        sent: Callable[[int], None] | None,
    ) -> None:
        self._driver = driver
        self._path = path
        self._source = source
        self._options = options
        self._plan = plan
        self._first = first
        self._sent = sent
        self._tokens: dict[int, str] = {}
        self._own = driver.own_checksum
        wanted = [self._own] if self._own else []
        if options.checksum is not None:
            wanted.append(checksums.algorithm_of(options.checksum))
        self._sums = PartsChecksum(wanted, self._own) if wanted else None
        self._id: str | None = None
        self._sending = 0

    async def run(self, concurrency: int) -> FileInfo:
        try:
            await to_the_end(self._start, START_SECONDS)
            if concurrency == 1:
                await self._one_by_one()
            else:
                await self._several_at_once(concurrency)
            self._source.demand_all()
            await self._source.verify()
            return await self._complete()
        except BaseException as exc:
            await self._abort(exc)
            raise

    async def _start(self) -> None:
        self._id = await self._driver.start_multipart(self._path, self._options)

    async def _one_by_one(self) -> None:
        number = 1
        while part := await self._next(number):
            await self._put(number, part)
            del part  # before the next one is read
            number += 1

    async def _several_at_once(self, concurrency: int) -> None:
        slots = anyio.Semaphore(concurrency)
        failures: list[Exception] = []

        async def put(number: int, data: list[Bytes] | Span) -> None:
            try:
                await self._put(number, data)
            except Exception as exc:  # noqa: BLE001 - raised below, without the group around it
                failures.append(exc)
                tasks.cancel_scope.cancel()
            else:
                slots.release()

        async with anyio.create_task_group() as tasks:
            try:
                number = 1
                await slots.acquire()
                while part := await self._next(number):
                    tasks.start_soon(put, number, part)
                    del part  # it lives in its task only, so that slots bound the memory
                    number += 1
                    await slots.acquire()
            except Exception as exc:  # noqa: BLE001 - as above
                failures.append(exc)
                tasks.cancel_scope.cancel()
        if failures:  # of several that fail at once, the source's own is known by being the first of them
            own = self._source.failure
            raise own if isinstance(own, Exception) else failures[0]

    async def _next(self, number: int) -> list[Bytes] | Span:
        if number == 1:
            first, self._first = self._first, []
            return first
        if self._source.spans and self._source.size is not None:
            start, size = self._plan.first * (number - 1), self._plan.size_of(number)
            return Span(start, max(min(size, self._source.size - start), 0))
        if not await self._source.more():
            return []
        return await self._source.read(self._plan.size_of(number))

    async def _put(self, number: int, data: list[Bytes] | Span) -> None:
        if isinstance(data, Span):
            data = await self._source.read_at(data)
        checksum = None if self._sums is None else await self._sums.add(number, data)
        self._sending += 1
        self._tokens[number] = await self._driver.put_part(self._path, self._upload_id, number, data, checksum)
        self._sending -= 1
        if self._sent is not None:
            self._sent(sum(map(len, data)))

    async def _complete(self) -> FileInfo:
        tokens = [token for _, token in sorted(self._tokens.items())]
        options, given = self._options, self._options.checksum
        if self._sums is not None:
            if given is not None:
                checksums.demand(given, self._sums.whole(checksums.algorithm_of(given)))
            if self._own is not None:
                options = with_checksum(options, self._sums.whole(self._own))
        return await self._driver.complete_multipart(self._path, self._upload_id, tokens, self._source.count, options)

    @property
    def _upload_id(self) -> str:
        assert self._id is not None, "parts are sent after the upload was started"  # noqa: S101 - for the type
        return self._id

    async def _abort(self, reason: BaseException) -> None:
        if self._id is None:
            return
        left = f"parts of the unfinished upload {self._id!r} to {self._path!r} may be left in the bucket"
        await to_the_end(self._abort_until_done, CLEAN_UP_SECONDS, note_on(reason, left))

    async def _abort_until_done(self) -> None:
        await self._abort_now()
        if self._sending and self._driver.parts_linger:
            await anyio.sleep(LINGER_SECONDS)
            await self._abort_now()

    async def _abort_now(self) -> None:
        failure: Exception | None = None
        for delay in ABORT_DELAYS:
            await anyio.sleep(delay)
            try:
                await self._driver.abort_multipart(self._path, self._upload_id)
            except Exception as exc:  # noqa: BLE001 - tried again, then raised
                failure = exc
            else:
                return
        if failure is not None:
            raise failure


def note_on(reason: BaseException, message: str) -> Callable[[Exception], None]:
    """Say of a failed clean-up what is left, on the error that made it necessary and in the log."""

    def note(failure: Exception) -> None:
        text = f"{message} ({type(failure).__name__})"
        reason.add_note(text)
        _log.warning(text)

    return note


async def to_the_end(
    function: Callable[[], Awaitable[None]], seconds: float, on_failure: Callable[[Exception], None] | None = None
) -> None:
    """Run *function* to its end even when the caller is cancelled meanwhile, at most so many seconds.

    A scope alone shields from scopes; a task of its own is also out of reach of ``asyncio.Task.cancel``.
    The cancellation goes on afterwards. A failure is raised, or given to *on_failure*.
    """
    failures: list[Exception] = []

    async def run() -> None:
        try:
            with anyio.fail_after(seconds, shield=True):
                await function()
        except Exception as exc:  # noqa: BLE001 - raised below, without the group around it
            failures.append(exc)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
    finally:
        if failures and on_failure is not None:
            on_failure(failures[0])
    if failures and on_failure is None:
        raise failures[0]
