"""A process that has imported everything and forks for each run of a command, so that hundreds of runs are affordable.

It reads one request a line (JSON) and says what became of each: ``{"began": id, "pid": n}`` and
``{"ended": id, "status": n, "megabytes": n}``. A status below zero is the signal that ended the run. See `Request` in
`fault_runs.py` for what can be asked.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]
_LIBRARIES = (
    "torch", "diffusers", "diffusers.models.autoencoders.autoencoder_kl", "diffusers.schedulers.scheduling_ddim",
    "diffusers.models.unets.unet_2d_condition", "peft", "safetensors.torch", "pandas", "pyarrow.parquet", "tifffile",
    "imagecodecs", "PIL.Image", "skimage.measure", "skimage.segmentation", "skimage.filters", "scipy.ndimage",
    "scipy.stats", "sklearn.linear_model", "sklearn.decomposition", "zarr", "ngio", "typer", "tqdm.auto", "numcodecs",
)  # fmt: skip
_TASKS = Path("/proc/self/task")
_STOPS = {signal.SIGTERM}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.symlink"}


def main() -> None:
    """Serve until the input ends."""
    _import_all()
    assert threading.active_count() == 1, "threads do not survive a fork"
    _say({"ready": len(sys.modules), "threads": [path.read_text().strip() for path in _TASKS.glob("*/comm")]})
    running: dict[int, Any] = {}
    buffer, open_ = b"", True
    while open_ or running:
        if open_ and select.select([0], [], [], 0.002 if running else 60)[0]:
            got = os.read(0, 1 << 16)
            open_ = bool(got)
            for pid in running if not open_ else ():  # nobody waits for them any more
                os.kill(pid, signal.SIGKILL)
            *lines, buffer = (buffer + got).split(b"\n")
            for line in lines:
                request = json.loads(line)
                signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # for the run, until the command handles them
                pid = os.fork()
                if not pid:
                    _run(request)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
                running[pid] = request["id"]
                _say({"began": request["id"], "pid": pid})
        while running:
            pid, status, used = os.wait4(-1, 0 if not open_ else os.WNOHANG)
            if not pid:
                break
            code = os.waitstatus_to_exitcode(status)
            _say({"ended": running.pop(pid), "status": code, "megabytes": used.ru_maxrss // 1024})


def _import_all() -> None:
    import phenolens

    for found in pkgutil.walk_packages(phenolens.__path__, "phenolens."):
        if not found.name.startswith(("phenolens.widgets", "phenolens.__main__")):
            importlib.import_module(found.name)
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _say(facts: dict[str, Any]) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


def _run(request: dict[str, Any]) -> None:
    """Be the run that was asked for; does not return."""
    status = 1
    try:
        os.setpgid(0, 0)
        log = Path(request["log"])
        for stream, name in ((0, os.devnull), (1, f"{log}.out"), (2, f"{log}.err")):
            opened = os.open(name, os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(opened, stream)
            os.close(opened)
        os.chdir(request["folder"])
        _prepare(request, log)
        status = _main(request)
    except BaseException:  # noqa: BLE001 - a child of a fork must not go back to the loop
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _prepare(request: dict[str, Any], log: Path) -> None:
    if request.get("file_bytes"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails with an error, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"],) * 2)
    if request.get("prepare"):
        _named(request["prepare"])()
    if request.get("watched"):
        sys.addaudithook(_Watch(request["watched"], request.get("kill_at"), Path(f"{log}.operations")))
    if request.get("user"):
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])


def _main(request: dict[str, Any]) -> int:
    if request.get("call"):
        _named(request["call"])(*request["arguments"])
        return 0
    from phenolens.cli import main as phenolens
    from phenolens.runtime import interrupts

    as_command = interrupts.as_command

    @contextlib.contextmanager
    def heard() -> Any:
        with as_command():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
            yield

    interrupts.as_command = heard
    sys.argv = ["phenolens", *request["arguments"]]
    try:
        phenolens()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _named(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


class _Watch:
    """Counts what a run does to the files of a folder, and ends it, as kill -9 does, just before one of these."""

    def __init__(self, folder: str, kill_at: int | None, count: Path) -> None:
        self.folder, self.kill_at, self.done = folder, kill_at, 0
        self.count = os.open(count, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if not (flags or 0) & _WRITES and not set(mode or "") & set("wax+"):
                return
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return
        if not isinstance(path, (str, os.PathLike)) or not str(Path(self.folder, path)).startswith(self.folder):
            return
        self.done += 1
        os.pwrite(self.count, b"%8d" % self.done, 0)
        if self.done == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
