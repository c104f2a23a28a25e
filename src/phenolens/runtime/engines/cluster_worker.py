"""What a worker of a dask.distributed cluster does; imported where one is used, for it takes a while."""

import threading
from contextlib import ExitStack
from typing import Any

import dask
from distributed import WorkerPlugin, get_worker, secede

from phenolens.runtime.engines.work import Do, Outcome, Work
from phenolens.runtime.errors import DeviceError, OutputError, PhenolensError
from phenolens.runtime.progress import finish


class Opened(WorkerPlugin):
    """What a worker has loaded, once, whenever it joined.

    Tasks of one worker take turns: one reads, one computes, one writes. A task that computes lets the worker begin the
    next, which reads meanwhile, and waits for its turn.
    """

    def __init__(self, work: Work) -> None:
        self.work = work

    def setup(self, worker: Any) -> None:
        self.loaded: list[Do] = []
        self.reading, self.computing, self.writing = (threading.Lock() for _ in range(3))
        # Lazy pixels are read here: as tasks of the cluster they would wait for workers that wait for them.
        self.here = ExitStack()
        self.here.enter_context(dask.config.set(scheduler="synchronous"))

    def teardown(self, worker: Any) -> None:
        self.loaded.clear()
        self.here.close()

    def do(self, key: str) -> Outcome:
        """Do a field; the weights are loaded with the first one, where what is wrong with them is heard."""
        with ExitStack() as reading, ExitStack() as computing, ExitStack() as writing:
            reading.enter_context(self.reading)
            if not self.loaded:
                self.loaded.append(self.work.open(lambda: None))
            do = self.loaded[0]
            try:
                what = do.read(key, False)
                computing.enter_context(self.computing)
                alone = what is None
                if alone:
                    writing.enter_context(self.writing)
                    what = do.read(key, True)
                else:
                    reading.close()
                    secede()  # type: ignore[no-untyped-call]
                made = finish(do.compute(key, what))
                del what
                if not alone:
                    writing.enter_context(self.writing)
                    computing.close()
                return Outcome(key, do.write(key, made))
            except (OutputError, DeviceError):
                raise
            except PhenolensError as error:
                do.fail(key, str(error))
                return Outcome(key, "failed", error.with_traceback(None))


def do_field(name: str, key: str) -> Outcome:
    """Do a field by what the plugin `name` of this worker has loaded."""
    opened = get_worker().plugins[name]
    assert isinstance(opened, Opened)
    return opened.do(key)
