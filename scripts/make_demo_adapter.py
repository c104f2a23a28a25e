"""Train the adapter that the demo ships with: ``python scripts/make_demo_adapter.py``.

Simulates wells of the demo's style other than those that the demo shows, fine-tunes the compact base on them with fixed
settings, and writes src/phenolens/adapters/demo in float16.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from phenolens.cli.console import reporting
from phenolens.cli.demo_run import STYLE_SEED, TRAINING_SEED, TREATMENT, demo_style
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.conditions import Condition
from phenolens.screens.table import read_screen
from phenolens.simulation import simulate_screen
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen

OUT = Path(__file__).resolve().parents[1] / "src" / "phenolens" / "adapters" / "demo"
SETTINGS = FinetuneSettings(seed=1)
WELLS = 12


def make_demo_adapter(
    out: Path = OUT,
    base: str = "compact",
    settings: FinetuneSettings = SETTINGS,
    wells: int = WELLS,
    device: str = "auto",
) -> Job[Path]:
    """Simulate, fine-tune, and write the adapter with half-precision weights to `out`."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = yield from simulate_screen(
            Path(scratch) / "screen", TREATMENT, wells=wells, seed=TRAINING_SEED, style=demo_style()
        )
        adapter = yield from finetune_screen(
            read_screen(folder),
            Condition.parse("Metadata_Role=negative control"),
            Condition.parse(f"Metadata_Compound={TREATMENT}"),
            out=Path(scratch) / "adapter",
            base=base,
            settings=settings,
            device=device,
        )
    yield Progress(0, 0, "Writing the adapter")
    return _in_half_precision(adapter).save(out)


def _in_half_precision(adapter: Adapter) -> Adapter:
    # The tokens are few, and go into the network as they are: only the LoRA weights are halved.
    adapter.weights = {name: weight.half() for name, weight in adapter.weights.items()}
    about = f"a screen simulated by phenolens: {TREATMENT}, style {STYLE_SEED}, seed {TRAINING_SEED}"
    adapter.card = replace(adapter.card, further={"trained_on": about, "weights": "float16"})
    return adapter


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--base", default="compact")
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


def main() -> None:
    """Run from the shell."""
    given = _arguments()
    with reporting("make_demo_adapter", as_json=False) as console:
        folder = console.follow(make_demo_adapter(given.out, given.base, device=given.device))
        console.done(f"Wrote {folder}, {_megabytes(folder):.1f} MB")


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
