"""LoRA, SVDiff and full fine-tuning by the number of images, on a simulated screen whose truth is known.

    python benchmarks/methods.py [--methods lora ...] [--images 25 ...] [--steps N] [--out FOLDER]

Prints a Markdown table. Each row is computed in a process of its own and kept as a file in FOLDER, so the table can be
made in pieces: the same command goes on where it was stopped, and a row made with other options is made again.

In each row two adapters are trained with the same settings on disjoint wells, each with that many images of either
condition. The first is judged on fresh fields:

- *peak memory*: of the whole process until its fine-tuning ends, with Python and torch; on a GPU, of its tensors.
- *flip*: share of held-out control cells that a linear classifier calls treated once they are translated. It is fitted
  on real cells of other wells. Of the real treated cells it finds the share in brackets.
- *SSIM*: of a cell's crop before and after, mean over channels and cells.
- *error*: to the true counterfactual, median over cells, as `benchmarks/counterfactual.py` says.
- *AUROC*: memorisation, from images that both adapters generate from the same noise; 1 is new cells, 0 training images
  (`phenolens.evaluation.translations.memorisation`). In brackets the medians of the two similarities, between and
  nearest.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from counterfactual import errors, training_screen
from skimage.metrics import structural_similarity

from phenolens.evaluation.translations.memorisation import compare, sample
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.progress import finish
from phenolens.screens.cells import Cells
from phenolens.screens.conditions import Condition
from phenolens.screens.crops import cut, resample, window_at
from phenolens.simulation import style_for
from phenolens.translation.apply.translator import Translator
from phenolens.translation.model.base import load_base
from phenolens.translation.model.methods import METHODS
from phenolens.translation.training.discriminative import fit_judge
from phenolens.translation.training.finetuning import FinetuneSettings, finetune
from phenolens.translation.training.training_set import finetune_screen

ROLES = tuple(Condition.parse(f"Metadata_Role={role}") for role in ("negative control", "treated"))
TRAINING, OTHER_HALF, JUDGE, JUDGED, TRUTH = 10_000, 20_000, 30_000, 40_000, 50_000
CROP = 64
COLUMNS = (
    "method",
    "images a condition",
    "trained",
    "adapter",
    "seconds",
    "peak memory",
    "flip (real)",
    "SSIM",
    "error",
    "AUROC (between, nearest)",
)


def known_cells(options, count, seed):
    """A simulated screen with exactly `count` known cells of each condition."""
    style = style_for(options.treatment, options.style)
    screen, cells = training_screen(style, options.treatment, options.dose, count, seed)
    role = cells.table["field"].str[0]
    return screen, Cells(cells.table.groupby(role, group_keys=False).head(count).reset_index(drop=True))


def raw_crops(screen, cells, condition):
    """(plane, window) of each cell of a condition."""
    fields = {field.key: field.image().plane() for field in screen.select(condition)}
    mine = cells.table[cells.table["field"].isin(list(fields))]
    return [(fields[cell.field], window_at(cell.y, cell.x, CROP)) for cell in mine.itertuples()]


def mapped_crops(screen, cells, intensity, size):
    """Mapped crops of both conditions, (n, C, size, size) float32 each, as fine-tuning sees them."""
    return [
        resample(np.stack([cut(intensity.forward(plane), window) for plane, window in raw_crops(screen, cells, role)]),
                 size)
        for role in ROLES
    ]  # fmt: skip


def translated(translator, chosen):
    """Mapped crops before and after translation at strength 1."""
    before, after = [], []
    for first in range(0, len(chosen), 16):
        batch = chosen[first : first + 16]
        planes, windows = [plane for plane, _ in batch], [window for _, window in batch]
        for cell in finish(translator.translate_crops(planes, windows)):
            before.append(translator.adapter.intensity.forward(cell.crop))
            after.append(translator.adapter.intensity.forward(cell.crop + cell.difference[0]))
    return np.stack(before), np.stack(after)


def peak_memory(device):
    """Largest memory so far in MiB."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if platform.system() == "Darwin" else most / 2**10


