"""What the user says of the cells of the open screen, without Qt: classes, the chosen cell, and what is suggested."""

from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.changes import CellKey
from phenolens.annotation.embedded_cells import EmbeddedCells

if TYPE_CHECKING:
    from phenolens.profiling.tables.profiles import Profiles
    from phenolens.screens.cell_editing import CellChanges
    from phenolens.screens.cells import Cells
    from phenolens.screens.table import Screen


class Pen:
    """Annotations of the screen that is open, and all that belongs to annotating it.

    Annotations of a screen that was open before come back when it is opened again.
    """

    changed = Signal(object)
    """The keys of the cells of which something else is said; None where it may be any."""
    said = Signal()
    """The user gave, took or undid a class: what is suggested may be another."""
    history_changed = Signal()
    recorded = Signal(object)
    """What was just done, undone or redone, as `Annotations.recorded` gives it."""
    chosen_changed = Signal()
    embedded_changed = Signal()
    collecting = Signal()

    def __init__(self) -> None:
        self.annotations = Annotations()
        self.chosen: CellKey | None = None
        self.profiles: Profiles | None = None
        self.embedded: EmbeddedCells | None = None
        self.uncertain: tuple[CellKey, ...] = ()
        self._kept: dict[Any, Annotations] = {}
        self._connect(self.annotations)

    def take_up(self, screen: "Screen") -> None:
        """Say something of the cells of another screen."""
        self._disconnect(self.annotations)
        fields = tuple((one.key, tuple(map(str, one.paths)) or (one.address,)) for one in screen)
        # fields in memory may be called as others are: what was said of those is not said of these
        known = all(all(places) for _, places in fields)
        self.annotations = self._kept.setdefault(fields, Annotations()) if known else Annotations()
        self._connect(self.annotations)
        self.chosen, self.profiles, self.embedded, self.uncertain = None, None, None, ()
        self.changed.emit(None)
        self.history_changed.emit()
        self.chosen_changed.emit()
        self.embedded_changed.emit()

    def collect(self) -> None:
        """Take in what was painted or written in the viewer and is not applied yet; before all is read or saved."""
        self.collecting.emit()

    def choose(self, cell: CellKey | None) -> None:
        """Make a cell the one that is spoken of."""
        if cell != self.chosen:
            self.chosen = cell
            self.chosen_changed.emit()

    def set_profiles(self, profiles: "Profiles", embedded: EmbeddedCells | None = None) -> None:
        """Suggest from these embeddings of cells of the screen; `embedded` are those of them that are to count.

        Raises
        ------
        AnnotationError
            They do not name their cells.
        """
        self.embedded = embedded or EmbeddedCells.of_profiles(profiles.metadata, profiles.vectors)
        self.profiles = profiles if embedded is None or len(embedded) == len(profiles) else None
        self.embedded_changed.emit()

    def found_anew(self, before: "Cells | None", after: "Cells") -> None:
        """Follow the cells of fields whose labels were replaced."""
        from phenolens.screens.cell_editing import same_cells

        old = {} if before is None else before.labels
        replaced = {key for key, labels in after.labels.items() if labels is not old.get(key)}
        for key in sorted({field for field, _ in self.annotations.cells} & replaced & set(old)):
            if old[key].shape == after.labels[key].shape and not np.array_equal(old[key], after.labels[key]):
                self.annotations.follow(key, same_cells(old[key], after.labels[key]))
        if self.embedded is not None:
            gone = np.isin(self.embedded.fields.astype(str), sorted(replaced)) | (not after.labels)
            self._forget(gone)
        if self.chosen is not None and self.chosen[0] in replaced:
            self.choose(None)

    def corrected(self, field: str, changes: "CellChanges") -> None:
        """Follow the cells of a field that was painted in."""
        if not changes.deleted:
            return
        if any((field, label) in self.annotations.cells for label in changes.deleted):
            self.annotations.follow(field, dict.fromkeys(changes.deleted))
        if self.chosen is not None and self.chosen in {(field, label) for label in changes.deleted}:
            self.choose(None)
        if self.embedded is not None:
            rows = self.embedded.index.rows_of([(field, label) for label in changes.deleted])
            gone = np.zeros(len(self.embedded), bool)
            gone[rows[rows >= 0]] = True
            self._forget(gone)

    def _forget(self, gone: "np.ndarray[Any, np.dtype[np.bool_]]") -> None:
        """Suggest nothing for cells that are not there any longer; `gone` marks rows (n,) of those embedded."""
        if self.embedded is None or not gone.any():
            return
        suggested = self.annotations.suggested
        if suggested is not None:
            at = self.embedded.index.rows_of(list(zip(suggested.fields, suggested.labels, strict=True)))
            self.annotations.suggest(suggested.only((at >= 0) & ~gone[at]))
        self.embedded = None if gone.all() else self.embedded.only(~gone)
        self.profiles = None
        there = self.embedded
        kept = () if there is None else there.index.rows_of(self.uncertain) >= 0
        self.uncertain = tuple(one for one, stays in zip(self.uncertain, kept, strict=False) if stays)
        self.embedded_changed.emit()

    def _connect(self, annotations: Annotations) -> None:
        annotations.cells_changed.connect(self._cells)
        annotations.classes_changed.connect(self._classes)
        annotations.suggestions_changed.connect(self._suggestions)
        annotations.history_changed.connect(self.history_changed.emit)
        annotations.recorded.connect(self._record)

    def _disconnect(self, annotations: Annotations) -> None:
        annotations.cells_changed.disconnect(self._cells)
        annotations.classes_changed.disconnect(self._classes)
        annotations.suggestions_changed.disconnect(self._suggestions)
        annotations.history_changed.disconnect(self.history_changed.emit)
        annotations.recorded.disconnect(self._record)

    def _cells(self, keys: tuple[CellKey, ...]) -> None:
        self.changed.emit(keys)
        self.said.emit()

    def _classes(self) -> None:
        self.changed.emit(None)
        self.said.emit()

    def _record(self, record: dict[str, Any]) -> None:
        self.recorded.emit(record)

    def _suggestions(self) -> None:
        self.changed.emit(None)
