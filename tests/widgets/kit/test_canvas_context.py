"""Layers are taken off the graphics card in the context that they were drawn in."""

import numpy as np
from qtpy.QtGui import QOpenGLContext
from qtpy.QtWidgets import QWidget
from vispy.gloo.glir import GlirParser

from phenolens.widgets.kit.canvas_context import CanvasContext


def test_what_a_removed_layer_held_is_deleted_in_the_context_of_the_canvas(make_napari_viewer, qtbot, monkeypatch):
    drawn, deleted = set(), set()
    parse = GlirParser._parse

    def spying(parser, command):
        seen = {"DRAW": drawn, "DELETE": deleted}.get(command[0])
        if seen is not None:
            seen.add(QOpenGLContext.currentContext())
        return parse(parser, command)

    viewer = make_napari_viewer(show=True)
    dock = viewer.window.add_dock_widget(QWidget(), name="any")
    context = CanvasContext(viewer, dock)
    monkeypatch.setattr(GlirParser, "_parse", spying)
    layer = viewer.add_image(np.zeros((8, 8)))
    kept = viewer.add_labels(np.zeros((8, 8), int))
    dock.setFloating(True)  # in a window of its own, the canvas is still found
    qtbot.wait(200)
    drawn.clear()
    viewer.scene.camera.zoom *= 2
    qtbot.waitUntil(lambda: len(drawn) == 1)
    deleted.clear()
    viewer.layers.remove(layer)
    assert deleted == drawn
    with viewer.layers.batched_update():
        viewer.layers.remove(kept)
    assert deleted == drawn
    context.detach()
