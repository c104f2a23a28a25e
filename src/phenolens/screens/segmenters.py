"""What outlines cells in an image: the built-in way, and programs that the user has installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from phenolens.runtime.errors import CellError
from phenolens.screens.segmentation import segment_nuclei

Labels = NDArray[np.int32]


@runtime_checkable
class Segmenter(Protocol):
    """Something that outlines the cells of a field.

    Attributes
    ----------
    name
        What the command line and `find_cells` call it.
    title
        What a person calls it.
    """

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    def unavailable(self) -> str:
        """Return why it cannot be used here and what to do; "" where it can."""
        ...

    def segment(
        self,
        planes: NDArray[Any],
        channel: int,
        *,
        diameter: float | None = None,
        pixel_size: tuple[float, float] | None = None,
    ) -> Labels:
        """Outline the cells of one field.

        Parameters
        ----------
        planes
            (C, H, W), as in the file.
        channel
            Index of the channel that shows the nuclei.
        diameter
            About how many pixels a cell is wide; None leaves it to the segmenter.
        pixel_size
            Micrometres a pixel in Y and X, or None where unknown.

        Returns
        -------
        ndarray (H, W) int32
            0 for background, 1, 2, ... for cells.
        """
        ...


@dataclass(frozen=True)
class BuiltIn:
    """The built-in one: nuclei by local thresholds, without a model; see `segment_nuclei`."""

    name: str = "auto"
    title: str = "Segment the nuclei"

    def unavailable(self) -> str:
        """Return "": it is always there."""
        return ""

    def segment(
        self,
        planes: NDArray[Any],
        channel: int,
        *,
        diameter: float | None = None,
        pixel_size: tuple[float, float] | None = None,
    ) -> Labels:
        """Outline nuclei; it finds the diameter itself."""
        return segment_nuclei(planes[channel], pixel_size)


Segment = Callable[[NDArray[np.float32], "float | None", "tuple[float, float] | None"], Any]


@dataclass(frozen=True)
class Installed:
    """A program that the user has installed beside this one.

    Its model is loaded once, when the first field is segmented.

    Parameters
    ----------
    name, title
        As `Segmenter` has them.
    module, distribution
        What is imported, and what is installed.
    load
        Imports it and returns what segments one channel: from pixels (H, W) float32, a diameter and a pixel size to a
        label image.
    """

    name: str
    title: str
    module: str
    distribution: str
    load: Callable[[], Segment] = field(repr=False)
    _loaded: dict[str, Segment] = field(default_factory=dict, repr=False, compare=False)

    def unavailable(self) -> str:
        """Return "" where its module can be found; it is not imported for that."""
        try:
            found = find_spec(self.module) is not None
        except (ImportError, ValueError):
            found = False
        if found:
            return ""
        return f"{self.title} is not installed: install it with 'pip install {self.distribution}'."

    def segment(
        self,
        planes: NDArray[Any],
        channel: int,
        *,
        diameter: float | None = None,
        pixel_size: tuple[float, float] | None = None,
    ) -> Labels:
        """Outline the cells of one field in the chosen channel.

        Raises
        ------
        CellError
            It is not installed, it fails, or what it returns is no label image of the field.
        """
        if reason := self.unavailable():
            raise CellError(reason)
        pixels = np.asarray(planes[channel], np.float32)
        try:
            if "model" not in self._loaded:
                self._loaded["model"] = self.load()
            made = self._loaded["model"](pixels, diameter, pixel_size)
        except Exception as error:
            raise CellError(f"{self.title} failed ({type(error).__name__}: {error}).") from error
        labels = np.asarray(made)
        if labels.shape != pixels.shape or not np.equal(np.mod(labels, 1), 0).all() or (labels < 0).any():
            raise CellError(f"{self.title} returned no label image of this field (shape {labels.shape}).")
        return labels.astype(np.int32)


def _load_cellpose() -> Segment:
    from cellpose import models

    try:
        major = int(version("cellpose").split(".")[0])
    except (PackageNotFoundError, ValueError):
        major = 4
    # up to version 3 a model of nuclei is chosen by name; since version 4 there is one model for all cells
    model = models.CellposeModel(gpu=True) if major >= 4 else models.CellposeModel(gpu=True, model_type="nuclei")

    def segment(pixels: NDArray[np.float32], diameter: float | None, _: tuple[float, float] | None) -> Any:
        how: dict[str, Any] = {"diameter": diameter}
        if major < 4:
            how["channels"] = [0, 0]
        return model.eval(pixels, **how)[0]

    return segment


_STARDIST_NUCLEUS = 20.0  # pixels across, in the images that its model learned from


def _load_stardist() -> Segment:
    from csbdeep.utils import normalize
    from stardist.models import StarDist2D

    model = StarDist2D.from_pretrained("2D_versatile_fluo")

    def segment(pixels: NDArray[np.float32], diameter: float | None, _: tuple[float, float] | None) -> Any:
        scale = None if diameter is None else _STARDIST_NUCLEUS / diameter
        return model.predict_instances(normalize(pixels, 1, 99.8), scale=scale)[0]

    return segment


def _load_instanseg() -> Segment:
    from instanseg import InstanSeg

    model = InstanSeg("fluorescence_nuclei_and_cells", verbosity=0)

    def segment(pixels: NDArray[np.float32], diameter: float | None, pixel_size: tuple[float, float] | None) -> Any:
        size = None if pixel_size is None else float(np.mean(pixel_size))
        made = model.eval_small_image(pixels, pixel_size=size, target="nuclei", return_image_tensor=False)
        made = made.detach().cpu().numpy() if hasattr(made, "detach") else np.asarray(made)
        return made.reshape(made.shape[-2:])

    return segment


SEGMENTERS: tuple[Segmenter, ...] = (
    BuiltIn(),
    Installed("cellpose", "Cellpose", "cellpose", "cellpose", _load_cellpose),
    Installed("stardist", "StarDist", "stardist", "stardist tensorflow", _load_stardist),
    Installed("instanseg", "InstanSeg", "instanseg", "instanseg-torch", _load_instanseg),
)
"""All that are known, whether they can be used here or not."""


def segmenter_named(name: str) -> Segmenter | None:
    """Return the segmenter called `name`, or None."""
    return next((one for one in SEGMENTERS if one.name == name), None)
