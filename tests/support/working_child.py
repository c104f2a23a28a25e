"""A process that works in a real window, at random, until it is killed; it writes down what it did and when.

Run as ``python working_child.py SCREEN ADAPTER BASE LOG SEED``.
"""

import json
import random
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np


def digest(*parts) -> str:
    """What tells some arrays and texts from others."""
    whole = sha256()
    for part in parts:
        whole.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return whole.hexdigest()[:16]


def state_of(dock) -> dict[str, str]:
    """What is to come back, part by part."""
    session, viewer = dock.session, dock.viewer
    cells = session.cells
    said = session.annotations
    return {
        "place": repr((session.field.key, session.position)),
        "conditions": repr([None if one is None else one.text for one in (session.source, session.target)]),
        "strength": repr(session.strength),
        "chosen": repr(session.pen.chosen),
        "cells": "" if cells is None else digest(
            cells.table.to_dict("list"), *(cells.labels[key] for key in sorted(cells.labels))
        ),
        "said": digest(
            sorted((one.name, one.colour, one.shortcut) for one in said.classes),
            sorted((key, one.class_number, one.note, sorted(one.own.items())) for key, one in said.cells.items()),
            said.undoable,
            said.redoable,
        ),
        "adapter": "" if session.adapter is None else str(session.adapter.folder),
        "held": repr(() if session.translator is None else session.translator.held),
        "translated": digest(
            sorted(
                (cell.plane, cell.id, cell.name, cell.translation.strengths, digest(cell.translation.difference))
                for here in session.translated.values()
                for cell in here.values()
                if cell.translation is not None
            )
        ),
        "clicked": repr(sorted((plane, at) for plane, here in session.translated.items() for at in here)),
        "zoom": f"{viewer.scene.camera.zoom:.4f}",
    }  # fmt: skip


class Worker:
    """Someone who works without a rest."""

    def __init__(self, screen: Path, adapter: Path, base: Path, log: Path, seed: int) -> None:
        import napari
        from qtpy.QtWidgets import QApplication

        from phenolens.widgets.opening import main_dock

        self.random = random.Random(seed)
        self.log = log.open("a", encoding="utf-8", buffering=1)
        self.last: dict[str, str] = {}
        self.beaten = 0.0
        self.viewer = napari.Viewer(show=True)
        self.app = QApplication.instance()
        self.dock = main_dock(self.viewer)
        self.session = self.dock.session
        self.until(lambda: self.session.devices)
        self.dock.open_screen(screen)
        self.until(lambda: self.session.field is not None)
        self.dock.cells_panel.begin()
        self.until(lambda: self.session.cells is not None)
        self.dock.load_adapter(adapter)
        self.until(lambda: self.session.translator is not None)
        self.session.annotations.add_class("odd")
        self.session.annotations.add_class("even")
        if seed % 2:
            panel = self.dock.finetune_panel
            self.session.set_base(str(base))
            panel.steps.setValue(50_000)
            panel.rank.setValue(2)
            panel.out.setText(str(log.parent / "tuned"))
            panel.begin()
        self.exports = log.parent / "exports"
        self.exports.mkdir(exist_ok=True)
        self.turn(1.5)  # what was set up is to come back, as all but the last second
        self.log.write(json.dumps({"ready": time.time()}) + "\n")

    def until(self, done) -> None:
        while not done():
            self.app.processEvents()
            time.sleep(0.005)

    def note(self) -> None:
        """Write down what has changed, and when."""
        now = state_of(self.dock)
        changed = {name: value for name, value in now.items() if self.last.get(name) != value}
        if changed:
            self.log.write(json.dumps({"at": time.time(), **changed}) + "\n")
        self.last = now

    def beat(self) -> None:
        """Write down that the window answers."""
        if time.time() - self.beaten >= 0.05:
            self.beaten = time.time()
            self.log.write(json.dumps({"beat": self.beaten}) + "\n")

    def work(self) -> None:
        actions = [self.slide, self.annotate, self.write, self.undo, self.redo, self.paint, self.delete, self.click,
                   self.choose, self.zoom, self.clear, self.export, self.next_field]  # fmt: skip
        weights = [6, 6, 3, 3, 2, 4, 1, 6, 3, 3, 1, 0.3, 0.5]
        while True:
            self.random.choices(actions, weights)[0]()
            self.note()
            self.turn(self.random.uniform(0, 0.12))

    def turn(self, seconds: float) -> None:
        """Let the window work, and write down what comes of it."""
        until = time.time() + seconds
        while time.time() < until:
            self.app.processEvents()
            self.note()
            self.beat()
            time.sleep(0.004)

    def cell(self):
        table = self.session.cells.table
        here = table[table["field"] == self.session.field.key]
        return None if not len(here) else here.iloc[self.random.randrange(len(here))]

    def slide(self) -> None:
        self.session.set_strength(self.random.choice([0.0, 0.3, 0.55, 0.8, 1.0, 1.2]))

    def annotate(self) -> None:
        if (cell := self.cell()) is not None:
            name = self.random.choice(["odd", "even", None])
            self.session.annotations.annotate([(cell["field"], int(cell["label"]))], name)

    def write(self) -> None:
        if (cell := self.cell()) is not None:
            self.session.annotations.set_note([(cell["field"], int(cell["label"]))], f"note {self.random.random()}")

    def undo(self) -> None:
        self.dock.annotating.undo()

    def redo(self) -> None:
        self.dock.annotating.redo()

    def paint(self) -> None:
        label = self.dock.field_layers.cells.begin_cell()
        if label is not None:
            layer = self.dock.field_layers.labels
            layer.brush_size = 8
            layer.paint((self.random.randrange(10, 180), self.random.randrange(10, 180)), label)
            layer.mode = "pan_zoom"
            self.session.pen.collect()

    def delete(self) -> None:
        if (cell := self.cell()) is not None:
            self.dock.field_layers.cells.delete(int(cell["label"]))

    def click(self) -> None:
        if (cell := self.cell()) is not None and len(self.session.here()) < 8:
            self.dock.translating.translate(float(cell["y"]), float(cell["x"]))

    def choose(self) -> None:
        if (cell := self.cell()) is not None:
            self.session.pen.choose((cell["field"], int(cell["label"])))

    def zoom(self) -> None:
        self.viewer.scene.camera.zoom = round(self.random.uniform(1, 4), 3)

    def clear(self) -> None:
        if self.session.in_field():
            self.dock.translate_panel.clear.click()

    def export(self) -> None:
        if any(cell.translation is not None for cell in self.session.in_field()):
            self.dock.export(self.exports)

    def next_field(self) -> None:
        self.dock.screen_panel._step(1)


if __name__ == "__main__":
    screen, adapter, base, log = map(Path, sys.argv[1:5])
    Worker(screen, adapter, base, log, int(sys.argv[5])).work()
