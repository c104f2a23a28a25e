"""One adapter for many compounds, and what it makes of compounds that it has never seen, on simulated cells.

    python benchmarks/unseen_compounds.py [--base compact] [--style 9002] [--steps 600] [--a-scaffold 8] [--size 32]

One adapter is fine-tuned on control cells and on those of many compounds, each of which has a token of its own. Trained
with it are tokens made from structures: a regression on similarities, in which each training compound is predicted from
the others. Held out are compounds whose ring system was seen, and all compounds of two ring systems. A held-out
compound gets its token

- trained: by the regression that was trained together with the adapter;
- regression: by kernel ridge regression of the learned tokens on structures, as profiles predict unseen compounds;
- nearest: from the training compound with the most similar structure;
- mean: as the mean of the tokens of all training compounds.

"mean image" adds the mean difference between the treated and the control crops of training to each cell. Leaving the
cell alone is an error of 1. Judged are the same cells under all compounds, each on its own territory (the
pixels nearest to it), by |translated - truth| / |source - truth|, median over cells; and by the error of the mean
change of the measurements that profiles are made of. Intervals: bootstrap over compounds of paired differences.
"""

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from phenolens.profiling.encoders.measurements import Measurements
from phenolens.profiling.molecules.molecules import fingerprints, tanimoto
from phenolens.profiling.molecules.structure_regression import StructureRegression
from phenolens.runtime.progress import finish
from phenolens.screens.crops import cut, feather, window_at
from phenolens.screens.intensity import IntensityMap
from phenolens.simulation import simulate_field
from phenolens.simulation.compounds import DMSO, LARGEST, PHARMACOPHORES, Compound, compound_library
from phenolens.simulation.mechanisms import compound_style
from phenolens.simulation.styles import Style
from phenolens.translation.model.base import Base, load_base
from phenolens.translation.model.lora import inject_lora, load_lora, lora_config, lora_weights, merge_lora
from phenolens.translation.model.precision import half_precision
from phenolens.translation.solvers import Trajectory, difference, invert
from phenolens.translation.training.finetuning import FinetuneSettings

DOSE = 10.0
MECHANISMS = ("filament loss", "filament bundling", "nuclear swelling", "elongation")
LEFT_OUT = ("quinoline", "isoquinoline")
TURNS = 2
RIDGE = 0.1


@dataclass(frozen=True)
class Split:
    """Compounds to train on, and those held out: with ring systems that were seen, and with others."""

    training: list[Compound]
    compounds: list[Compound]
    scaffolds: list[Compound]

    @classmethod
    def draw(cls, a_scaffold: int, seed: int) -> "Split":
        """Active compounds at random; of each mechanism and ring system `a_scaffold` to train on."""
        rng = np.random.default_rng(seed)
        library = [one for one in compound_library(LARGEST) if one.active and one.half_effect <= DOSE / 2]
        training, compounds, scaffolds = [], [], []
        for mechanism in MECHANISMS:
            for ring in PHARMACOPHORES[mechanism][1]:
                pool = [one for one in library if (one.mechanism, one.scaffold) == (mechanism, ring)]
                pool = [pool[i] for i in rng.permutation(len(pool))]
                if ring in LEFT_OUT:
                    scaffolds += pool[:2]
                else:
                    training += pool[:a_scaffold]
                    compounds += pool[a_scaffold : a_scaffold + 3]
        return cls(training, compounds, scaffolds)


@dataclass
class Model:
    """A base with its LoRA layers, and its tokens.

    Parameters
    ----------
    tokens
        (2 + n, d): the data set, the control, and n training compounds.
    values
        (n, d) what the trained regression mixes.
    """

    base: Base
    tokens: torch.nn.Parameter
    values: torch.nn.Parameter
    intensity: IntensityMap
    mean_change: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


def small_style(seed: int, size: int) -> Style:
    """A style in which a cell fills a crop of `size` pixels as a usual one fills 64."""
    style, part = compound_style(seed), size / 64
    return replace(style, nucleus_radius=style.nucleus_radius * part, pixel_size=style.pixel_size / part)


