"""What all tests share: a display for windows, and where the real images lie."""

import gc
import os
import signal
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from display import has_display, missing_packages, virtual_display

# A shell starts what it puts into the background (`pytest &`) with SIGINT ignored, which this process and all that it
# starts would inherit; the tests that interrupt something need it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Networks are exported for ONNX Runtime, into the user's cache, only by the tests that ask for it.
os.environ.setdefault("PHENOLENS_RUNTIME", "torch")
os.environ.setdefault("PHENOLENS_TOUR", "0")
# Tests that run side by side share the processor: each takes one thread, for torch and for OpenGL in software. numba,
# which napari uses, sets the number for torch as well.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if WORKER:
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "LP_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("phenolens", deadline=None)
settings.load_profile("phenolens")

QT_FIXTURES = {"make_napari_viewer", "make_napari_viewer_proxy", "qapp", "qtbot"}
_session = ExitStack()
_no_display = pytest.StashKey[str]()
_looked_through = pytest.StashKey[Path]()


@pytest.fixture(autouse=True, scope="session")
def own_sessions(tmp_path_factory: pytest.TempPathFactory) -> Generator[None, None, None]:
    """Keep sessions of tests away from those of whoever runs them."""
    before = os.environ.get("PHENOLENS_SESSIONS")
    os.environ["PHENOLENS_SESSIONS"] = str(tmp_path_factory.mktemp("sessions"))
    yield
    if before is None:
        del os.environ["PHENOLENS_SESSIONS"]
    else:
        os.environ["PHENOLENS_SESSIONS"] = before


@pytest.fixture(autouse=True)
def all_cores_for_timings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what takes timings, and runs alone, start programs with as many threads as a user's would have."""
    if request.node.get_closest_marker("alone"):
        for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real images beside the checkout, or that of PHENOLENS_SHARED_DATA."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PHENOLENS_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set PHENOLENS_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a base with few and random weights."""
    from tiny_base import make_tiny_base

    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def few_noise_levels() -> Generator[None, None, None]:
    """Let trainings go by few noise levels for previews and guidance, where it does not matter what these show."""
    from phenolens.translation.solvers.schedule import NoiseSchedule

    grid = NoiseSchedule.grid
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NoiseSchedule, "grid", lambda self, steps, *ends: grid(self, min(steps, 3), *ends))
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever uses Qt, so that nobody has to remember it."""
    for item in items:
        if QT_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("window")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start a display where the chosen tests need one and there is none; tests that run side by side have one each.

    Windows on one display take the keyboard from one another.
    """
    wanted = any(item.get_closest_marker("window") for item in session.items)
    own = bool(WORKER) and sys.platform == "linux" and not missing_packages()
    if not wanted or (has_display() and not own) or session.config.option.collectonly:
        return
    try:
        _session.enter_context(virtual_display())
    except (RuntimeError, OSError) as error:
        session.config.stash[_no_display] = str(error)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip window tests, before any fixture opens one, where there is no display; else let them find little garbage.

    napari collects garbage for each layer that it removes, and would look through all modules and tests each time.
    """
    if not item.get_closest_marker("window"):
        return
    if reason := item.config.stash.get(_no_display, ""):
        pytest.skip(reason)
    if item.config.stash.get(_looked_through, None) != item.path:
        item.config.stash[_looked_through] = item.path
        gc.unfreeze()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a window test that was skipped fail where CI=true: there a display is promised."""
    report = yield
    expected = hasattr(report, "wasxfail")
    if report.skipped and not expected and item.get_closest_marker("window") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"a window test was skipped in CI: {report.longrepr}"
    return report


def pytest_unconfigure() -> None:
    """Stop the display."""
    _session.close()
