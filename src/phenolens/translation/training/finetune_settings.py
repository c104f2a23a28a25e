"""The settings of fine-tuning, and what tells one run from another; without torch, for the viewer asks too."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from phenolens.runtime.checkpoints import fingerprint
from phenolens.screens.cells import Cells
from phenolens.screens.conditions import Condition
from phenolens.screens.intensity import Kind
from phenolens.screens.table import Screen

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class FinetuneSettings:
    """How an adapter is trained.

    Parameters
    ----------
    method
        What is trained in the UNet: ``"lora"``, ``"svdiff"`` or ``"full"``.
    rank
        Rank of the LoRA weights; the other methods have none.
    learning_rate
        Highest rate of the UNet's weights; the method's own where None.
    dropout
        Share of crops whose condition token is hidden.
    snr_gamma
        Cap of the min-SNR loss weight (Hang et al., 2023, arXiv 2303.09556).
    least_weight
        What low noise levels count at least, which that cap leaves next to nothing: 0 for nothing more, 1 for as much
        as any other level. See `loss_weight`.
    low_noise
        Share of the timesteps that are even in log s on the levels from which an inversion draws its noise.
    average
        Decay of the moving average whose weights are kept.
    crop
        Pixels of the field to a crop; chosen from the cells where None.
    max_cells
        Most cells of a condition; more are drawn at random by `seed`.
    intensity
        ``"affine"`` or ``"sqrt"``: the map from intensity to about [-1, 1].
    network_crop
        Pixels that the network sees of a crop, which is resampled to them; the base's own where None.
    checkpointing
        Whether activations are computed again instead of kept, which saves memory; by the base's size where None.
    """

    steps: int = 900
    method: str = "lora"
    rank: int = 16
    learning_rate: float | None = None
    token_learning_rate: float = 1e-2
    batch: int = 16
    seed: int = 0
    dropout: float = 0.1
    snr_gamma: float = 5.0
    least_weight: float = 0.0
    low_noise: float = 0.0
    average: float = 0.99
    crop: int | None = None
    max_cells: int = 400
    intensity: Kind = "affine"
    network_crop: int | None = None
    checkpointing: bool | None = None
    preview_every: int = 100
    checkpoint_every: int = 100

    @property
    def rate(self) -> float:
        """The learning rate of the UNet's weights, chosen or the method's own."""
        from phenolens.translation.model.methods import find_method

        return find_method(self.method).learning_rate if self.learning_rate is None else self.learning_rate

    def of_result(self) -> dict[str, Any]:
        """The settings that the result depends on: all but how often one looks and saves."""
        return {name: value for name, value in asdict(self).items() if name not in _BESIDE}


_BESIDE = ("preview_every", "checkpoint_every")


def checkpoint_of(out: Path) -> Path:
    """The checkpoint of the adapter `out` while it is being trained."""
    return out.with_name(out.name + ".partial") / CHECKPOINT


def request_of(
    screen: Screen,
    source: Condition,
    target: Condition,
    cells: Cells,
    base: str,
    settings: FinetuneSettings,
    crop: int,
) -> str:
    """Fingerprint of what is asked for, without reading an image: conditions, their fields and cells, base, settings.

    Parameters
    ----------
    base
        Name of the base, or its folder.
    crop
        Pixels of the field to a crop, chosen or suggested.

    Raises
    ------
    ScreenError
        Where no field fits a condition.
    """
    keys = [tuple(one.key for one in screen.select(condition)) for condition in (source, target)]
    used = cells.table[cells.table["field"].isin([key for part in keys for key in part])]
    used = used.sort_values(["field", "label"])
    return fingerprint(
        source.text,
        target.text,
        keys,
        tuple(screen.channel_names),
        screen.position,
        used["field"].tolist(),
        used[["label", "y", "x"]].to_numpy(float),
        str(Path(base).resolve()) if Path(base).is_dir() else base,
        {**settings.of_result(), "crop": crop},
    )
