"""What a worker of a dask.distributed cluster does; imported where one is used, for it takes a while."""

import threading
from typing import Any

import dask
from distributed import WorkerPlugin, get_worker

from phenolens.runtime.engines.work import Do, Outcome, Work, attempt
from phenolens.runtime.progress import finish


class Opened(WorkerPlugin):
    """What a worker has loaded, once, whenever it joined; tasks of one worker take turns."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def setup(self, worker: Any) -> None:
        self.loaded: list[Do] = []
        self.turn = threading.Lock()

    def teardown(self, worker: Any) -> None:
        self.loaded.clear()

    def do(self, key: str) -> Outcome:
        """Do a field; the weights are loaded with the first one, where what is wrong with them is heard."""
        # Lazy pixels are read here: as tasks of the cluster they would wait for workers that wait for them.
        with self.turn, dask.config.set(scheduler="synchronous"):
            if not self.loaded:
                self.loaded.append(self.work.open(lambda: None))
            return finish(attempt(self.loaded[0], key))


def do_field(name: str, key: str) -> Outcome:
    """Do a field by what the plugin `name` of this worker has loaded."""
    opened = get_worker().plugins[name]
    assert isinstance(opened, Opened)
    return opened.do(key)