def crops_under(style, compound, size, seed, wanted):
    """Raw crops (n, 3, size, size) of whole cells under a compound, drawn in as many fields as it takes."""
    found = []
    for number in range(20):
        drawn = simulate_field(style, seed + number, shape=(6 * size, 6 * size), effect=compound.effect(DOSE))
        present = drawn.cells[drawn.cells["survives"] & ~drawn.cells["border"]]
        found += [cut(drawn.image, window_at(c.y, c.x, size)) for c in present.itertuples()]
        if len(found) >= wanted:
            return np.stack(found[:wanted])
    return np.stack(found)


def leave_one_out(kernel: np.ndarray) -> np.ndarray:
    """(n, n) weights with which each training compound is predicted from the others; zero on the diagonal."""
    n = len(kernel)
    weights = np.zeros((n, n))
    for i in range(n):
        others = np.arange(n) != i
        solved = np.linalg.solve(kernel[np.ix_(others, others)] + RIDGE * np.eye(n - 1), kernel[others, i])
        weights[i, others] = solved
    return weights


def encode_turned(base: Base, crops: np.ndarray) -> torch.Tensor:
    """Latents (TURNS, n, c, h, w) of crops as they are, and turned."""
    turned = []
    for turn in range(TURNS):
        seen = np.ascontiguousarray(np.rot90(crops, turn, axes=(2, 3))).astype(np.float32)
        turned.append(torch.cat([base.encode(torch.from_numpy(seen[i : i + 64])) for i in range(0, len(seen), 64)]))
    return torch.stack(turned)


def train(base: Base, latents: list[torch.Tensor], mixing: np.ndarray, settings: FinetuneSettings) -> tuple:
    """LoRA weights, tokens and values; `latents` of the control, then of each compound."""
    torch.manual_seed(settings.seed)
    inject_lora(base.unet, lora_config(settings.rank))
    n, device = len(latents) - 1, base.device
    tokens = torch.nn.Parameter(torch.zeros(2 + n, base.token_size, device=device))
    values = torch.nn.Parameter(torch.zeros(n, base.token_size, device=device))
    weights = [p for p in base.unet.parameters() if p.requires_grad]
    parameters = [*weights, tokens, values]
    rates = (settings.rate, settings.token_learning_rate)
    optimizer = torch.optim.AdamW(
        [{"params": weights, "lr": rates[0]}, {"params": [tokens, values], "lr": rates[1]}], weight_decay=0.0
    )
    from diffusers.training_utils import EMAModel

    average = EMAModel(parameters, decay=settings.average, use_ema_warmup=True, power=0.75)
    mix = torch.tensor(mixing, dtype=torch.float32, device=device)
    levels, batch = len(base.schedule.alphas_cumprod), settings.batch
    start = time.time()
    for step in range(settings.steps):
        rng = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        decay = min(1.0, (step + 1) / 20, (settings.steps - step) / (0.3 * settings.steps))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * decay
        # A quarter of every batch are controls; half of the others have their own token, half the mixed one.
        compound = torch.randint(n, (batch,), generator=rng)
        which = torch.where(torch.arange(batch) % 4 == 0, 0, 1 + compound)
        mixed = (torch.arange(batch) % 2 == 1).to(device)
        turn, draw = torch.randint(TURNS, (batch,), generator=rng), torch.rand(batch, generator=rng)
        clean = torch.stack(
            [latents[w][t, int(u * latents[w].shape[1])] for w, t, u in zip(which, turn, draw, strict=True)]
        )
        spread = (torch.randperm(batch, generator=rng) + torch.rand(batch, generator=rng)) / batch
        timesteps = (spread * levels).long().to(device)
        alpha, sigma = base.schedule.alpha_sigma(timesteps)
        eps = torch.randn(clean.shape, generator=rng).to(device)
        keep = (torch.rand(batch, generator=rng) >= settings.dropout).to(device)
        own = tokens[1 + which.to(device)]
        made = (mix @ values)[compound.to(device)]
        condition = torch.where((mixed & (which > 0).to(device))[:, None], made, own) * keep[:, None]
        with half_precision(device):
            out = base.predict(
                alpha * clean + sigma * eps, timesteps, torch.stack([tokens[0].expand(batch, -1), condition], 1)
            )
        goal, unit = alpha * eps - sigma * clean, base.schedule.snr(timesteps) + 1
        weight = unit.clamp(max=settings.snr_gamma) / unit
        loss = ((out - goal).square().mean(dim=(1, 2, 3)) * weight).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.step(parameters)
        if step % 50 == 0:
            print(f"step {step}: loss {float(loss.detach()):.4f}, {time.time() - start:.0f} s", flush=True)
    average.copy_to(parameters)
    return lora_weights(base.unet), tokens.detach().clone(), values.detach().clone()


