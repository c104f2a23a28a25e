"""Wells that are left out by default, what a device has, and the smaller try where memory ends, in a real window."""

from phenolens.runtime.errors import DeviceError
from phenolens.widgets.translation import jobs

pytest_plugins = ["real_window"]


def test_wells_are_left_out_by_default_and_a_smaller_try_is_one_click(
    window, small_screen, tiny, tmp_path, monkeypatch
):
    panel = window.dock.finetune_panel
    assert "GB free" in panel.where.about.text()
    assert panel.where.about.text().startswith("cpu")
    assert not panel.choices.advanced.panel.isVisible()
    window.open(small_screen)
    window.find_cells()
    assert panel.choices.leave_out.isChecked()
    assert panel.choices.wells.text() == "Left out: A03 of the control, A04 of the treated."
    asked = []

    def no_memory(screen, source, target, cells, **how):
        asked.append((source.text, target.text, how["settings"]["batch"]))
        raise DeviceError("cpu has no memory left.")
        yield

    real = jobs.finetune
    monkeypatch.setattr(jobs, "finetune", no_memory)
    window.session.set_base(str(tiny))
    panel.steps.setValue(3)
    panel.rank.setValue(2)
    panel.choices.batch.setValue(8)
    panel.out.setText(str(tmp_path / "adapter"))
    assert "known once it has run" in panel.cost.text()
    window.press(panel.start)
    window.wait(lambda: not panel.job.busy)
    assert "no memory" in panel.job.state.text()
    assert panel.smaller.isVisible()
    monkeypatch.setattr(jobs, "finetune", real)
    window.press(panel.smaller)
    assert panel.choices.batch.value() == 4
    window.wait(lambda: window.session.translator is not None and not window.dock.running.busy)
    assert not panel.smaller.isVisible()
    source, target = window.session.adapter.conditions
    assert (source, target) == tuple(text for text in asked[0][:2])
    assert source.endswith("Metadata_Well!=A03")
    used = {key for keys in window.session.adapter.card.fields.values() for key in keys}
    assert used == {"plate1_A01_1", "plate1_A02_1"}
    assert "A03" not in window.dock.translate_panel.adapter.text()
    assert "as the last time" in panel.cost.text()
    # a field of a treated well that was left out is translated back to the control, as those that were trained on are
    window.session.ask_for_field("plate1_A04_1")
    window.wait(lambda: window.session.field.key == "plate1_A04_1")
    assert window.session.direction() == (target, source)
