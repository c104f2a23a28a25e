"""A whole simulated screen on disk, with the counterfactual of each of its fields."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phenolens.runtime.errors import ScreenError
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.output_kinds import SCREEN
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.progress import Job, Progress
from phenolens.runtime.provenance import write_provenance
from phenolens.simulation.field import SimulatedField, simulate_field
from phenolens.simulation.field_files import write_image, write_labels
from phenolens.simulation.plates import PlateEffect, random_plate, well_effect
from phenolens.simulation.styles import Style, style_for
from phenolens.simulation.treatments import check_treatment


@dataclass(frozen=True)
class _Layout:
    """The doses in turn, and how many wells and plates there are, and fields in a well."""

    doses: list[float]
    wells: int
    sites: int
    plates: int


@dataclass(frozen=True)
class _Look:
    """What the fields of a screen are drawn from."""

    style: Style
    treatment: str
    cells: int
    shape: tuple[int, int]
    seed: int


@dataclass(frozen=True)
class _Site:
    """One field to be made: where it lies, and the dose that it and its truth get (0 for a control)."""

    plate: int
    well: str
    site: int
    dose: float
    truth_dose: float
    rank: int
    seed: int
    effect: PlateEffect

    @property
    def key(self) -> str:
        return f"plate{self.plate}_{self.well}_{self.site}"


@one_at_a_time()
def simulate_screen(
    out: str | os.PathLike[str],
    treatment: str,
    *,
    wells: int = 8,
    cells: int = 25,
    seed: int = 0,
    dose: float = 1.0,
    doses: Sequence[float] | None = None,
    sites: int = 1,
    plates: int = 1,
    shape: tuple[int, int] = (512, 512),
    style: Style | None = None,
    overwrite: bool = False,
) -> Job[Path]:
    """Simulate a screen: half of the wells of each plate are controls, the others are treated.

    The folder is written whole or not at all. It holds ``screen.csv`` (a row a field: ``Metadata_`` columns,
    and ``Image``, ``Truth`` and ``Labels`` relative to the table), ``images/``, ``labels/`` (nuclei),
    ``truth/`` (for a control the same field treated, for a treated field the same one untreated),
    ``cells.csv`` and ``truth/cells.csv`` (what is known of each cell) and ``provenance.json``.

    Parameters
    ----------
    out
        Folder to write; an earlier simulated screen in it is replaced once the new one is whole.
    treatment
        One of `TREATMENTS`.
    wells
        Number of wells on all plates together, at least two a plate.
    cells
        Number of cells in a field; fewer where they do not fit.
    seed
        The same seed and style give the same pixels.
    dose
        Dose of the treated wells, from 0 to 1.
    doses
        Several doses instead, given to the treated wells in turn; the truth of a control is at the highest.
    sites
        Fields in a well.
    plates
        Number of plates, each with its own gain, background and focus.
    shape
        Height and width of a field (px).
    style
        Look of the cells; drawn by `seed` by default.
    overwrite
        Replace any earlier output of phenolens in the folder.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ScreenError
        If there is no such treatment, a dose is not in [0, 1], a number is too small, or `style` does not
        show what the treatment changes.
    OutputError
        If the folder cannot be written, or holds something else.
    """
    given = [float(dose)] if doses is None else [float(value) for value in doses]
    style = style_for(treatment, seed) if style is None else style
    layout = _Layout(given, wells, sites, plates)
    look = _Look(style, treatment, cells, shape, seed)
    _check(layout, look)
    plan = list(_plan(layout, seed))
    with writing_output(Path(out), SCREEN, overwrite) as folder:
        yield from _simulate(folder, plan, look)
        _write_provenance(folder, layout, look)
    yield Progress(len(plan), len(plan), f"simulated {len(plan)} fields")
    return Path(out)


def _check(layout: _Layout, look: _Look) -> None:
    if not layout.doses:
        raise ScreenError("No dose is given: give at least one between 0 and 1.")
    for dose in layout.doses:
        check_treatment(look.style, look.treatment, dose)
    wells, sites, plates, cells, shape = layout.wells, layout.sites, layout.plates, look.cells, look.shape
    if plates < 1 or sites < 1 or cells < 1:
        raise ScreenError(f"A screen needs at least one plate, site and cell: not {plates}, {sites}, {cells}.")
    if wells < 2 * plates:
        raise ScreenError(
            f"{wells} wells on {plates} plates are too few for a control and a treated well on each: "
            f"ask for {2 * plates}."
        )
    if -(-wells // plates) > 384:
        raise ScreenError(f"{wells} wells do not fit on {plates} plates of 384 wells: ask for more plates.")
    if min(shape) < 32:
        raise ScreenError(f"A field of {shape[0]} x {shape[1]} px is too small: ask for at least 32 x 32.")


def _plate(seed: int, plate: int) -> PlateEffect:
    return random_plate(int(np.random.SeedSequence([int(seed), plate, 0x91A7E]).generate_state(1)[0]))


def _plan(layout: _Layout, seed: int) -> Iterator[_Site]:
    doses = layout.doses
    ranks = {dose: rank + 1 for rank, dose in enumerate(sorted(set(doses)))}
    treated = 0
    for plate in range(layout.plates):
        here = len(range(plate, layout.wells, layout.plates))
        columns = 12 if here <= 96 else 24
        effect = _plate(seed, plate)
        for well in range(here):
            # Wells take turns, so that no side of a plate is all of one kind; every second plate begins with
            # the other kind, which evens out plates with an odd number of wells.
            control = (well + plate) % 2 == 0
            dose = 0.0 if control else doses[treated % len(doses)]
            treated += not control
            well_seed = int(np.random.SeedSequence([int(seed), plate, well]).generate_state(1)[0])
            for site in range(layout.sites):
                yield _Site(
                    plate=plate + 1,
                    well=f"{chr(ord('A') + well // columns)}{well % columns + 1:02d}",
                    site=site + 1,
                    dose=dose,
                    truth_dose=max(doses) if control else 0.0,
                    rank=0 if control else ranks[dose],
                    seed=int(np.random.SeedSequence([well_seed, site]).generate_state(1)[0]),
                    effect=well_effect(effect, well_seed),
                )


def _simulate(folder: Path, plan: list[_Site], look: _Look) -> Job[None]:
    """Simulate and write all fields and what is known of them."""
    rows: list[dict[str, Any]] = []
    known: list[Any] = []
    known_truth: list[Any] = []
    for name in ("images", "labels", "truth"):
        (folder / name).mkdir()
    for step, place in enumerate(plan):
        yield Progress(step, len(plan), f"simulating {place.key}")
        made = {
            amount: simulate_field(
                look.style,
                place.seed,
                treatment=look.treatment,
                dose=amount,
                shape=look.shape,
                n_cells=look.cells,
                plate=place.effect,
            )
            for amount in (place.dose, place.truth_dose)
        }
        field, truth = made[place.dose], made[place.truth_dose]
        rows.append(_write_site(folder, place, look.treatment, field, truth))
        known.append(field.cells.assign(field=place.key))
        known_truth.append(truth.cells.assign(field=place.key))
    _write_tables(folder, rows, known, known_truth)


def _write_site(
    folder: Path, place: _Site, treatment: str, field: SimulatedField, truth: SimulatedField
) -> dict[str, Any]:
    image, other = f"images/{place.key}.ome.tif", f"truth/{place.key}.ome.tif"
    for path, shown, dose in ((image, field, place.dose), (other, truth, place.truth_dose)):
        write_image(folder / path, shown, f"{place.key}, dose {dose:g}", f"{place.seed} {place.key} {dose!r}")
    labels = f"labels/{place.key}.tif"
    write_labels(folder / labels, field)
    control = place.rank == 0
    return {
        "Metadata_Plate": f"plate{place.plate}",
        "Metadata_Batch": "batch1",
        "Metadata_Well": place.well,
        "Metadata_Site": place.site,
        "Metadata_Compound": "DMSO" if control else treatment,
        "Metadata_Concentration": place.dose,
        "Metadata_DoseRank": place.rank,
        "Metadata_Role": "negative control" if control else "treated",
        "Metadata_Treatment": "none" if control else treatment,
        "Metadata_TruthConcentration": place.truth_dose,
        "Image": image,
        "Truth": other,
        "Labels": labels,
    }


def _write_tables(folder: Path, rows: list[dict[str, Any]], known: list[Any], known_truth: list[Any]) -> None:
    import pandas as pd

    pd.DataFrame(rows).to_csv(folder / "screen.csv", index=False)
    for path, tables in ((folder / "cells.csv", known), (folder / "truth" / "cells.csv", known_truth)):
        whole = pd.concat(tables, ignore_index=True)
        whole.insert(0, "field", whole.pop("field"))
        whole.to_csv(path, index=False)


def _write_provenance(folder: Path, layout: _Layout, look: _Look) -> None:
    write_provenance(
        folder,
        made_by="simulate_screen",
        synthetic=True,
        treatment=look.treatment,
        doses=layout.doses,
        wells=layout.wells,
        cells=look.cells,
        sites=layout.sites,
        plates=layout.plates,
        shape=list(look.shape),
        seed=look.seed,
        style=look.style.to_dict(),
        plate_effects={f"plate{n + 1}": _plate(look.seed, n).to_dict() for n in range(layout.plates)},
    )
