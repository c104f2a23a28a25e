"""A figure of the plane in view, for the engine to draw."""

from collections.abc import Sequence
from pathlib import Path

from phenolens.runtime.errors import CellError
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.crops import Window
from phenolens.widgets.state.session import Session
from phenolens.widgets.translation.export import Looks

_PART = 0.5
_MOST_VALUES = 2**27


def figure_job(session: Session, path: Path, looks: Looks, width_mm: float) -> Job[Path]:
    """A job that draws the translated cells of the plane in view at half of the slider's strength and at all of it.

    Parameters
    ----------
    path
        File to write: PNG, SVG or PDF.
    looks
        How the layers look; see `looks_of`.
    width_mm
        Of the figure.

    Raises
    ------
    CellError
        No cell of this plane is translated, or the slider stands at 0.
    """
    field, image, position, strength = session.field, session.image, session.position, session.strength
    cells = [cell for cell in session.here().values() if cell.translation is not None]
    if field is None or image is None or not cells:
        raise CellError("No cell of this plane is translated: click a cell first.")
    if not strength:
        raise CellError("At strength 0 nothing is translated: move the slider first.")
    half = round(_PART * strength, 2)
    steps = {at: [(cell.id, cell.translation, cell.difference(at)) for cell in cells] for at in (half, strength)}
    between = frozenset(at for at in steps if not all(cell.has(at) for cell in cells))

    def job() -> Job[Path]:
        from phenolens.screens.large_images import LargePlane, plane_of
        from phenolens.translation.apply.composite import Composite
        from phenolens.translation.apply.export_figures import figure_content
        from phenolens.translation.apply.figure import write_figure
        from phenolens.translation.apply.session_export import exported_planes

        yield Progress(0, 2, f"reading {field.key}")
        found, top, left = plane_of(image, *position), 0, 0
        if isinstance(found, LargePlane):
            rows, columns = _around([cell.translation.window for cell in cells if cell.translation], found.shape)
            found, top, left = found[:, rows, columns], rows.start, columns.start
        plane = found
        drawn = {}
        for at, differences in steps.items():
            drawn[at] = Composite(plane)
            for name, translation, difference in differences:
                if difference is not None:
                    window = translation.window
                    drawn[at].put(name, Window(window.y - top, window.x - left, window.size), difference)
        yield Progress(1, 2, "drawing the figure")
        made = exported_planes(field.key, image, {position: drawn[strength]}, strength, cells[0].conditions)
        content = figure_content(made[0], looks, {half: drawn[half].translated}, between)
        assert content is not None
        return write_figure(path, content, width_mm=width_mm)

    return job()


def _around(windows: Sequence[Window], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a large plane (C, H, W) around all windows, with room for the figure's own margin.

    Raises
    ------
    CellError
        The windows lie too far apart.
    """
    spans = []
    for starts, length in zip(([w.y for w in windows], [w.x for w in windows]), shape[-2:], strict=True):
        ends = [start + window.size for start, window in zip(starts, windows, strict=True)]
        more = (max(ends) - min(starts)) // 4 + 1
        spans.append(slice(max(min(starts) - more, 0), min(max(ends) + more, length)))
    rows, columns = spans
    if shape[0] * (rows.stop - rows.start) * (columns.stop - columns.start) > _MOST_VALUES:
        raise CellError(
            "The translated cells lie too far apart in this large field for one figure: keep cells of one region "
            "translated, and take the others back."
        )
    return rows, columns
