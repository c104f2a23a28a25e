"""What the fine part of inverted noise tells of a cell's condition, and what it costs to keep less of it.

    python benchmarks/fine_noise.py --screen ../shared/data/translocation --adapter FOLDER
    python benchmarks/fine_noise.py --simulated FOLDER [--treatment NAME ...] [--style 9001] [--share 0.5 ...]

With --screen and an adapter that benchmarks/translocation.py made: the area under the ROC curve of a linear classifier
of untreated and treated cells by their inverted noise, taught on the wells of the adapter and judged on the others. 0.5
is chance, and what a model that knows its cells would give. Once for the fine part of the noise, once for the coarse.

With --simulated and a folder that benchmarks/counterfactual.py --out made: how far cells move towards a condition that
does not differ from their own, as a share of what the treatment does, median over cells. With all of the fine noise it
is nothing.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from counterfactual import SHAPE
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import cut, window_at
from phenolens.screens.table import read_screen
from phenolens.simulation import simulate_field, style_for
from phenolens.translation.apply.composite import Composite
from phenolens.translation.apply.settings import TranslationSettings
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.adapter import Adapter
from phenolens.translation.model.base import load_base
from phenolens.translation.solvers import fine_part
from phenolens.translation.training.finetuning import FinetuneSettings
from phenolens.translation.training.training_set import gather_crops

# Of the base's numbers nothing is so small; not equal, so that no evaluation is spared.
HARDLY = 1e-5


def inverted(screen, translator, cells):
    """Noise (n, c, h, w) of cells of both conditions, each inverted under its own, and which are treated."""
    adapter, noise, treated = translator.adapter, [], []
    parts = [screen.select(Condition.parse(name)) for name in adapter.conditions]
    both = screen.select(np.isin([f.key for f in screen], [f.key for part in parts for f in part]))
    found = finish(find_cells(both, "auto", nucleus_channel=adapter.nucleus_channel))
    settings = FinetuneSettings(crop=adapter.crop, max_cells=cells)
    crops = finish(gather_crops(both, *parts, found, settings, translator.base.crop, adapter.intensity))
    for number, mapped in enumerate((crops.source, crops.target)):
        latents = translator.base.encode(torch.from_numpy(mapped))
        for some in latents.split(32):
            path = finish(translator.invert_latents(some, adapter.conditions[number]))
            noise.append(path.noise)
        treated += [number] * len(latents)
    return torch.cat(noise), np.array(treated)


def leak(screen_folder: Path, adapter: Adapter, cells: int) -> None:
    """Print how well the noise tells the conditions apart."""
    screen, translator = read_screen(screen_folder), Translator(load_base(adapter.base), adapter)
    known = np.isin([f.key for f in screen], [key for keys in (adapter.card.fields or {}).values() for key in keys])
    rows = screen.table["Metadata_Well"].str[0]
    own = rows.isin(set(rows[known])).to_numpy()
    (taught, y), (judged, truth) = (inverted(screen.select(part), translator, cells) for part in (own, ~own))
    side = taught.shape[-1]
    print("| noise | area under the curve |\n|---|---|")
    for name, part in (
        ("fine part", lambda z: fine_part(z, side)),
        ("coarse part", lambda z: torch.nn.functional.avg_pool2d(z - fine_part(z, side), side // 4)),
    ):
        known_values, values = (part(z).flatten(1).numpy() for z in (taught, judged))
        classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(known_values, y)
        print(f"| {name} | {roc_auc_score(truth, classifier.decision_function(values)):.2f} |", flush=True)


def moved_by_nothing(adapter: Adapter, treatment: str, seed: int, share: float) -> float:
    """How far cells move towards their own condition, as a share of what the treatment does."""
    adapter.tokens[2] = adapter.tokens[1] + HARDLY
    translator = Translator(load_base(adapter.base), adapter, TranslationSettings(guidance=1.0, fine_noise=share))
    style = style_for(treatment, seed)
    one, other = (simulate_field(style, 50_000, treatment=treatment, dose=dose, shape=SHAPE) for dose in (0.0, 1.0))
    windows = [window_at(cell.y, cell.x, adapter.crop) for cell in one.cells.itertuples()]
    composite = Composite(one.image)
    for first in range(0, len(windows), 16):
        done = finish(translator.translate_crops([one.image], windows[first : first + 16]))
        composite.put_all({(first, i): (cell.window, cell.difference[0]) for i, cell in enumerate(done)})
    source, moved, truth = (adapter.intensity.forward(p) for p in (one.image, composite.translated, other.image))
    margin, found = adapter.crop // 2, []
    for cell, window in zip(one.cells.itertuples(), windows, strict=True):
        if all(margin <= at < length - margin for at, length in zip((cell.y, cell.x), SHAPE, strict=True)):
            before, after, treated = (cut(plane, window) for plane in (source, moved, truth))
            found.append(np.linalg.norm(after - before) / np.linalg.norm(treated - before))
    return float(np.median(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screen", type=Path)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--cells", type=int, default=160, help="most of a condition")
    parser.add_argument("--simulated", type=Path)
    parser.add_argument("--treatment", nargs="+", default=["translocation", "latrunculin", "nocodazole"])
    parser.add_argument("--style", type=int, default=9001)
    parser.add_argument("--share", type=float, nargs="+", default=[1.0, 0.75, 0.5])
    options = parser.parse_args()
    if options.screen:
        leak(options.screen, Adapter.load(options.adapter), options.cells)
    if options.simulated:
        print("| treatment | " + " | ".join(f"{share:g} kept" for share in options.share) + " |")
        print("|---" * (1 + len(options.share)) + "|")
        for treatment in options.treatment:
            folder = options.simulated / f"{treatment}-{options.style}"
            moved = [moved_by_nothing(Adapter.load(folder), treatment, options.style, share) for share in options.share]
            print(f"| {treatment} | " + " | ".join(f"{value:.2f}" for value in moved) + " |", flush=True)


if __name__ == "__main__":
    main()
