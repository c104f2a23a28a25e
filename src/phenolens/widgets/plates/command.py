"""The command that translates the open screen as the dock would."""

from pathlib import Path

from phenolens.runtime.files import absolute
from phenolens.screens.segmenters import segmenter_named
from phenolens.widgets.state.session import Session


def what_is_missing(session: Session) -> str:
    """Why the screen cannot be translated by a run of its own, in a sentence; empty where it can."""
    if session.screen is None:
        return "Open a screen first."
    if session.adapter is None or session.translator is None:
        return "Fine-tune, or load an adapter."
    if session.adapter.unfinished:
        return "The adapter is still being trained: wait until it is done."
    if session.origin is None:
        return "The screen is of open layers: save it first, and open what was saved."
    if session.adapter.folder is None:
        return "The adapter is in no folder yet: save it first."
    return ""


def command_of(session: Session, out: Path, *, file_format: str, workers: int, wells: int) -> list[str]:
    """Arguments of ``phenolens`` that translate the open screen with what is chosen in the dock.

    Parameters
    ----------
    wells
        How many wells are tried; all where 0.
    """
    assert session.adapter is not None
    assert session.adapter.folder is not None
    assert session.translator is not None
    assert session.origin is not None
    how = session.translator.settings
    strengths = sorted({0.0, 1.0, round(float(session.strength), 2)})
    held = [part for name in session.translator.held or ("none",) for part in ("--hold", name)]
    arguments = ["translate", str(absolute(session.adapter.folder)), session.origin.path, "--out", str(out)]
    arguments += [part for strength in strengths for part in ("--strength", f"{strength:g}")]
    arguments += ["--solver", how.solver, "--steps", str(how.steps), "--renoise", f"{how.renoise:g}"]
    arguments += ["--fine-noise", f"{how.fine_noise:g}", "--seed", str(how.seed), *held]
    if how.guidance is not None:
        arguments += ["--guidance", repr(float(how.guidance))]
    if (cells := cells_of(session)) is not None:
        arguments += ["--cells", cells]
    if session.origin.pattern:
        arguments += ["--pattern", session.origin.pattern]
    if wells:
        arguments += ["--subset", str(wells)]
    return [*arguments, "--format", file_format, "--workers", str(workers)]


def cells_of(session: Session) -> str | None:
    """How a run is to find the cells; None for as the adapter was trained, where nobody can say it in words."""
    found = None if session.cells is None else session.cells.found
    if found is None or found == "given":
        return None
    known = found in ("whole", "inside") or segmenter_named(found) is not None or Path(found).is_dir()
    return found if known else None
