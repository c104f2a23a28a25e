"""Cells to train an encoder on: what is measured of each, and the number and structure of its compound."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from phenolens.profiling.corrections.plate_correction import plate_names
from phenolens.profiling.encoders.cell_crops import crops_of
from phenolens.profiling.encoders.counterfactual import dose_features
from phenolens.profiling.encoders.encoder import CellEncoder
from phenolens.profiling.encoders.network import EncoderNetwork
from phenolens.profiling.molecules.molecules import BITS, fingerprints, molecule_key, read_molecules
from phenolens.profiling.tables.profiles import is_control, treatment_names
from phenolens.profiling.training.augmentation import augment
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Screen

if TYPE_CHECKING:
    from pandas import DataFrame

_AUGMENT = 0.6


@dataclass(frozen=True)
class Compounds:
    """The compounds of a table of cells.

    Parameters
    ----------
    numbers
        (n,) of each row: 0 for controls, from 1 for compounds.
    table
        A row a compound, in the order of the numbers: ``Metadata_Compound`` and ``SMILES`` (standard form, or empty).
    fingerprints
        (k + 1, bits) counts by number; zero for controls and where there is no structure.
    doses
        (n, 2) by row; see `dose_features`.
    controls
        InChIKeys of the control compounds, where their structures are given.
    """

    numbers: NDArray[np.int64]
    table: "DataFrame"
    fingerprints: NDArray[np.float32]
    doses: NDArray[np.float32]
    controls: tuple[str, ...] = ()

    @property
    def structures(self) -> NDArray[np.bool_]:
        """Which compounds (k,) have a structure."""
        return np.asarray(self.table["SMILES"] != "", bool)


@dataclass(frozen=True)
class TrainingCells:
    """Cells with their compounds.

    Parameters
    ----------
    metadata
        n rows of ``Metadata_`` columns.
    compounds
        Which compound each has.
    looks
        (views, n, C, length) float32: the features of each cell, the first as it is, the others turned and changed as
        plates differ.
    """

    metadata: "DataFrame"
    compounds: Compounds
    looks: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.metadata)

    def select(self, mask: NDArray[np.bool_]) -> "TrainingCells":
        """The cells that a boolean mask (n,) marks; compounds keep their numbers."""
        compounds = replace(self.compounds, numbers=self.compounds.numbers[mask], doses=self.compounds.doses[mask])
        return TrainingCells(self.metadata[mask].reset_index(drop=True), compounds, self.looks[:, mask])

    @cached_property
    def plates(self) -> NDArray[np.int64]:
        """Number (n,) of each cell's plate."""
        import pandas as pd

        return np.asarray(pd.factorize(np.array(plate_names(self.metadata), object))[0], np.int64)

    def bags(
        self,
        network: EncoderNetwork,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
        offsets: Tensor | None = None,
    ) -> Tensor:
        """Embeddings (..., d) of bags of cells, rows (..., bag): the mean over each bag.

        `offsets` (p, C, length) by plate numbers are what each plate adds to the features, which is taken off.
        """
        flat = rows.reshape(-1)
        features = torch.from_numpy(self.looks[rng.integers(len(self.looks), size=len(flat)), flat])
        features = features.to(next(network.parameters()).device)
        if offsets is not None:
            features = features - offsets[torch.from_numpy(self.plates[flat])]
        embedded: Tensor = network.pool(features)
        return embedded.reshape(*rows.shape, -1).mean(dim=-2)