@dataclass(frozen=True)
class Judged:
    """The same n cells under the control: mapped crops, their own pixels, and their inverted latents."""

    style: Style
    size: int
    seeds: tuple[int, ...]
    cells: list
    source: np.ndarray
    own: np.ndarray
    trajectory: Trajectory
    decoded: np.ndarray


def judged_cells(model: Model, style: Style, size: int, seed: int, count: int, steps: int) -> Judged:
    """Take `count` control cells of fresh fields, and invert them once."""
    seeds, cells, source, own = (seed, seed + 1), [], [], []
    for one in seeds:
        drawn = simulate_field(style, one, shape=(6 * size, 6 * size))
        y, x = np.mgrid[: 6 * size, : 6 * size]
        territory = np.argmin([(y - c.y) ** 2 + (x - c.x) ** 2 for c in drawn.cells.itertuples()], axis=0)
        chosen = 0
        for index, cell in enumerate(drawn.cells.itertuples()):
            inside = size // 2 <= cell.y < len(y) - size // 2 and size // 2 <= cell.x < len(y) - size // 2
            if not inside or cell.border or chosen == count // 2:
                continue
            window = window_at(cell.y, cell.x, size)
            cells.append((one, cell.label, window))
            source.append(model.intensity.forward(cut(drawn.image, window)))
            own.append(cut(territory[None] == index, window)[0])
            chosen += 1
    crops = np.stack(source).astype(np.float32)
    latents = model.base.encode(torch.from_numpy(crops))
    tokens = model.tokens.detach()[[0, 1]]
    trajectory = finish(
        invert(model.base.noise_at, latents, tokens.expand(len(crops), *tokens.shape), model.base.schedule.grid(steps))
    )
    decoded = model.base.decode(latents).cpu().numpy()
    return Judged(style, size, seeds, cells, crops, np.stack(own), trajectory, decoded)


def truth(model: Model, judged: Judged, compound: Compound) -> tuple[np.ndarray, np.ndarray]:
    """The judged cells as the compound leaves them (n, 3, h, w), and which of them survive it."""
    crops, alive = [], []
    shape = (6 * judged.size, 6 * judged.size)
    drawn = {s: simulate_field(judged.style, s, shape=shape, effect=compound.effect(DOSE)) for s in judged.seeds}
    for seed, label, window in judged.cells:
        crops.append(model.intensity.forward(cut(drawn[seed].image, window)))
        alive.append(bool(drawn[seed].cells.set_index("label")["survives"].get(label, False)))
    return np.stack(crops).astype(np.float32), np.array(alive)


