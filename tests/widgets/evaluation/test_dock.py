"""The evaluation dock in a real window: wells that are known beforehand, a run, a report, and mistakes."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPoint
from qtpy.QtGui import QDesktopServices, QHelpEvent
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QFileDialog, QLineEdit

from phenolens.evaluation.reports.saved_report import read_report
from phenolens.runtime.files import write_json
from phenolens.runtime.progress import finish
from phenolens.screens.conditions import Condition
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.table import Field, Screen, read_screen
from phenolens.simulation.screen import simulate_screen
from phenolens.translation.model.adapter_card import AdapterCard
from phenolens.widgets.evaluation.answers import EvaluationAnswers
from phenolens.widgets.evaluation.dock import EvaluationDock, open_evaluation
from phenolens.widgets.evaluation.measure import EvaluationMeasure
from phenolens.widgets.state.workplace import workplace
from saved_reports import CONTROL, TREATED, made_up_report
from tiny_base import make_tiny_adapter

pytest_plugins = ["real_window"]


class EvaluationWindow:
    """The evaluation dock beside the main one, with what a person would do to it."""

    def __init__(self, window):
        self.window, self.wait, self.press, self.qtbot = window, window.wait, window.press, window.qtbot
        self.dock = open_evaluation(window.viewer)
        self.panel, self.choice, self.answers = self.dock.panel, self.dock.panel.choice, self.dock.answers
        self.wells = self.choice.wells

    def idle(self):
        self.wait(lambda: not self.dock.running.busy and not self.window.dock.running.busy)

    def choose(self, box, text):
        box.setEditText(text)
        box.lineEdit().editingFinished.emit()
        self.idle()


@pytest.fixture
def docks(window, tmp_path, monkeypatch):
    monkeypatch.setattr("phenolens.widgets.evaluation.panel.user_data_path", lambda _: tmp_path / "data")
    made = EvaluationWindow(window)
    yield made
    made.dock.running.stop()
    made.wait(lambda: not made.dock.running.busy)


@pytest.fixture(scope="session")
def eight_wells(tmp_path_factory):
    """A screen of four control and four treated wells."""
    folder = tmp_path_factory.mktemp("screens") / "eight"
    return finish(simulate_screen(folder, "translocation", wells=8, cells=5, shape=(136, 136), seed=4))


@pytest.fixture(scope="session")
def half_used(eight_wells, tiny, tmp_path_factory):
    """An adapter of random weights, which says that it was fine-tuned on two wells of either condition."""
    screen, conditions = read_screen(eight_wells), (f"{CONTROL},Well!=A05,Well!=A07", f"{TREATED},Well!=A06,Well!=A08")
    source, target = (Condition.parse(text) for text in conditions)
    parts = [screen.select(condition) for condition in (source, target)]
    used = screen.select(np.isin([field.key for field in screen], [field.key for part in parts for field in part]))
    adapter = make_tiny_adapter(tiny, 3, crop=48)
    adapter = replace(
        adapter,
        source=source,
        target=target,
        channel_names=tuple(screen.channel_names),
        intensity=IntensityMap.fit([field.image().plane() for field in used], screen.channel_names),
        held=(screen.channel_names[0],),
        card=AdapterCard(
            fields={text: tuple(field.key for field in part) for text, part in zip(conditions, parts, strict=True)}
        ),
    )
    return adapter.save(tmp_path_factory.mktemp("adapters") / "half")


@pytest.fixture
def opened(monkeypatch):
    """What was handed to the desktop to be opened."""
    found = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: found.append(url.toLocalFile()) or True)
    return found


def saved(tmp_path, change=None):
    report = made_up_report()
    if change is not None:
        change(report)
    write_json(tmp_path / "report.json", report)
    return tmp_path


def test_a_report_made_before_is_shown_rightly(docks, tmp_path, opened, monkeypatch):
    d = docks
    assert d.panel.job.why.text() == "Open a screen in the Phenolens dock first."
    assert not d.panel.start.isEnabled()
    (saved(tmp_path) / "report.html").write_text("a page")
    file = str(tmp_path / "report.json")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (file, ""))
    d.press(d.answers.open_button)
    d.wait(lambda: d.answers.evaluation is not None)
    rows = d.answers.rows
    assert {key: (row.mark.good, row.word.text()) for key, row in rows.items()} == {
        "flips": (True, "holds up"),
        "changes": (False, "does not hold up"),
        "novel": (True, "holds up"),
        "doses": (True, "holds up"),
        "memorisation": (None, "cannot be said"),
    }
    marks = [row.mark.grab().toImage() for row in rows.values()]
    assert marks[0] == marks[2]
    grey = [[image.pixelColor(x, y).lightness() for x in range(20) for y in range(20)] for image in marks]
    for one, other in ((0, 1), (0, 4), (1, 4)):
        assert sum(abs(a - b) > 40 for a, b in zip(grey[one], grey[other], strict=True)) > 40, "told without colour"
    assert d.answers.summary.text() == (
        "3 of 5 answers hold up. Does not hold up: what changed. Cannot be said: memorisation."
    )
    assert d.answers.about.text() == (
        "negative control → translocation. Judged on 60 control cells of 2 wells and 58 real treated cells of 1 well "
        "that the adapter has not seen."
    )
    assert "Only 1 new well" in d.answers.warning.text()
    assert [(figure.label, figure.text) for figure in rows["flips"].intervals.figures] == [
        ("translated", "78% (73%–83%)"),
        ("null: untouched", "3% (0%–7%)"),
        ("null: relabelled", "39% (3%–77%)"),
        ("real treated", "98%"),
    ]
    assert [figure.text for figure in rows["novel"].intervals.figures] == ["0.40 (-0.20 to 0.90)"]
    assert [(figure.label, figure.text) for figure in rows["doses"].intervals.figures] == [
        ("null: control", "0.80 (0.70–0.90)"),
        ("from dose 8, its own", "0.20 (0.10–0.90)"),
        ("from dose 9", "0.30"),
    ]
    assert rows["memorisation"].intervals is None
    assert rows["flips"].verdict.text() == "78% look treated."

    drawing = rows["changes"].chart.drawing
    assert [(effect.feature, effect.good) for effect in drawing.effects] == [
        ("reporter ratio", True),
        ("reporter spread", False),
        ("nucleus area", None),
    ]
    assert "real: 6.30 (6.00 to 6.60)" in drawing.accessibleName()
    assert "not in real cells" in drawing.accessibleName()
    assert not rows["changes"].chart.more.isVisible()
    with monkeypatch.context() as patch:
        told = []
        patch.setattr("phenolens.widgets.evaluation.effects_chart.QToolTip.showText", lambda _, text: told.append(text))
        for y in (70, 3):
            drawing.event(QHelpEvent(QHelpEvent.Type.ToolTip, QPoint(10, y), QPoint(10, y)))
        assert told[0].startswith("reporter spread\nreal: 0.20")
        assert told[1] == ""

    d.press(d.answers.page)
    d.press(d.answers.folder)
    assert opened == [str(tmp_path / "report.html"), str(tmp_path)]
    assert d.dock.sections[1].unfolded
    assert not d.dock.sections[0].unfolded
    assert d.window.messages == []


def test_a_broken_report_is_one_sentence_and_the_one_that_is_shown_stays(docks, tmp_path):
    d = docks
    d.dock.open_report(saved(tmp_path))
    d.wait(lambda: d.answers.evaluation is not None)
    assert not d.answers.page.isEnabled(), "there is no page beside it"
    shown = d.answers.evaluation
    broken = tmp_path / "broken.json"
    broken.write_text((tmp_path / "report.json").read_text()[:-40])
    d.dock.open_report(broken)
    d.wait(lambda: d.answers.state.text() != "")
    assert d.answers.state.text() == (f"The report {broken} is broken: choose another, or make the evaluation again.")
    assert d.window.messages == [d.answers.state.text()]
    assert d.answers.evaluation is shown
    d.dock.open_report(saved(tmp_path, lambda report: report["parts"].pop("novel")))
    d.wait(lambda: d.answers.evaluation is not shown)
    assert list(d.answers.rows) == ["flips", "changes", "doses", "memorisation"]
    assert d.answers.state.text() == ""


def test_effects_without_a_test_or_an_interval_are_drawn(qtbot, tmp_path):
    def untested(report):
        table = report["parts"]["changes"]["table"]
        one = table[2]
        report["parts"]["changes"] |= {"good": None, "table": [one | {"feature": f"feature {n}"} for n in range(12)]}

    answers = EvaluationAnswers()
    qtbot.addWidget(answers)
    answers.show_evaluation(read_report(saved(tmp_path, untested)))
    answers.resize(340, 900)
    answers.show()
    chart = answers.rows["changes"].chart
    before = chart.drawing.grab().height()
    assert chart.more.text() == "Show all 12 features"
    chart.more.click()
    assert chart.drawing.grab().height() > before
    assert chart.more.text() == "Show the first 8"
    assert answers.rows["changes"].sizeHint().width() < 340


@pytest.mark.slow
def test_an_adapter_is_evaluated_in_the_background_cancelled_and_resumed(
    docks, eight_wells, half_used, tmp_path, opened
):
    d, window, panel = docks, docks.window, docks.panel
    window.open(eight_wells)
    assert panel.job.why.text() == "Load an adapter in the Phenolens dock, or choose the folder of one."
    window.find_cells()
    window.dock.load_adapter(half_used)
    d.wait(lambda: d.wells.held_out is not None)
    d.idle()
    assert d.choice.adapter is window.session.adapter
    assert d.choice.adapters.currentText() == "in use: half"
    assert (d.choice.source.expression(), d.choice.target.expression()) == (CONTROL, TREATED), "with what was left out"
    assert d.wells.wells.text() == (
        "To be judged, new to the adapter: 2 control wells (A05, A07) and 2 treated wells (A06, A08)."
    )
    assert d.wells.limits.text().startswith("Only 2 new wells of a condition")

    panel.most.setValue(8)
    measures = panel.by.measures
    assert panel.by.measure is None
    assert "nuclear-to-cytoplasmic" in measures.toolTip()
    measures.setCurrentText("nucleus area")
    assert panel.out.text() == str(tmp_path / "data" / "evaluations" / "half on eight")
    window.session.set_held([])
    steps = []
    say = panel.job.state.say
    panel.job.state.say = lambda text, kind="quiet": (steps.append(text), say(text, kind))
    d.press(panel.start)
    assert not d.choice.adapters.isEnabled()
    d.wait(lambda: any("Translating cells" in step for step in steps))
    d.press(panel.cancel)
    d.wait(lambda: not panel.job.busy)
    assert "resumable" in panel.job.state.text()
    assert panel.start.text() == "Resume"
    panel.most.setValue(9)
    assert panel.start.text() == "Evaluate", "other settings, another run"
    panel.most.setValue(8)
    measures.setCurrentIndex(0)
    assert panel.start.text() == "Evaluate", "another measure, another run"
    measures.setCurrentText("nucleus area")
    d.press(panel.start)
    d.wait(lambda: d.answers.evaluation is not None and not panel.job.busy)
    evaluation = d.answers.evaluation
    assert evaluation.file == tmp_path / "data" / "evaluations" / "half on eight" / "report.json"
    assert evaluation.facts["control_wells"] == ["plate1/A05", "plate1/A07"]
    assert evaluation.facts["held"] == [], "as the Phenolens dock holds them"
    assert evaluation.facts["control_cells"] == 8
    assert evaluation.facts["measure"] == "nucleus area"
    assert list(d.answers.rows) == [part.key for part in evaluation.parts]
    for key, part in json.loads(evaluation.file.read_text())["parts"].items():
        assert d.answers.rows[key].verdict.text() == part["verdict"]
        assert d.answers.rows[key].mark.good == part["good"]
    d.press(d.answers.page)
    assert opened == [str(evaluation.file.with_name("report.html"))]
    assert panel.out.text().endswith("half on eight 2"), "the next one replaces nothing"
    panel.out.setText(str(evaluation.file.parent))
    assert "will be replaced" in panel.replaced.text()
    assert window.messages == []


def test_wells_that_say_too_little_are_told_before_anything_starts(
    docks, eight_wells, half_used, tmp_path, monkeypatch
):
    d, window = docks, docks.window
    window.open(eight_wells)
    window.dock.load_adapter(half_used)
    d.wait(lambda: d.wells.held_out is not None)
    assert d.panel.by.measures.count() == 1 + 5 + 3 * 11 + 3, "automatic, and every measure of three channels"
    assert not d.panel.by.doses.isVisible(), "there are no doses in this screen"
    d.choose(d.choice.source, f"{CONTROL},Well!=A05,Well!=A07")
    assert "all seen in fine-tuning: 2 control wells (A01, A03)" in d.wells.wells.text()
    assert d.wells.limits.text().startswith("No answer can hold up: the adapter has seen these wells.")
    assert d.panel.start.isEnabled()
    d.choice.unseen.setChecked(True)
    d.idle()
    assert "new to the adapter: 2 control wells" in d.wells.wells.text()
    assert not d.wells.limits.isVisible()
    d.choose(d.choice.target, f"{TREATED},Well=A08")
    assert d.wells.limits.text().splitlines() == [
        "No feature can be called changed: that needs two new wells of each condition.",
        "There can be no flip rate: a classifier must learn from other wells than it judges.",
    ]
    d.choose(d.choice.target, "Metadata_Compound=cytochalasin")
    assert "No field fits" in d.wells.wrong.text()
    assert not d.panel.start.isEnabled()
    d.choose(d.choice.target, CONTROL)
    assert "exclude one another" in d.wells.wrong.text()
    assert not d.panel.start.isEnabled()
    d.choose(d.choice.target, TREATED)
    assert d.panel.start.isEnabled()

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    d.panel.out.setText(str(mine))
    d.press(d.panel.start)
    d.wait(lambda: not d.panel.job.busy)
    assert "is not an evaluation: choose another folder" in d.panel.job.state.text()
    assert (mine / "letter.txt").read_text() == "dear"

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(mine))
    d.choice._choose(d.choice.adapters.count() - 1)
    d.idle()
    assert "is not an adapter: choose the folder" in d.wells.wrong.text()
    assert d.choice.adapter is window.session.adapter
    d.choice.unseen.setChecked(False)
    copy = shutil.copytree(half_used, tmp_path / "copy")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(copy))
    d.choice._choose(d.choice.adapters.count() - 1)
    d.idle()
    assert d.choice.adapter is not window.session.adapter
    assert d.choice.adapters.currentText() == "copy"
    assert d.choice.held is None, "as the adapter itself holds them"
    assert "new to the adapter: 2 control wells (A05, A07)" in d.wells.wells.text()


def test_doses_are_offered_where_the_screen_has_them(qtbot):
    columns = {"Metadata_Well": ["A01", "A02", "A03"], "Metadata_DoseRank": [0, 2, 4], "Metadata_Site": [1, 2, 3]}
    table = pd.DataFrame(columns)
    screen = Screen(table, tuple(Field(f"f{n}", row, lambda: None) for n, row in enumerate(table.to_dict("records"))))
    by = EvaluationMeasure()
    qtbot.addWidget(by)
    by.show()
    changes = []
    by.changed.connect(lambda: changes.append((by.measure, by.dose)))
    by.offer(None, screen)
    assert by.doses.isVisible()
    assert [by.doses.itemText(n) for n in range(by.doses.count())] == ["automatic", "DoseRank"]
    by.doses.setCurrentIndex(1)
    assert changes == [(None, "Metadata_DoseRank")]
    by.offer(None, screen)
    assert by.dose == "Metadata_DoseRank", "the same screen, the same choice"
    by.offer(None, None)
    assert by.dose is None
    assert not by.doses.isVisible()


def test_docks_find_each_other_and_part(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    dock = EvaluationDock(viewer)
    viewer.window.add_dock_widget(dock, name="evaluation")
    from phenolens.widgets.opening import main_dock

    main = main_dock(viewer)
    assert dock.panel.choice.session is main.session
    assert len(main.session.adapter_changed) > 0
    main.close()
    assert workplace(viewer).dock is None
    assert dock.panel.choice.session is None
    dock.close()


def test_both_themes_and_a_narrow_dock_show_an_evaluation(docks, tmp_path):
    d = docks
    d.dock.open_report(saved(tmp_path))
    d.wait(lambda: d.answers.evaluation is not None)
    d.dock.sections[0].unfold()
    shades = []
    for theme in ("dark", "light"):
        d.window.viewer.theme = theme
        d.qtbot.wait(200)
        image = d.answers.rows["flips"].intervals.grab().toImage()
        darkest = min(image.pixelColor(x, y).lightness() for x in range(image.width()) for y in range(image.height()))
        lightest = max(image.pixelColor(x, y).lightness() for x in range(image.width()) for y in range(image.height()))
        shades.append((darkest, lightest))
    assert shades[0][1] > 200, "light words on dark"
    assert shades[1][0] < 80, "dark words on light"
    assert d.dock.width() < 420
    assert d.dock.area.widget().width() == d.dock.area.viewport().width(), "nothing is cut off at the side"
    for widget in d.dock.findChildren((QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit)):
        inner = isinstance(widget.parent(), (QAbstractSpinBox, QComboBox))
        assert inner or widget.toolTip(), f"{widget} has no tooltip"
