"""The small files that the examples of the documentation work on, by the names that they use."""

from pathlib import Path

import pytest

from phenolens.runtime.progress import finish
from phenolens.samples.collection import STYLE_SEED
from phenolens.simulation import simulate_compound_screen, simulate_screen, style_for


def make_example_files(folder: Path, base: Path) -> None:
    """Write ``screen`` (6 wells of 128 x 128 pixels) and ``adapter`` (of `base`, after 2 steps) into `folder`."""
    import phenolens as ph

    style = style_for("translocation", STYLE_SEED)
    made = simulate_screen(folder / "screen", "translocation", wells=6, cells=6, shape=(128, 128), style=style)
    screen = ph.read_screen(finish(made))
    conditions = ("Metadata_Role=negative control", "translocation")
    ph.finetune(screen, *conditions, out=folder / "adapter", base=str(base), cells="whole", steps=2, crop=40)


def make_small_samples(cache: Path) -> None:
    """Fill a cache of samples with smaller ones of the same kind."""
    style = style_for("translocation", STYLE_SEED)
    finish(simulate_screen(cache / "simulated", "translocation", wells=8, cells=8, shape=(160, 160), style=style))
    finish(simulate_compound_screen(cache / "compounds", compounds=6, batches=2, cells=6, shape=(112, 112)))


def put_tiny_base(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    """Let the name of the compact base mean `base`, which has few and random weights."""
    from phenolens.runtime import models

    known = models.local_base
    monkeypatch.setattr(models, "local_base", lambda name: base if name == "compact" else known(name))
