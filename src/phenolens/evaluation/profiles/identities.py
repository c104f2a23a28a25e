"""What counts as the same: the compound, mechanism, well, plate, batch and source of each row, as numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenolens.profiling.tables.profiles import is_control, mechanism_column, texts_of
from phenolens.runtime.errors import ScreenError
from phenolens.screens.conditions import PREFIX

if TYPE_CHECKING:
    from pandas import DataFrame

_COMPOUND_COLUMNS = ("Compound", "Treatment", "Perturbation", "Genotype", "Condition")
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Groups:
    """Which of its values each row has in one respect.

    Parameters
    ----------
    codes
        (n,) int32 numbers into `names`; -1 where the row has no value.
    names
        What the values are called, each once, in order.
    """

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n,) which rows have a value."""
        return self.codes >= 0


@dataclass(frozen=True, eq=False)
class Identities:
    """What is known of n rows; None where the table does not say.

    Parameters
    ----------
    compound
        By InChIKey where there is a structure that can be read, else by name; see `compound_groups`.
    mechanism
        As named; without those of controls.
    source, batch
        As named, a batch within its source.
    plate
        Within its batch, so that plates of two batches which share a name are two.
    well
        Within its plate.
    position
        The name of the well alone, such as A01, whatever its plate.
    control
        (n,) True for negative controls.
    notes
        What the reader of a result should know about these, in sentences.
    """

    compound: Groups | None
    mechanism: Groups | None
    source: Groups | None
    batch: Groups | None
    plate: Groups | None
    well: Groups | None
    position: Groups | None
    control: NDArray[np.bool_]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, metadata: DataFrame) -> Identities:
        """Read them from ``Metadata_`` columns; what is missing there is None here."""
        control = is_control(metadata)
        compound, notes = compound_groups(metadata)
        column = mechanism_column(metadata)
        mechanism = None
        if column is not None:
            texts = texts_of(metadata[column])
            texts[control] = ""
            mechanism = _groups(texts) if (texts != "").any() else None
        places: dict[str, Groups | None] = {}
        within: list[NDArray[Any]] = []
        for name in ("Source", "Batch", "Plate", "Well"):
            found = _column(metadata, name)
            if found is None or not (texts_of(metadata[found]) != "").any():
                places[name] = None
                continue
            within.append(texts_of(metadata[found]))
            places[name] = _nested(within)
        well = _column(metadata, "Well")
        return cls(
            compound=compound,
            mechanism=mechanism,
            source=places["Source"],
            batch=places["Batch"],
            plate=places["Plate"],
            well=places["Well"],
            position=None if well is None or places["Well"] is None else _groups(texts_of(metadata[well])),
            control=control,
            notes=tuple(notes),
        )


def compound_groups(metadata: DataFrame) -> tuple[Groups | None, list[str]]:
    """Tell compounds apart by InChIKey where ``Metadata_SMILES`` gives a structure, else by name.

    A compound that has its structure in some rows has it in all rows of its name. Salts, tautomers and ways of writing
    are the same compound. Names differ by case and space only by mistake, so these do not count.

    Returns
    -------
    groups
        Named by the most frequent name of each compound; None where there is neither a name nor a structure.
    notes
        Structures that could not be read, and names that turned out to be one compound.
    """
    column = next((found for name in _COMPOUND_COLUMNS if (found := _column(metadata, name)) is not None), None)
    names = np.full(len(metadata), "", object) if column is None else texts_of(metadata[column])
    written = _column(metadata, "SMILES")
    smiles = np.full(len(metadata), "", object) if written is None else texts_of(metadata[written])
    keys, unreadable = _keys(smiles)
    folded = [" ".join(name.split()).casefold() for name in names]
    key_of_name: dict[str, str] = {}
    for name, key in zip(folded, keys, strict=True):
        if name and key:
            key_of_name.setdefault(name, key)
    identity = [
        key or key_of_name.get(name, "") or name or text for key, name, text in zip(keys, folded, smiles, strict=True)
    ]
    called: dict[str, Counter[str]] = defaultdict(Counter)
    for one, name, text in zip(identity, names, smiles, strict=True):
        if one:
            called[one][name or text] += 1
    if not called:
        return None, []
    notes = []
    if unreadable:
        notes.append(
            f"{len(unreadable)} structure{'s' * (len(unreadable) > 1)} could not be read, and the name tells the "
            f"compound apart there: {_listed(unreadable)}."
        )
    different = [{name.casefold(): name for name in sorted(found)} for found in called.values()]
    alike = [" = ".join(sorted(found.values())) for found in different if len(found) > 1]
    if alike:
        notes.append(f"Names with the same structure count as one compound: {_listed(sorted(alike))}.")
    title = {one: _usual(found) for one, found in called.items()}
    # Two structures may bear one name.
    repeated = Counter(title.values())
    title = {one: f"{name} ({one})" if repeated[name] > 1 else name for one, name in title.items()}
    order = {one: number for number, one in enumerate(sorted(title, key=lambda one: (title[one].casefold(), one)))}
    codes = np.array([order.get(one, -1) for one in identity], np.int32)
    return Groups(codes, tuple(title[one] for one in order)), notes


def _usual(found: Counter[str]) -> str:
    """The most frequent name, whatever its case, as it is mostly written."""
    folded: Counter[str] = Counter()
    for name, times in found.items():
        folded[name.casefold()] += times
    return min(found, key=lambda name: (-folded[name.casefold()], -found[name], name))


def _keys(smiles: NDArray[Any]) -> tuple[list[str], list[str]]:
    """InChIKey of each row, empty where there is none, and the texts that could not be read."""
    different = {text for text in smiles.tolist() if text}
    if not different:
        return [""] * len(smiles), []
    from phenolens.profiling.molecules.molecules import molecule_key

    known, unreadable = {"": ""}, []
    for text in sorted(different):
        try:
            known[text] = molecule_key(text)
        except ScreenError:
            known[text] = ""
            unreadable.append(text)
    return [known[text] for text in smiles.tolist()], unreadable


def _groups(texts: NDArray[Any]) -> Groups:
    names = sorted(set(texts.tolist()) - {""})
    number = {name: code for code, name in enumerate(names)}
    return Groups(np.array([number.get(text, -1) for text in texts.tolist()], np.int32), tuple(names))


def _nested(within: Sequence[NDArray[Any]]) -> Groups:
    """Groups by all columns together, named by the last where that is enough; none where the last has no value."""
    own = within[-1]
    combined = list(zip(*(texts.tolist() for texts in within), strict=True))
    different = sorted({row for row in combined if row[-1]})
    repeated = Counter(row[-1] for row in different)
    number = {row: code for code, row in enumerate(different)}
    names = tuple(" / ".join(filter(None, row)) if repeated[row[-1]] > 1 else row[-1] for row in different)
    return Groups(np.array([number[row] if row[-1] else -1 for row in combined], np.int32), names if len(own) else ())


def _column(metadata: DataFrame, name: str) -> str | None:
    wanted = (PREFIX + name).casefold()
    return next((str(column) for column in metadata.columns if str(column).casefold() == wanted), None)


def _listed(values: Sequence[str]) -> str:
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + more
