"""An adapter is tried while it is trained, and what was clicked is translated again when it is done."""

import pytest

from phenolens.runtime.errors import ModelError
from phenolens.widgets.translation.finetune_panel import FinetunePanel
from real_window import small_screen, tiny, window  # noqa: F401 fixtures


@pytest.mark.slow
def test_cells_are_clicked_while_the_adapter_is_trained(window, small_screen, tiny, tmp_path, monkeypatch):  # noqa: F811
    dock, session = window.dock, window.session
    panel = dock.finetune_panel
    window.open(small_screen)
    window.find_cells()
    session.set_base(str(tiny))
    asked = FinetunePanel._settings
    monkeypatch.setattr(FinetunePanel, "_settings", lambda self: {**asked(self), "preview_every": 20})
    panel.steps.setValue(150)
    panel.rank.setValue(2)
    panel.out.setText(str(tmp_path / "adapter"))
    assert not panel.try_it.isVisible()
    window.press(panel.start)
    window.wait(panel.try_it.isVisible)
    assert panel.try_it.text().startswith("Click cells now, at step ")
    window.press(panel.try_it)
    window.wait(lambda: session.translator is not None)
    draft = session.adapter
    assert draft.unfinished.endswith(" of 150")
    assert draft.unfinished in dock.translate_panel.adapter.text()
    assert dock.whole_plate_panel.why.text() == "The adapter is still being trained: wait until it is done."
    assert not dock.noise_panel.fit.isEnabled()
    with pytest.raises(ModelError, match="not finished"):
        draft.save(tmp_path / "draft")
    dock.translate_panel.click.setChecked(True)
    window.click_cell()
    cell = session.current
    window.wait(lambda: cell.translation is not None)
    assert panel.job.busy, "it goes on"
    window.wait(lambda: session.adapter is not draft)
    assert (session.adapter.unfinished, session.adapter.folder) == ("", tmp_path / "adapter")
    (again,) = session.in_field()
    assert again.id == cell.id
    assert again is not cell
    window.wait(lambda: again.translation is not None)
    assert not panel.try_it.isVisible()
