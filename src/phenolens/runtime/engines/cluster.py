"""The workers of a dask.distributed cluster, on one computer or many that share a file system."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from phenolens.runtime.engines.work import Outcome, Work
from phenolens.runtime.errors import DeviceError, ImageError, OutputError
from phenolens.runtime.progress import Job, Progress

_GLANCE = 0.3  # s between looks at what the workers have finished
_CONNECT = 20  # s to reach the scheduler
_FETCH = 10  # s for an answer that a worker has
_UNDER_WAY = ("pending", "lost")  # lost: its worker ended before the answer was fetched, and another does it again


@dataclass(frozen=True)
class Cluster:
    """A cluster that is running; see `Engine`.

    Parameters
    ----------
    address
        Of its scheduler, such as ``tcp://node17:8786``.
    """

    address: str

    def run(self, work: Work, keys: Sequence[str], check: Callable[[], None]) -> Job[list[Outcome]]:
        """Do the fields; a step is a field. A field whose workers were ended several times is an outcome.

        Raises
        ------
        DeviceError
            The scheduler cannot be reached, or is lost; dask.distributed is not installed.
        """
        client = _connected(self.address)
        from phenolens.runtime.engines.cluster_worker import Opened, do_field

        try:
            name = f"phenolens-{uuid4().hex}"
            client.register_plugin(Opened(work), name=name)
            asked = {client.submit(do_field, name, key, key=f"{name}-{key}", pure=False): key for key in keys}
            try:
                return (yield from self._watch(client, asked, check))
            finally:
                if client.status == "running":
                    client.cancel(list(asked), force=True)
                    client.unregister_worker_plugin(name)
        except (OSError, TimeoutError) as error:
            raise _lost(self.address) from error
        finally:
            client.close(timeout=2)

    def _watch(self, client: Any, asked: dict[Any, str], check: Callable[[], None]) -> Job[list[Outcome]]:
        outcomes: list[Outcome] = []
        running, total = dict(asked), len(asked)
        pause = threading.Event()
        while running:
            yield Progress(len(outcomes), total, f"On the cluster; its dashboard is {client.dashboard_link}")
            pause.wait(_GLANCE)
            check()
            if client.status != "running":
                raise _lost(self.address)
            for future in [one for one in running if one.status not in _UNDER_WAY]:
                with suppress(TimeoutError):  # lost since
                    outcomes.append(_outcome(future, running[future], self.address))
                    del running[future]
        return outcomes


def _connected(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise DeviceError(
            'A cluster needs dask.distributed: pip install "napari-phenolens[cluster]", here and on its workers.'
        ) from error
    try:
        connect: Any = Client  # which has no types
        return connect(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise DeviceError(
            f"No scheduler answers at {address} ({error or type(error).__name__}): start one with 'dask scheduler', or "
            "look at the address that it printed."
        ) from error


def _lost(address: str) -> DeviceError:
    return DeviceError(
        f"The scheduler at {address} is lost: start it again. What was finished is kept; the same command goes on."
    )


def _outcome(future: Any, key: str, address: str) -> Outcome:
    from distributed import KilledWorker

    if future.status == "finished":
        try:
            outcome = future.result(timeout=_FETCH)
        except CancelledError as cancelled:
            raise _lost(address) from cancelled
        assert isinstance(outcome, Outcome)
        return outcome
    if future.status != "error":
        raise _lost(address)
    error = future.exception()
    if isinstance(error, KilledWorker):
        return Outcome(key, "failed", ImageError(
            f"Field {key}: every worker that took it was ended from outside, perhaps since no memory was left."
        ))  # fmt: skip
    if isinstance(error, OutputError | DeviceError):
        raise error
    raise error if isinstance(error, Exception) else RuntimeError(repr(error))
