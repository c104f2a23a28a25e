"""The commands that write, each in its smallest run, and what they are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CONTROL, TREATED = "Metadata_Role=negative control", "translocation"


@dataclass(frozen=True)
class Command:
    """A command in its smallest run.

    Parameters
    ----------
    arguments
        Of the folder with the inputs: what the command is given, but for ``--out``.
    inputs
        The files or folders that it reads, below the folder of the inputs, by what they are.
    out
        Name of what it writes.
    again
        What is given beside when an interrupted run is to go on.
    prepare
        A function that is called before it.
    share
        How often it is killed, beside others: less where it takes long, for its processes import everything anew.
    """

    name: str
    arguments: Callable[[Path], tuple[str | Path, ...]]
    inputs: dict[str, str]
    out: str = "out"
    again: tuple[str, ...] = ()
    prepare: str | None = None
    share: float = 1.0

    def line(self, inputs: Path, *, again: bool = False) -> list[str]:
        """The whole command."""
        more = self.again if again else ()
        return [
            str(one) for one in (*self.name.split(":")[0].split(), *self.arguments(inputs), "--out", self.out, *more)
        ]

    @property
    def by_field(self) -> bool:
        """Whether it does field by field, and leaves out those that cannot be done."""
        return self.name.startswith(("cells", "translate", "micon embed"))

    @property
    def how(self) -> dict[str, Any]:
        """What the server of runs is told of it."""
        return {"prepare": self.prepare} if self.prepare else {}


def _finetune(inputs: Path) -> tuple[str | Path, ...]:
    screen = inputs / "screen"
    return (
        screen, "--source", CONTROL, "--target", TREATED, "--base", inputs / "base", "--rank", "2", "--steps", "3",
        "--crop", "48", "--cells", screen / "labels", "--device", "cpu",
    )  # fmt: skip


def _translate(inputs: Path) -> tuple[str | Path, ...]:
    return (
        inputs / "adapter", inputs / "screen", "--cells", inputs / "screen" / "labels", "--hold", "none",
        "--strength", "0", "1", "--steps", "2",
    )  # fmt: skip


def _on_adapter(*more: str) -> Callable[[Path], tuple[str | Path, ...]]:
    return lambda inputs: (
        inputs / "adapter", inputs / "screen", "--cells", inputs / "screen" / "labels", "--hold", "none", *more,
    )  # fmt: skip


_SCREEN, _ADAPTER = {"screen": "screen"}, {"adapter": "adapter", "base": "base"}
_COMPOUNDS, _PROFILES = {"screen": "compounds"}, {"profiles": "wells.parquet"}
_SMALL = ("--treatment", "translocation", "--wells", "2", "--cells", "2")
_FEW_COMPOUNDS = (
    "--compounds", "1", "--batches", "1", "--wells", "1", "--control-wells", "1", "--cells", "2", "--workers", "2",
)  # fmt: skip


def _pretrain(inputs: Path) -> tuple[str | Path, ...]:
    steps = ("--styles", "1", "--autoencoder-steps", "1", "--unet-steps", "2")
    return ("--from", inputs / "base", *steps, "--device", "cpu")


def _on_compounds(*given: str) -> Callable[[Path], tuple[str | Path, ...]]:
    labels = ("compounds", "labels")
    return lambda inputs: (
        *given, inputs / "compounds", "--cells", inputs.joinpath(*labels), "--device", "cpu",
    )  # fmt: skip


def _on_wells(*more: str) -> Callable[[Path], tuple[str | Path, ...]]:
    return lambda inputs: (inputs / "wells.parquet", *more)


_OFTEN, _GO_ON = "fault_commands:often_saved", ("--resume",)
_FLOOR = ("--splits", "1", "--judged", "4", "--steps", "2", "--device", "cpu")
COMMANDS = (
    Command("simulate", lambda _: _SMALL, {}, share=2),
    Command("simulate:zarr", lambda _: (*_SMALL, "--format", "zarr"), {}, share=2),
    Command("simulate:compounds", lambda _: _FEW_COMPOUNDS, {}),
    Command("pretrain", _pretrain, {"base": "base"}, prepare="fault_commands:little_to_draw"),
    Command("cells", lambda inputs: (inputs / "screen", "--cells", inputs / "screen" / "labels"), _SCREEN),
    Command("finetune", _finetune, _SCREEN | {"base": "base"}, again=_GO_ON, prepare=_OFTEN, share=0.5),
    Command("translate", _translate, _ADAPTER | _SCREEN),
    Command("translate:workers", lambda inputs: (*_translate(inputs), "--workers", "2"), _ADAPTER | _SCREEN, share=0.1),
    Command("floor", _on_adapter(*_FLOOR), _ADAPTER | _SCREEN, again=_GO_ON, prepare=_OFTEN, share=0.2),
    Command("evaluate", _on_adapter("--most", "8", "--steps", "2", "--device", "cpu"), _ADAPTER | _SCREEN, share=0.5),
    Command("export", _on_adapter("--field", "plate1_A01_1"), _ADAPTER | _SCREEN),
    Command("micon train", lambda inputs: (*_on_compounds()(inputs), "--steps", "3"), _COMPOUNDS, again=_GO_ON,
            prepare=_OFTEN),
    Command("micon embed", _on_compounds("default"), _COMPOUNDS, out="out.parquet", share=1.5),
    Command("micon correct", _on_wells(), _PROFILES, out="out.parquet", share=2),
    Command("micon correct:h5ad", _on_wells(), _PROFILES, out="out.h5ad", share=1.5),
    Command("micon map", _on_wells(), _PROFILES, share=2),
    Command("micon evaluate", _on_wells("--permutations", "20"), _PROFILES, share=0.5),
)  # fmt: skip


def named(name: str) -> Command:
    """The command of this name."""
    return next(command for command in COMMANDS if command.name == name)


def make_inputs(folder: str) -> None:
    """Write what the commands read into a folder."""
    from phenolens.runtime.progress import finish
    from phenolens.simulation import simulate_compound_screen, simulate_screen, style_for
    from tiny_base import make_tiny_base

    place = Path(folder)
    make_tiny_base(place / "base")
    style = style_for("translocation", 9002)
    finish(simulate_screen(place / "screen", "translocation", wells=4, cells=6, seed=3, shape=(96, 96), style=style))
    finish(
        simulate_compound_screen(
            place / "compounds", compounds=2, batches=2, wells=1, control_wells=2, cells=4, shape=(96, 96), seed=1
        )
    )
    write_wells(place / "wells.parquet")


def write_wells(path: Path, value: float | None = None) -> Path:
    """Profiles of wells of eight compounds; the first number of them is `value` where one is given."""
    import pandas as pd

    random = np.random.default_rng(0)
    look = 2 * random.normal(size=(8, 16))
    rows = [(f"P{plate}", f"W{well}", f"drug {well % 8}") for plate in range(3) for well in range(16)]
    table = pd.DataFrame(rows, columns=["Metadata_Plate", "Metadata_Well", "Metadata_Compound"])
    table["Metadata_Role"] = np.where(table["Metadata_Compound"] == "drug 0", "negative control", "treated")
    vectors = random.normal(size=(48, 16)) + look[[well % 8 for _ in range(3) for well in range(16)]]
    if value is not None:
        vectors[0, 0] = value
    # by pandas, for the project's own writer refuses what is not finite
    pd.concat([table, pd.DataFrame(vectors.astype(np.float32)).add_prefix("emb_")], axis=1).to_parquet(path)
    return path


def often_saved() -> None:
    """Let trainings save after each step, so that they are interrupted at several stages."""
    from phenolens.profiling.training import training
    from phenolens.translation.training import finetune_settings

    _default(finetune_settings.FinetuneSettings, checkpoint_every=1, preview_every=0, batch=4, max_cells=12)
    _default(training.MiconSettings, checkpoint_every=1)


def little_to_draw() -> None:
    """Let pre-training begin with a few drawn crops and take small batches."""
    from phenolens.pretraining.pretraining_sets import CropSet
    from phenolens.runtime.progress import Progress
    from phenolens.translation.training import pretraining

    def drawn(styles: int, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        yield Progress(0, 0)
        return [
            CropSet(f"simulated {n}", name, rng.uniform(-1, 1, (3, 1, 64, 64)).astype(np.float16))
            for n in range(styles) for name in ("control", "effect")
        ]  # fmt: skip

    stand_ins: Any = pretraining
    stand_ins.style_sets = drawn
    stand_ins.choosing_sets = lambda cache: drawn(1, 9)
    _default(pretraining.PretrainSettings, checkpoint_every=1, judge_every=1, unet_batch=2, autoencoder_batch=2)


def _default(settings: Any, **values: Any) -> None:
    """Other defaults for a dataclass of settings."""
    known = settings.__init__.__defaults__
    names = [name for name, one in settings.__dataclass_fields__.items() if name in vars(settings)]
    settings.__init__.__defaults__ = tuple(
        values.get(name, old) for name, old in zip(names[-len(known):], known, strict=True)
    )  # fmt: skip