def number_compounds(metadata: "DataFrame", by: str = "compound") -> Compounds:
    """Number the compounds of a table and read their structures.

    Compounds are the same where their structures have one InChIKey, however they are written; where no structure is
    given, where their names are. With `by` "treatment" each dose counts as a compound of its own.

    Raises
    ------
    ScreenError
        A row that is no control names no compound, or its structure cannot be read; the message names the row.
    """
    import pandas as pd

    controls = is_control(metadata)
    if "Metadata_Compound" not in metadata.columns:
        raise ScreenError(
            f"Training needs a column Metadata_Compound; the columns are {', '.join(map(str, metadata.columns))}."
        )
    named = metadata["Metadata_Compound"].fillna("").astype(str)
    texts = metadata["Metadata_SMILES"] if "Metadata_SMILES" in metadata.columns else None
    keys = named.to_numpy(object).copy()
    standard = np.full(len(metadata), "", object)
    if texts is not None:
        given = (texts.fillna("").astype(str).str.strip() != "").to_numpy(bool)
        treated = np.flatnonzero(~controls & given)
        for row, one in zip(treated, read_molecules(texts.iloc[treated], rows=list(treated + 1)), strict=True):
            keys[row], standard[row] = one.key, one.smiles
    nameless = np.flatnonzero(~controls & (named.str.strip() == "").to_numpy(bool) & (standard == ""))
    if len(nameless):
        raise ScreenError(
            f"Row {nameless[0] + 1} of column Metadata_Compound names no compound: name it, or mark the row as a "
            "negative control in Metadata_Role."
        )
    names = treatment_names(metadata).to_numpy(object) if by == "treatment" else named.to_numpy(object)
    if by == "treatment":
        keys = np.array([f"{key} {name}" for key, name in zip(keys, names, strict=True)], object)
    numbers = np.zeros(len(metadata), np.int64)
    codes, _ = pd.factorize(keys[~controls])
    numbers[~controls] = codes + 1
    first = np.array([np.flatnonzero(numbers == number)[0] for number in np.unique(codes) + 1], np.int64)
    table = pd.DataFrame({"Metadata_Compound": names[first], "SMILES": standard[first]})
    counts = np.zeros((len(table) + 1, BITS), np.float32)
    known = np.flatnonzero((table["SMILES"] != "").to_numpy())
    if len(known):
        counts[known + 1] = fingerprints(list(table["SMILES"].iloc[known]))
    column = next((c for c in ("Concentration", "Dose", "DoseRank") if f"Metadata_{c}" in metadata.columns), None)
    doses = [None] * len(metadata) if column is None else pd.to_numeric(metadata[f"Metadata_{column}"], errors="coerce")
    return Compounds(numbers, table, counts, dose_features(list(doses)), _control_keys(metadata[controls]))


def _control_keys(controls: "DataFrame") -> tuple[str, ...]:
    """InChIKeys of the controls; a control needs no structure, so what cannot be read is left out."""
    keys = []
    for text in controls["Metadata_SMILES"].dropna().astype(str).unique() if "Metadata_SMILES" in controls else ():
        with suppress(ScreenError):
            keys.append(molecule_key(text))
    return tuple(sorted(set(keys)))


def gather_training_cells(
    screen: Screen,
    cells: Cells,
    encoder: CellEncoder,
    *,
    crop: int,
    intensity: IntensityMap,
    views: int = 4,
    most: int | None = 60,
    by: str = "compound",
    seed: int = 0,
) -> Job[TrainingCells]:
    """Measure every cell `views` times, once as it is."""
    from pandas import concat

    rows, kept = [], []
    noise = torch.Generator().manual_seed(seed)
    for number, found in enumerate(crops_of(screen, cells, crop, intensity, most, seed), start=1):
        rows.append(found.metadata)
        kept.append(look(encoder, found.crops, views, noise))
        yield Progress(number, len(screen), f"Measuring {found.field.key}")
    metadata = concat(rows, ignore_index=True)
    compounds = number_compounds(metadata, by)
    return TrainingCells(metadata, compounds, np.concatenate(kept, axis=1))


def look(encoder: CellEncoder, crops: NDArray[np.float32], views: int, noise: torch.Generator) -> NDArray[np.float32]:
    """(views, n, C, length): the first look is of the cell as it is."""
    seen = torch.from_numpy(crops)
    used = torch.ones(seen.shape[:2])
    looks = [encoder.features(crops, size=None)]
    looks += [encoder.features(augment(seen, used, noise, _AUGMENT).numpy(), size=None) for _ in range(views - 1)]
    return np.stack(looks)


def column_or(metadata: "DataFrame", names: Sequence[str], otherwise: Any) -> list[Any]:
    """The first of `names` that is a column, as a list; else `otherwise` for every row."""
    for name in names:
        if name in metadata.columns:
            return list(metadata[name])
    return [otherwise] * len(metadata)
