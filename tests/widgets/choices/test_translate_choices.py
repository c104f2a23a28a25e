"""Advanced choices of translating: what is chosen otherwise translates the cells that are there anew."""

from dataclasses import replace

import pytest

from phenolens.screens.conditions import Condition
from phenolens.translation.apply.settings import SHOWN_STEPS

pytest_plugins = ["real_window"]


@pytest.mark.slow
def test_another_number_of_steps_translates_the_cells_anew(window, small_screen, small_adapter):
    panel, session = window.dock.translate_panel, window.session
    choices = panel.choices
    assert not choices.isEnabled()
    window.open(small_screen)
    window.find_cells()
    source, target = Condition.parse("DMSO"), Condition.parse("translocation")
    window.dock.load_adapter(replace(small_adapter, source=source, target=target))
    window.wait(lambda: session.translator is not None and not window.dock.running.busy)
    window.press(panel.click)
    cell = window.click_cell(0)
    window.wait(lambda: cell.has(1.0) and not window.dock.running.busy)
    assert cell.translation.steps == SHOWN_STEPS
    assert not choices.note.text()
    choices.steps.setValue(6)
    again = session.here()[cell.id]
    assert again is not cell
    assert session.current is again
    window.wait(lambda: again.translation is not None and again.translation.steps == 6 and not window.dock.running.busy)
    assert again.translation.settings.steps == 6
    assert "say nothing of it" in choices.note.text()
    choices.guidance.setValue(0.5)
    assert session.translator.settings.guidance == 0.5
    choices.guidance.setValue(choices.guidance.minimum())
    assert session.translator.settings.guidance is None
