"""A real assay on a plate that fine-tuning never saw: ``phenolens evaluate`` beside the same with stock DDIM.

    python benchmarks/held_out_plate.py ../shared/data/protein_synthesis_cells --train Week4_27801 Week4_27521
        --judge Week4_27821 --treated "Compound=cycloheximide,Concentration>=15" --control Compound=DMSO --cells whole

One adapter is fine-tuned on the plates of --train and judged on the plate of --judge with the solver as shipped, at its
own guidance and at those of --guidance, with all or less of the fine noise (--fine-noise), and with stock DDIM: 50
steps each way, no guidance, no channel held. Prints a Markdown table and the verdicts.
"""

import argparse
import tempfile
import time
from pathlib import Path

from phenolens.cli.options import cells_from
from phenolens.evaluation.translations.report import evaluate_adapter
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.table import read_screen
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import finetune_screen

FIGURES = (
    ("flip", "flips", "translated"),
    ("controls", "flips", "control"),
    ("real treated", "flips", "treated"),
    ("p of the rise", "flips", "p_value"),
    ("similarity", "identity", "similarity"),
    ("nucleus IoU", "identity", "nucleus_iou"),
    ("slope", "changes", "slope"),
    ("r", "changes", "correlation"),
    ("KS", "distribution", "translated"),
    ("Spearman", "slider", "median_spearman"),
)


def on_plates(condition: str, plates: list[str], others: list[str]) -> Condition:
    """`condition` on some plates, written by leaving out the others."""
    return Condition.parse(",".join([condition, *(f"Plate!={plate}" for plate in others if plate not in plates)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("screen", type=Path)
    parser.add_argument("--train", nargs="+", required=True, help="plates")
    parser.add_argument("--judge", nargs="+", required=True, help="plates")
    parser.add_argument("--control", required=True, help="condition")
    parser.add_argument("--treated", required=True, help="condition")
    parser.add_argument("--cells", default="auto")
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--steps", type=int, default=FinetuneSettings().steps)
    parser.add_argument("--guidance", type=float, nargs="*", default=[], help="further ones to judge")
    parser.add_argument("--fine-noise", type=float, nargs="*", default=[], help="shares that are kept, to judge too")
    parser.add_argument("--images", type=int, default=100, help="images of a condition to fine-tune on")
    parser.add_argument("--out", type=Path, default=None, help="keep the adapter and reports here")
    options = parser.parse_args()
    screen = read_screen(options.screen)
    plates = sorted(screen.table["Metadata_Plate"].astype(str).unique())
    out = options.out or Path(tempfile.mkdtemp())
    if not (out / "adapter" / "card.json").is_file():
        start = time.time()
        source, target = (on_plates(given, options.train, plates) for given in (options.control, options.treated))
        settings = FinetuneSettings(steps=options.steps, max_cells=options.images, preview_every=0)
        cells = finish(find_cells(screen, cells_from(options.cells)))
        finish(finetune_screen(screen, source, target, cells, out=out / "adapter", settings=settings))
        print(f"fine-tuning took {time.time() - start:.0f} s", flush=True)
    adapter = Adapter.load(out / "adapter")
    # Wells that the adapter knows teach the classifier; those of the other plates are judged.
    both = [*options.train, *options.judge]
    source, target = (on_plates(given, both, plates) for given in (options.control, options.treated))
    print("| solver | held | " + " | ".join(name for name, _, _ in FIGURES) + " |\n|" + "---|" * (len(FIGURES) + 2))
    runs = {"difference": {"steps": 20}}
    runs |= {f"difference, guidance {weight:g}": {"steps": 20, "guidance": weight} for weight in options.guidance}
    for share in options.fine_noise:
        for weight in options.guidance or [None]:
            name = f"difference, {share:g} of the fine noise" + (f", guidance {weight:g}" if weight else "")
            runs[name] = {"steps": 20, "guidance": weight, "fine_noise": share}
    runs |= {"ddim": {"steps": 50, "solver": "ddim"}}
    verdicts = []
    for name, how in runs.items():
        result = finish(
            evaluate_adapter(
                adapter, screen, out / name, TranslationSettings(**how), cells=cells_from(options.cells),
                source=source.text, target=target.text, most=options.most,
            )
        )  # fmt: skip
        parts = {part.key: part for part in result.parts}
        found = [parts[key].figures.get(figure) for _, key, figure in FIGURES]
        found = [f["value"] if isinstance(f, dict) else f for f in found]
        held = ", ".join(result.facts["held"]) or "none"
        print(f"| {name} | {held} | " + " | ".join("" if f is None else f"{f:.2f}" for f in found) + " |", flush=True)
        verdicts += [name, *result.notes, *(part.verdict for part in result.parts)]
    print("", *verdicts, sep="\n")


if __name__ == "__main__":
    main()
