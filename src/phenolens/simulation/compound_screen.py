"""A whole simulated screen of compounds on disk, in several batches, with what is known of each cell."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from phenolens.runtime.errors import ScreenError
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.output_kinds import SCREEN
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.pools import process_pool
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import write_provenance
from phenolens.simulation.batches import Batch, plate_of, random_batch
from phenolens.simulation.compounds import DMSO, Compound, compound_library
from phenolens.simulation.field import simulate_field
from phenolens.simulation.field_files import write_image, write_labels
from phenolens.simulation.mechanisms import check_shows_mechanisms, compound_style
from phenolens.simulation.plates import PlateEffect, well_effect
from phenolens.simulation.styles import Style
from phenolens.simulation.treatments import CellState

PLATE_SIZES = ((8, 12), (16, 24))
"""Rows and columns of the plates that there are."""

_STATES = [one.name for one in fields(CellState) if one.name != "survives"]


@dataclass(frozen=True)
class _Layout:
    """How much there is of everything: wells are those of one content on one plate, sites the fields in a well."""

    batches: int
    plates_per_batch: int
    wells: int
    control_wells: int
    sites: int


@dataclass(frozen=True)
class _Look:
    """What the fields of a screen are drawn from."""

    style: Style
    batch_strength: float
    cells: int
    shape: tuple[int, int]
    seed: int


@dataclass(frozen=True)
class _Place:
    """One field to be made."""

    batch: str
    plate: str
    well: str
    site: int
    compound: Compound
    concentration: float
    dispensed: float
    cells: int
    seed: int
    style: Style
    effect: PlateEffect
    shape: tuple[int, int]

    @property
    def key(self) -> str:
        return f"{self.plate}_{self.well}_{self.site}"


@one_at_a_time()
def simulate_compound_screen(
    out: str | os.PathLike[str],
    *,
    compounds: int = 24,
    batches: int = 4,
    plates_per_batch: int = 1,
    wells: int = 2,
    control_wells: int = 8,
    concentrations: Sequence[float] = (10.0,),
    sites: int = 1,
    cells: int = 25,
    seed: int = 0,
    shape: tuple[int, int] = (384, 384),
    style: Style | None = None,
    batch_strength: float = 1.0,
    workers: int = 1,
    overwrite: bool = False,
) -> Job[Path]:
    """Simulate a screen of compounds whose mechanisms are known, on several plates that batch effects set apart.

    The folder is written whole or not at all. It holds ``screen.csv`` (a row a field: ``Metadata_`` columns, and
    ``Image`` and ``Labels`` relative to the table), ``images/``, ``labels/`` (nuclei), ``cells.csv`` (what is known of
    each cell, with its state: how far each property was moved), ``compounds.csv`` (what is known of each compound) and
    ``provenance.json``.

    Parameters
    ----------
    out
        Folder to write; an earlier simulated screen in it is replaced once the new one is whole.
    compounds
        Number of compounds beside the control, the first ones of `compound_library`.
    batches, plates_per_batch
        Number of batches, and of plates in each. Each plate holds all compounds, at random places.
    wells, control_wells
        Number of wells a plate of each compound at each concentration, and of the control.
    concentrations
        In µM. A compound's effect rises with the concentration as its potency says.
    sites, cells
        Fields in a well, and cells in a field before batches and wells vary it; fewer where they do not fit.
    seed
        The same seed and style give the same pixels.
    shape
        Height and width of a field (px).
    style
        Look of the cells; drawn by `seed` by default.
    batch_strength
        Strength of the batch effects: 0 for none; 1 moves the brightness far more than the compounds do.
    workers
        Number of processes; the pixels do not depend on it. A script that asks for more than one keeps its own work
        under ``if __name__ == "__main__"``.
    overwrite
        Replace any earlier output of phenolens in the folder.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ScreenError
        If a number is too small, the wells do not fit on a plate, or `style` does not show the mechanisms.
    OutputError
        If the folder cannot be written, or holds something else.
    """
    style = compound_style(seed) if style is None else style
    check_shows_mechanisms(style)
    library = compound_library(compounds)
    amounts = tuple(float(amount) for amount in concentrations)
    layout = _Layout(batches, plates_per_batch, wells, control_wells, sites)
    look = _Look(style, batch_strength, cells, shape, seed)
    _check(layout, look, amounts, workers)
    days = [random_batch(style, batch_strength, _seed(seed, day, 0xDA1)) for day in range(batches)]
    plan = _plan(layout, look, days, [(compound, amount) for compound in library for amount in amounts])
    with writing_output(Path(out), SCREEN, overwrite) as folder:
        made = yield from _simulate(folder, plan, workers)
        _write_tables(folder, made, library, amounts)
        _write_provenance(folder, layout, look, days, compounds, amounts)
    return Path(out)


def _check(layout: _Layout, look: _Look, amounts: tuple[float, ...], workers: int) -> None:
    numbers = {
        "batch": layout.batches,
        "plate a batch": layout.plates_per_batch,
        "well": layout.wells,
        "control well": layout.control_wells,
        "site": layout.sites,
        "cell": look.cells,
        "process": workers,
    }
    for what, number in numbers.items():
        if number < 1:
            raise ScreenError(f"A screen of compounds needs at least one {what}: not {number}.")
    if not amounts or not all(np.isfinite(amount) and amount > 0 for amount in amounts):
        raise ScreenError("The concentrations of a screen are one or more numbers above 0 (µM).")
    if len(set(amounts)) < len(amounts):
        raise ScreenError("A concentration is given twice: give each once, and more wells instead.")
    strength, shape = look.batch_strength, look.shape
    if not (np.isfinite(strength) and 0 <= strength <= 3):
        raise ScreenError(f"The strength {strength} of the batch effects is not between 0 and 3.")
    if min(shape) < 32:
        raise ScreenError(f"A field of {shape[0]} x {shape[1]} px is too small: ask for at least 32 x 32.")


def _plan(
    layout: _Layout, look: _Look, days: Sequence[Batch], treatments: Sequence[tuple[Compound, float]]
) -> list[_Place]:
    """Lay out all plates, each with its own effect and its own order of the wells."""
    treated = [treatment for treatment in treatments for _ in range(layout.wells)]
    contents = treated + [(DMSO, 0.0)] * layout.control_wells
    size = _plate_size(len(contents))
    plan: list[_Place] = []
    for day, batch in enumerate(days):
        for number in range(layout.plates_per_batch):
            where = (int(look.seed), day, number)
            plate = plate_of(batch, look.batch_strength, _seed(*where, 0x91A))
            name = f"batch{day + 1}_plate{number + 1}"
            plan += _plan_plate(name, batch, plate, contents, size, where, look.cells, layout.sites, look.shape)
    return plan


def _plan_plate(
    name: str,
    batch: Batch,
    plate: PlateEffect,
    contents: Sequence[tuple[Compound, float]],
    size: tuple[int, int],
    seeds: tuple[int, ...],
    cells: int,
    sites: int,
    shape: tuple[int, int],
) -> list[_Place]:
    """Lay out one plate: what goes into which well, in the order of the wells."""
    order = np.random.default_rng([*seeds, 0x1A7]).permutation(size[0] * size[1])[: len(contents)]
    places = []
    for well, (compound, concentration) in sorted(zip(order.tolist(), contents, strict=True), key=lambda one: one[0]):
        row, column = divmod(well, size[1])
        well_seed = _seed(*seeds, well)
        # Neither pipettes nor cells repeat themselves exactly.
        dispensed, seeded = np.exp(0.1 * np.random.default_rng([well_seed, 0x3A2]).standard_normal(2))
        places += [
            _Place(
                batch=name.partition("_")[0],
                plate=name,
                well=f"{chr(ord('A') + row)}{column + 1:02d}",
                site=site + 1,
                compound=compound,
                concentration=concentration,
                dispensed=float(concentration * dispensed),
                cells=max(round(cells * batch.density * float(seeded)), 1),
                seed=_seed(well_seed, site),
                style=batch.style,
                effect=well_effect(plate, well_seed),
                shape=(int(shape[0]), int(shape[1])),
            )
            for site in range(sites)
        ]
    return places


def _plate_size(wells: int) -> tuple[int, int]:
    for rows, columns in PLATE_SIZES:
        if wells <= rows * columns:
            return rows, columns
    raise ScreenError(f"{wells} wells do not fit on a plate of 384: ask for fewer compounds, concentrations or wells.")


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence([int(number) for number in numbers]).generate_state(1)[0])


def _simulate(folder: Path, plan: list[_Place], workers: int) -> Job[list[tuple[dict[str, Any], Any]]]:
    """Simulate and write all fields; return of each its row of the table, and its cells."""
    made: list[tuple[dict[str, Any], Any]] = []
    for name in ("images", "labels"):
        (folder / name).mkdir()
    yield Progress(0, len(plan), f"simulating {len(plan)} fields")
    with _mapping(workers) as each:
        for result in each(partial(_make, folder), plan):
            made.append(result)
            yield Progress(len(made), len(plan), f"simulated {plan[len(made) - 1].key}")
    return made


@contextmanager
def _mapping(workers: int) -> Iterator[Any]:
    """Map a function over places in order, here or in processes, which end with the block."""
    if workers == 1:
        yield map
        return
    with process_pool(workers) as pool:
        yield partial(pool.map, chunksize=4)


def _make(folder: Path, place: _Place) -> tuple[dict[str, Any], Any]:
    """Simulate and write one field; return its row of the table, and its cells."""
    import pandas as pd

    effect = place.compound.effect(place.dispensed)
    field = simulate_field(
        place.style, place.seed, shape=place.shape, n_cells=place.cells, plate=place.effect, effect=effect
    )
    image, labels = f"images/{place.key}.ome.tif", f"labels/{place.key}.tif"
    what = f"{place.key}, {place.compound.name} at {place.concentration:g} µM"
    write_image(folder / image, field, what, f"{place.seed} {what}")
    write_labels(folder / labels, field)
    control = place.compound == DMSO
    row = {
        "Metadata_Plate": place.plate,
        "Metadata_Well": place.well,
        "Metadata_Site": place.site,
        "Metadata_Batch": place.batch,
        "Metadata_Compound": place.compound.name,
        "Metadata_SMILES": place.compound.smiles,
        "Metadata_Mechanism": place.compound.mechanism,
        "Metadata_Role": "negative control" if control else "treated",
        "Metadata_Concentration": place.concentration,
        "Metadata_Active": place.compound.active,
        "Image": image,
        "Labels": labels,
    }
    states = pd.DataFrame([asdict(state) for state in field.states], columns=_STATES)
    cells = field.cells.join(states.add_prefix("state_"))
    cells.insert(0, "field", place.key)
    return row, cells


def _write_tables(
    folder: Path, made: list[tuple[dict[str, Any], Any]], library: Sequence[Compound], amounts: tuple[float, ...]
) -> None:
    import pandas as pd

    pd.DataFrame([row for row, _ in made]).to_csv(folder / "screen.csv", index=False)
    pd.concat([cells for _, cells in made], ignore_index=True).to_csv(folder / "cells.csv", index=False)
    known = []
    for compound in library:
        whole = compound.effect(max(amounts))
        known.append(
            {
                "Metadata_Compound": compound.name,
                "Metadata_SMILES": compound.smiles,
                "Metadata_Mechanism": compound.mechanism,
                "Metadata_Active": compound.active,
                "scaffold": compound.scaffold,
                "half_effect": compound.half_effect,
                "lost": whole.lost,
                **{f"state_{name}": change for name, change in whole.changes.items()},
            }
        )
    pd.DataFrame(known).fillna(0.0).to_csv(folder / "compounds.csv", index=False)


def _write_provenance(
    folder: Path, layout: _Layout, look: _Look, days: Sequence[Batch], compounds: int, amounts: tuple[float, ...]
) -> None:
    write_provenance(
        folder,
        made_by="simulate_compound_screen",
        synthetic=True,
        compounds=compounds,
        batches=layout.batches,
        plates_per_batch=layout.plates_per_batch,
        wells=layout.wells,
        control_wells=layout.control_wells,
        concentrations=list(amounts),
        sites=layout.sites,
        cells=look.cells,
        seed=look.seed,
        shape=list(look.shape),
        batch_strength=look.batch_strength,
        style=look.style.to_dict(),
        batch_effects={f"batch{day + 1}": batch.to_dict() for day, batch in enumerate(days)},
    )
