"""Numbers of dask arrays, computed in this process and never on a cluster."""

from __future__ import annotations

from typing import Any


def computed(*arrays: Any, threads: bool = True) -> Any:
    """What dask arrays hold: one array (numpy) for one, a tuple for several, which are computed together.

    The scheduler is handed over as a function: asked for by its name, or by none, dask imports its cluster first, which
    takes most of a second.

    Parameters
    ----------
    threads
        On dask's threads, else on this one.
    """
    from dask.base import compute
    from dask.local import get_sync
    from dask.threaded import get

    found = compute(*arrays, scheduler=get if threads else get_sync)
    return found if len(arrays) > 1 else found[0]