def translated(model: Model, judged: Judged, token: torch.Tensor) -> np.ndarray:
    """The judged cells under a condition token (d,), with guidance 1."""
    tokens = model.tokens.detach()
    source, target = tokens[[0, 1]], torch.stack([tokens[0], token.to(tokens.device)])
    n = len(judged.source)

    def noise_at(y: torch.Tensor, s: float, rows: torch.Tensor) -> torch.Tensor:
        # With guidance 1 what the source condition predicts, the first half of the rows, drops out.
        with half_precision(model.base.device):
            under_target = model.base.noise_at(y[-n:], s, rows[-n:])
        return torch.cat([torch.zeros_like(y[:-n]), under_target])

    delta = finish(difference(noise_at, judged.trajectory, source, target, (1.0,), 1.0))[0]
    change = model.base.decode(judged.trajectory.latents + delta).cpu().numpy() - judged.decoded
    return judged.source + change * feather(judged.size, judged.size // 8)


def measure(crops: np.ndarray) -> np.ndarray:
    """Measurements (n, 3 k) of each channel beside the mean of the others."""
    seen = torch.from_numpy(crops)
    found = []
    for channel in range(seen.shape[1]):
        others = [c for c in range(seen.shape[1]) if c != channel]
        found.append(Measurements()(torch.stack([seen[:, channel], seen[:, others].mean(1)], 1)))
    return torch.cat(found, 1).numpy()


def score(judged: Judged, made: np.ndarray, goal: np.ndarray, alive: np.ndarray) -> tuple[float, float]:
    """Median relative error over cells, and relative error of the mean change of the measurements."""
    errors = []
    for m, u, s, own, lives in zip(made, goal, judged.source, judged.own, alive, strict=True):
        if lives:
            apart = np.linalg.norm((s - u)[:, own])
            errors.append(np.linalg.norm((m - u)[:, own]) / max(apart, 1e-6))
    scale = measure(judged.source).std(0) + 1e-3
    m, u, s = (measure(part[alive]).mean(0) / scale for part in (made, goal, judged.source))
    return float(np.median(errors)), float(np.linalg.norm(m - u) / np.linalg.norm(s - u))


def interval(differences: np.ndarray) -> str:
    """Mean and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = differences[rng.integers(len(differences), size=(10_000, len(differences)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{differences.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def prepare(options: argparse.Namespace, split: Split) -> tuple[Model, np.ndarray]:
    """Fine-tune, or take what was fine-tuned before; also fingerprints of the training compounds."""
    style = small_style(options.style, options.size)
    base = load_base(options.base)
    prints = fingerprints([one.smiles for one in split.training])
    kept = options.out / "adapter.pt" if options.out else None
    if kept and kept.is_file():
        state = torch.load(kept, weights_only=False)
        inject_lora(base.unet, state["config"])
        load_lora(base.unet, state["lora"])
        intensity, mean_change = IntensityMap.from_dict(state["intensity"]), state["mean_change"]
        tokens, values = state["tokens"], state["values"]
    else:
        conditions = [DMSO, *split.training]
        raw = [
            crops_under(style, one, options.size, 100_000 + 100 * i, options.cells if i else 4 * options.cells)
            for i, one in enumerate(conditions)
        ]
        intensity = IntensityMap.fit([p for part in raw for p in part], ("DNA", "Second", "Third"))
        mapped = [np.stack([intensity.forward(p) for p in part]).astype(np.float32) for part in raw]
        mean_change = np.mean([part.mean(0) for part in mapped[1:]], 0) - mapped[0].mean(0)
        start = time.time()
        latents = [encode_turned(base, part) for part in mapped]
        print(f"encoded {sum(map(len, mapped))} cells in {time.time() - start:.0f} s", flush=True)
        settings = FinetuneSettings(steps=options.steps, seed=options.seed)
        mixing = leave_one_out(tanimoto(prints, prints))
        lora, tokens, values = train(base, latents, mixing, settings)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save(
                {"config": lora_config(settings.rank), "lora": lora, "tokens": tokens, "values": values,
                 "intensity": intensity.to_dict(), "mean_change": mean_change}, kept,
            )  # fmt: skip
    merge_lora(base.unet)
    base.unet.eval().requires_grad_(False)
    model = Model(base, torch.nn.Parameter(tokens), torch.nn.Parameter(values), intensity, mean_change)
    return model, prints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="compact")
    parser.add_argument("--style", type=int, default=9002)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=64, help="of a crop (px); 32 takes a quarter of the time")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--a-scaffold", type=int, default=8, help="training compounds of a mechanism and ring system")
    parser.add_argument("--cells", type=int, default=24, help="training cells of a compound")
    parser.add_argument("--judged", type=int, default=12, help="cells judged under each compound")
    parser.add_argument("--solver-steps", type=int, default=10)
    parser.add_argument("--out", type=Path, default=None, help="keep the adapter here")
    options = parser.parse_args()
    split = Split.draw(options.a_scaffold, options.seed)
    model, prints = prepare(options, split)
    judged = judged_cells(
        model, small_style(options.style, options.size), options.size, 50_000, options.judged, options.solver_steps
    )
    learned = model.tokens.detach()[2:]
    control = model.tokens.detach()[1]
    changes = (learned - control).numpy()
    doses = np.tile(np.float32([np.log10(DOSE), 1]), (len(prints), 1))
    regression = StructureRegression.fit(prints, doses, changes)
    kernel = tanimoto(prints, prints) + RIDGE * np.eye(len(prints))
    known: dict[int, np.ndarray] = {}

    def under(index: int) -> np.ndarray:
        if index not in known:
            known[index] = translated(model, judged, learned[index])
        return known[index]

    mean = translated(model, judged, learned.mean(0))
    image = judged.source + model.mean_change
    rows = []
    seen = split.training[:: max(1, len(split.training) // 8)]
    for group, members in (("seen", seen), ("unseen compound", split.compounds), ("unseen scaffold", split.scaffolds)):
        for compound in members:
            goal, alive = truth(model, judged, compound)
            made = {"mean": mean, "mean image": image}
            row = {"group": group, "compound": compound.name, "mechanism": compound.mechanism}
            if group == "seen":
                made["own token"] = under(split.training.index(compound))
            else:
                query = fingerprints([compound.smiles])
                alike = tanimoto(query, prints)[0]
                nearest = int(alike.argmax())
                row["nearest is of the mechanism"] = split.training[nearest].mechanism == compound.mechanism
                made["nearest"] = under(nearest)
                predicted = torch.from_numpy(regression.predict(query, doses[:1])[0])
                made["regression"] = translated(model, judged, control + predicted)
                mix = torch.tensor(np.linalg.solve(kernel, alike), dtype=torch.float32)
                made["trained"] = translated(model, judged, mix @ model.values.detach())
            for name, crops in made.items():
                row[name], row[f"{name}, measured"] = score(judged, crops, goal, alive)
            rows.append(row)
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    table = pd.DataFrame(rows)
    if options.out:
        table.to_csv(options.out / "errors.csv", index=False)
    report(table)


def report(table: pd.DataFrame) -> None:
    """Print the tables as Markdown."""
    names = ["own token", "trained", "regression", "nearest", "mean", "mean image"]
    print("\nError to the true counterfactual, mean over compounds of the median over cells")
    print("| compounds | number | " + " | ".join(names) + " |\n|" + "---|" * (2 + len(names)))
    for suffix, what in (("", ""), (", measured", ": of the mean change of the measurements")):
        for group, part in table.groupby("group", sort=False):
            figures = [f"{part[n + suffix].mean():.3f}" if part[n + suffix].notna().any() else "" for n in names]
            print(f"| {group}{what} | {len(part)} | " + " | ".join(figures) + " |")
    unseen = table[table["group"] != "seen"]
    print("\nHow much lower the error is than that of the baseline (95 % interval over compounds)")
    print("| compounds | error | token | than nearest | than mean | than mean image | than nothing |\n|" + "---|" * 7)
    parts = [*unseen.groupby("group", sort=False), ("all unseen", unseen)]
    for group, part in parts:
        for suffix, what in (("", "image"), (", measured", "measurements")):
            for name in ("trained", "regression"):
                ours = part[name + suffix].to_numpy(float)
                others = [interval(part[o + suffix].to_numpy(float) - ours) for o in ("nearest", "mean", "mean image")]
                print(f"| {group} | {what} | {name} | " + " | ".join([*others, interval(1 - ours)]) + " |")


if __name__ == "__main__":
    main()