def measure(options, method, images):
    """One row of the table."""
    device = resolve_device(options.device)
    settings = FinetuneSettings(
        steps=options.steps, method=method, crop=CROP, max_cells=images, seed=options.seed, preview_every=0
    )
    style = style_for(options.treatment, options.style)
    screen, cells = known_cells(options, images, TRAINING)
    before = peak_memory(device)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "adapter"
        job = finetune_screen(screen, *ROLES, cells, out=folder, base=options.base, settings=settings, device=device)
        adapter = finish(job)
        seconds, peak = time.perf_counter() - start, peak_memory(device)
        size = sum(path.stat().st_size for path in folder.iterdir())
        translator = Translator(load_base(options.base, device), adapter)
        about = style, options.treatment, options.dose
        found = errors(translator, *about, CROP, TRUTH, "difference", 20, options.fields)
        seen = translator.base.crop
        judge = fit_judge(*mapped_crops(*known_cells(options, 100, JUDGE), adapter.intensity, CROP))
        judged = known_cells(options, options.judged, JUDGED)
        treated = mapped_crops(*judged, adapter.intensity, CROP)[1]
        source, moved = translated(translator, raw_crops(*judged, ROLES[0]))
        similarity = [
            structural_similarity(one, other, data_range=2.0, channel_axis=0)
            for one, other in zip(source, moved, strict=True)
        ]
        mine = mapped_crops(screen, cells, adapter.intensity, seen)
        one = finish(sample(translator.base, adapter.tokens, *mine, options.generated, seed=options.seed))
        others = mapped_crops(*known_cells(options, images, OTHER_HALF), adapter.intensity, seen)
        base = load_base(options.base, device)
        names = adapter.channel_names
        tuned = finish(finetune(base, *others, names, settings, Path(scratch) / "other.pt"))
    other = finish(sample(base, tuned.tokens, *others, options.generated, seed=options.seed))
    memorised = compare(one, other)
    return {
        "trained": tuned.trained, "bytes": size, "seconds": seconds, "peak": peak, "peak_before": before,
        "held": list(adapter.held), "guidance": adapter.guidance, "loss": adapter.card.final_loss,
        "flip": float((judge(moved) > 0).mean()), "flip_source": float((judge(source) > 0).mean()),
        "flip_treated": float((judge(treated) > 0).mean()), "ssim": float(np.mean(similarity)),
        "error": float(np.median(found)), "error_quartiles": np.quantile(found, [0.25, 0.75]).tolist(),
        "auroc": memorised.auroc, "between": float(np.median(memorised.between)),
        "nearest": float(np.median(memorised.nearest)),
    }  # fmt: skip


def table(rows):
    """Markdown of the rows by (method, images)."""
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for (method, images), row in rows.items():
        lines.append(
            f"| {method} | {images} | {row['trained']:,} | {row['bytes'] / 1e6:.2f} MB | {row['seconds']:.0f} "
            f"| {row['peak']:.0f} MiB | {row['flip']:.2f} ({row['flip_treated']:.2f}) | {row['ssim']:.3f} "
            f"| {row['error']:.3f} | {row['auroc']:.3f} ({row['between']:.2f}, {row['nearest']:.2f}) |"
        )
    return "\n".join(lines)


def kept_row(file, options, make):
    """The row that `file` holds; made by `make` and kept there where it is missing or of other options."""
    row = json.loads(file.read_text()) if file.is_file() else {}
    if row.get("options") != options:
        print(f"{file.stem} …", file=sys.stderr, flush=True)
        row = {"options": options, **make()}
        file.write_text(json.dumps(row, indent=1))
    return row


def in_own_process(method, images, shared):
    """`measure` in a fresh process, whose peak memory is the row's own."""
    given = [text for name, value in shared.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, __file__, "--one-row", "--methods", method, "--images", str(images), *given]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def add_common(parser):
    """Options of the screen, the base and the sampling."""
    parser.add_argument("--treatment", default="translocation")
    parser.add_argument("--style", type=int, default=9001)
    parser.add_argument("--dose", type=float, default=1.0)
    parser.add_argument("--base", default="compact")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--generated", type=int, default=48, help="images of each condition that an adapter generates")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--images", type=int, nargs="+", default=[25, 50, 100, 250], help="of each condition")
    parser.add_argument("--steps", type=int, default=400)
    add_common(parser)
    parser.add_argument("--fields", type=int, default=2, help="fields whose cells are compared with their truth")
    parser.add_argument("--judged", type=int, default=64, help="held-out control cells that are translated")
    parser.add_argument("--out", type=Path, default=Path("methods"), help="keeps a file for each row")
    parser.add_argument("--one-row", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_row:
        print(json.dumps(measure(options, options.methods[0], options.images[0])))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    shared = {k: v for k, v in vars(options).items() if k not in ("methods", "images", "out", "one_row")}
    rows = {}
    for method in options.methods:
        for images in options.images:
            file = options.out / f"{method}-{images}.json"
            rows[method, images] = kept_row(file, shared, partial(in_own_process, method, images, shared))
    print(f"{options.treatment}, style {options.style}, {options.steps} steps, base {options.base}, {options.device}\n")
    print(table(rows))


if __name__ == "__main__":
    main()
