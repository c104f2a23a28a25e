"""Workers of a cluster come and go."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from phenolens.runtime.engines.cluster import Cluster
from phenolens.runtime.engines.work import at_once
from phenolens.runtime.progress import finish
from tiny_plates import a_cluster, wait_until


@dataclass(frozen=True)
class Traces:
    """Work that leaves a trace of every field it does, and takes as long over it as it is told to."""

    folder: Path
    seconds: float

    def open(self, check):
        def do(key):
            time.sleep(self.seconds)
            (self.folder / f"{key}-{os.getpid()}").touch()
            return "made"
            yield

        return at_once(do)


@pytest.mark.slow
def test_an_answer_that_was_lost_with_its_worker_is_made_again(tmp_path):
    with a_cluster() as cluster:
        job = Cluster(cluster.scheduler_address).run(Traces(tmp_path, 1.0), ["a", "b", "c", "d"], lambda: None)
        next(job)
        wait_until(lambda: len(list(tmp_path.iterdir())) == 4)
        ended = int(next(tmp_path.iterdir()).name.split("-")[1])
        os.kill(ended, signal.SIGKILL)
        wait_until(lambda: ended not in {nanny.pid for nanny in cluster.workers.values()})
        outcomes = finish(job)
    assert sorted((one.key, one.how) for one in outcomes) == [(key, "made") for key in "abcd"]
    assert len(list(tmp_path.iterdir())) > 4, "what the worker had done was done again"
