"""Step 1: open a screen, look at its fields, choose two conditions."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari import Viewer
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QLineEdit,
    QMenu,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from phenolens.runtime.contents import SCREENS, content_of
from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.queue import INTERACTIVE
from phenolens.screens.label_images import holds_labels
from phenolens.widgets.kit.conditions_box import ConditionBox, control_of, offered, target_of
from phenolens.widgets.kit.eliding import ElidedComboBox, without_middle
from phenolens.widgets.kit.style import SPACE, Form, Note, action, set_accent
from phenolens.widgets.kit.workers import Running
from phenolens.widgets.layers.field_layers import FieldLayers
from phenolens.widgets.state.origin import origin_of
from phenolens.widgets.state.session import Session
from phenolens.widgets.translation import jobs
from phenolens.widgets.translation.layer_axes import LayerAxes
from phenolens.widgets.translation.open_layers import screen_from_layers

if TYPE_CHECKING:
    from phenolens.screens.images import FieldImage
    from phenolens.screens.intensity import IntensityMap
    from phenolens.screens.table import Field, Screen

_FILES = "Screens (*.csv *.parquet *.tif *.tiff *.png);;All files (*)"


class ScreenPanel(QWidget):
    """Opens screens and shows their fields. ``opened`` is emitted when a screen and its first field are on display."""

    opened = Signal()

    def __init__(self, viewer: Viewer, session: Session, running: Running, field_layers: FieldLayers) -> None:
        super().__init__()
        self._viewer, self._session, self._running, self._field_layers = viewer, session, running, field_layers
        self.open_button = action(
            "Open a screen", "A table of images, a folder, an OME-Zarr plate, or layers that are open", accent=True
        )
        menu = QMenu(self)
        menu.addAction("Table or image file…", self._ask_file)
        menu.addAction("Folder of images…", self._ask_folder)
        menu.addAction("OME-Zarr at an address…", self._ask_address)
        menu.addAction("Selected layers in the viewer", self.open_layers)
        self.open_button.setMenu(menu)
        self.layer_axes = LayerAxes()
        self.layer_axes.chosen.connect(self._open_layers)
        self.layer_axes.refused.connect(self._refused)
        self.about = Note("A sample is under File > Open Sample > Phenolens.")
        self.pattern = QLineEdit()
        self.pattern.setPlaceholderText(r"(?P<Well>[A-P]\d\d)_(?P<Channel>\w+)\.tif")
        self.pattern.setToolTip("Regular expression with named groups, for a folder without a screen.csv")
        self.pattern.returnPressed.connect(self._retry_folder)
        self._folder: Path | None = None
        self.source, self.target = ConditionBox(), ConditionBox()
        self.why, self.problem = Note(), Note()
        self.field = ElidedComboBox()
        self.field.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.field.setMinimumContentsLength(4)
        self.field.setToolTip("The field on the canvas")
        self.field.activated.connect(self._show_chosen)
        self.intensity = Note()
        self._choices = QWidget()
        form = Form()
        form.row("Control", self.source, tip="Source condition: the cells that will be translated")
        form.row("Treated", self.target, tip="Target condition: what they will be translated to")
        form.row("Field", self._with_arrows())
        choices = QVBoxLayout(self._choices)
        choices.setContentsMargins(0, 0, 0, 0)
        choices.setSpacing(SPACE)
        choices.addLayout(form)
        choices.addWidget(self.why)
        choices.addWidget(self.intensity)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE + 2)
        whole.setSpacing(SPACE)
        whole.addWidget(self.open_button)
        whole.addWidget(self.pattern)
        whole.addWidget(self.layer_axes)
        whole.addWidget(self.about)
        whole.addWidget(self.problem)
        whole.addWidget(self._choices)
        self.pattern.hide()
        self._choices.hide()
        self.source.chosen.connect(self._choose_conditions)
        self.target.chosen.connect(self._choose_conditions)
        session.field_wanted.connect(self._show_field_of)

    def _with_arrows(self) -> QWidget:
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(2)
        line.addWidget(self.field, 1)
        for text, step, tip in (("‹", -1, "Field before"), ("›", 1, "Next field")):
            arrow = QToolButton()
            arrow.setText(text)
            arrow.setToolTip(tip)
            arrow.setFixedWidth(20)
            arrow.clicked.connect(lambda _=False, step=step: self._step(step))
            line.addWidget(arrow)
        return row

    def open_path(self, path: str | Path, pattern: str | None = None) -> None:
        """Open a table, a folder, an image or a URL in the background; what was open stays until the new one is read.

        What is no screen, such as an adapter or an export, opens as it does when it is dropped on the viewer.
        """
        from phenolens.screens.ome_zarr.folders import is_url, shown_name

        if is_url(path):
            self._start(jobs.open_screen(path), shown_name(path), path)
            return
        path = Path(path)
        if pattern is None and not _opens_as_screen(path):
            try:
                self._viewer.open(str(path), plugin="napari-phenolens")
            except PhenolensError as error:
                self._refused(error)
            return
        self._start(jobs.open_screen(path, pattern), path.stem if path.is_file() else path.name, path, pattern=pattern)

    def open_layers(self, _: bool = False) -> None:
        """Use the selected Image layers (all of them where none is selected) as a screen; see `screen_from_layers`.

        Where neither names nor units say what their axes are, the chips ask first.
        """
        selected = [layer for layer in self._viewer.layers if layer in self._viewer.layers.selection]
        images = [x for x in selected if isinstance(x, Image)] or [
            x for x in self._viewer.layers if isinstance(x, Image)
        ]
        self.layer_axes.offer([layer for layer in images if "phenolens" not in layer.metadata])

    def _open_layers(self, layers: list[Image], axes: str) -> None:
        try:
            screen, adopted = screen_from_layers(layers, axes)
        except PhenolensError as error:
            self._refused(error)
            return
        if not adopted:
            for layer in layers:
                layer.visible = False  # the channels have layers of their own now

        def fit() -> Any:
            return screen, (yield from jobs.fit_intensity(screen))

        self._start(fit(), "layers", before=lambda: self._field_layers.adopt(adopted))

    def _start(
        self,
        job: Any,
        name: str,
        path: str | Path | None = None,
        before: Callable[[], None] | None = None,
        pattern: str | None = None,
    ) -> None:
        self._folder = _folder_of_images(path)
        self.open_button.setEnabled(False)
        self.problem.say("")
        self.about.say(f"Reading {without_middle(name)}…")

        def opened(result: "tuple[Screen, IntensityMap]") -> None:
            if before is not None:
                before()
            self.show_screen(*result, name, path, pattern)

        self._running.start(
            job,
            f"Opening {name}",
            priority=INTERACTIVE,
            progress=lambda now: self.about.say(f"{now.message} {now.step}/{now.total}" if now.total else now.message),
            done=opened,
            failed=self._refused,
            finished=lambda: self.open_button.setEnabled(True),
        )

    def _refused(self, error: BaseException) -> None:
        known = isinstance(error, PhenolensError)
        self.problem.say(
            str(error) if known else "The screen could not be read; the notification has the details.", "error"
        )
        self.pattern.setVisible(known and self._folder is not None)
        screen = self._session.screen
        self.about.say(self._describe(screen) if screen is not None else "")

    def show_screen(
        self,
        screen: "Screen",
        intensity: "IntensityMap",
        name: str,
        path: str | Path | None = None,
        pattern: str | None = None,
        show_field: bool = True,
    ) -> None:
        """Work on a screen that has been read from `path`, and show its first control field unless told not to."""
        self._folder = _folder_of_images(path)
        self.pattern.setVisible(self._folder is not None)
        set_accent(self.open_button, False)
        self.open_button.setText("Open another screen")
        if name != "layers":
            self.layer_axes.hide()
        self.problem.say("")
        self._session.set_screen(screen, intensity, name, origin_of(path, pattern))
        self.about.say(self._describe(screen))
        shares = [
            f"{channel} {_percent(share)}"
            for channel, share in zip(intensity.channel_names, intensity.saturated, strict=False)
        ]
        self.intensity.say("Saturated: " + ", ".join(shares))
        limits = [
            f"{channel}: {low:g} to {high:g}"
            for channel, low, high in zip(intensity.channel_names, intensity.low, intensity.high, strict=True)
        ]
        self.intensity.setToolTip(
            "Saturated: pixels at the highest value seen.\n"
            "Contrast limits, one pair a channel for the whole screen:\n" + "\n".join(limits)
        )
        offers = offered(screen)
        for box, choice in ((self.source, control_of(offers)), (self.target, target_of(offers))):
            box.blockSignals(True)
            box.fill(offers, choice)
            box.blockSignals(False)
        self.field.clear()
        for field in screen.fields:
            facts = (field.metadata.get(f"Metadata_{name}") for name in ("Compound", "Role"))
            known = [str(fact) for fact in facts if fact is not None and fact == fact and str(fact)]
            self.field.addItem(" · ".join([field.key, *dict.fromkeys(known)]), field.key)
        self._choices.show()
        self._choose_conditions()
        if show_field:
            self._show_field(self._first_field(screen))

    def choose(self, source: str, target: str) -> None:
        """Choose the conditions of these expressions."""
        for box, expression in ((self.source, source), (self.target, target)):
            box.blockSignals(True)
            box.choose(expression)
            box.blockSignals(False)
        self._choose_conditions()

    def show_read(self, field: "Field", image: "FieldImage", plane: "np.ndarray | None") -> None:
        """Show a field whose image has been read, and its plane where that is not large."""
        self.field.setCurrentIndex(self.field.findData(field.key))
        first = self._session.field is None
        self._session.set_field(field, image, plane)
        if first:
            self.opened.emit()

    def _first_field(self, screen: "Screen") -> int:
        if self._session.source is None:
            return 0
        return int(np.flatnonzero(self._session.source.mask(screen.table))[0])

    def _describe(self, screen: "Screen") -> str:
        facts = [without_middle(self._session.screen_name), f"{len(screen)} fields" if len(screen) != 1 else "1 field"]
        facts.append(" + ".join(screen.channel_names))
        if screen.pixel_size is not None:
            facts.append(f"{np.ravel(screen.pixel_size)[0]:.3g} µm/px")
        return " · ".join(facts)

    def _choose_conditions(self) -> None:
        screen = self._session.screen
        source, n_source, wrong = self.source.condition(screen)
        target, n_target, wrong_target = self.target.condition(screen)
        wrong = wrong or wrong_target
        if not wrong and source is not None and target is not None and screen is not None:
            both = int((source.mask(screen.table) & target.mask(screen.table)).sum())
            if both:
                wrong = f"{both} fields are in both conditions: choose conditions that exclude one another."
                target = None
        if wrong:
            self.why.say(wrong, "error")
        elif source is None or target is None:
            self.why.say("Choose a control and a treated condition to fine-tune on.")
        else:
            self.why.say(f"{n_source} control fields, {n_target} treated fields.")
        self._session.set_conditions(source, target)

    def _step(self, step: int) -> None:
        if self.field.count():
            self._show_field((self.field.currentIndex() + step) % self.field.count())

    def _show_field_of(self, key: str) -> None:
        if (index := self.field.findData(key)) >= 0:
            self._show_field(index)

    def _show_chosen(self, index: int) -> None:
        self._show_field(index)

    def _show_field(self, index: int) -> None:
        screen = self._session.screen
        if screen is None:
            return
        before = self.field.currentIndex()
        self.field.setCurrentIndex(index)

        def shown(result: Any) -> None:
            first = self._session.field is None
            if self._session.screen is screen and self.field.currentIndex() == index:
                self._session.set_field(*result)
                if first:
                    self.opened.emit()

        self._running.start(
            jobs.read_field(screen.fields[index]),
            f"Reading {screen.fields[index].key}",
            priority=INTERACTIVE,
            bar=False,
            done=shown,
            failed=lambda _: self.field.setCurrentIndex(before),
        )

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a screen", "", _FILES)
        if path:
            self.open_path(path)

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a folder of images")
        if path:
            self.open_path(path)

    def _ask_address(self) -> None:
        text, ok = QInputDialog.getText(self, "Open an OME-Zarr", "Address of a plate or image (https://…, s3://…):")
        if ok and text.strip():
            self.open_path(text.strip())

    def _retry_folder(self) -> None:
        if self._folder is None:
            show_error("Choose a folder first.")
            return
        self.open_path(self._folder, self.pattern.text().strip() or None)


def _opens_as_screen(path: Path) -> bool:
    """Whether a file or folder is a screen, or nothing known, rather than something else that can be dropped."""
    content = content_of(path)
    if content is None:
        return path.suffix != ".geojson"
    return content.name in SCREENS and not (content.name == "images" and holds_labels(path))


def _folder_of_images(path: str | Path | None) -> Path | None:
    """`path` where it is a folder whose file names, rather than a table, say what its images are."""
    content = None if path is None else content_of(path)
    return Path(path) if path is not None and content is not None and content.name in ("images", "layers") else None


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 1e-4 or share == 0 else "< 0.01 %"
