"""What a compound does to a control: the molecule's encoder, the generator and the projection of MICON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Mode = Literal["faithful", "improved"]
MODES: tuple[Mode, ...] = ("faithful", "improved")


@dataclass(frozen=True)
class CounterfactualSettings:
    """Sizes of the counterfactual half.

    Parameters
    ----------
    mode
        ``"faithful"``: the published form, a generator that predicts the treated features from the control's and the
        molecule's (Yu et al., arXiv 2504.09544). ``"improved"``: it predicts the change instead, which is exactly zero
        for the control compound, and it knows the dose.
    dimension
        Length of an embedding.
    bits
        Length of a fingerprint.
    hidden
        Width between the layers.
    projection
        Length of a projection, in which the losses compare.
    dropout
        Share of what the molecule's encoder leaves out in training: of the hidden units where faithful, of the bits
        where improved, so that no single substructure is relied upon.
    """

    mode: Mode = "faithful"
    dimension: int = 128
    bits: int = 2048
    hidden: int = 256
    projection: int = 128
    dropout: float = 0.2

    def to_dict(self) -> dict[str, Any]:
        """Every setting by name, ready for JSON."""
        return asdict(self)


class Counterfactuals(nn.Module):
    """Molecule encoder, counterfactual generator and the projection that they share with the images."""

    def __init__(self, settings: CounterfactualSettings) -> None:
        super().__init__()
        self.settings = settings
        d, hidden = settings.dimension, settings.hidden
        self.drop_bits = nn.Dropout(settings.dropout)
        known = settings.bits + (2 if settings.mode == "improved" else 0)
        inner: list[nn.Module] = [nn.Linear(known, hidden), nn.ReLU()]
        if settings.mode == "faithful":
            inner.append(nn.Dropout(settings.dropout))
        self.molecules = nn.Sequential(*inner, nn.Linear(hidden, d))
        self.generator = nn.Sequential(nn.Linear(2 * d, 2 * d), nn.ReLU(), nn.Linear(2 * d, d))
        self.project = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, settings.projection))
        self.log_temperature = nn.Parameter(torch.tensor(np.log(0.1), dtype=torch.float32))

    def encode(self, fingerprints: Tensor, doses: Tensor, controls: Tensor | None = None) -> Tensor:
        """Encoded molecules (n, d).

        Parameters
        ----------
        fingerprints
            (n, bits) counts.
        doses
            (n, 2): the logarithm of the dose, and 1 where it is known. Only ``improved`` looks at it.
        controls
            (n,) bool: where the compound is the control, whose code is zero in ``improved``.
        """
        seen = fingerprints.log1p()
        if self.settings.mode == "faithful":
            return torch.as_tensor(self.molecules(seen))
        code: Tensor = self.molecules(torch.cat([self.drop_bits(seen), doses], dim=1))
        return code if controls is None else code.masked_fill(controls[:, None], 0)

    def generate(self, control_and_molecule: Tensor) -> Tensor:
        """Predicted features (n, d) of a control's features and an encoded molecule side by side (n, 2 d)."""
        if self.settings.mode == "faithful":
            return torch.as_tensor(self.generator(control_and_molecule))
        control, molecule = control_and_molecule.chunk(2, dim=1)
        nothing = torch.cat([control, torch.zeros_like(molecule)], dim=1)
        change: Tensor = self.generator(control_and_molecule) - self.generator(nothing)
        return control + change

    def temperature(self) -> Tensor:
        """The learned temperature, held between 0.02 and 1."""
        return self.log_temperature.exp().clamp(0.02, 1.0)


def dose_features(doses: Sequence[float | None] | NDArray[Any]) -> NDArray[np.float32]:
    """Dose as the network sees it, (n, 2): its logarithm to base 10, and 1 where a dose above 0 is known."""
    values = np.array([np.nan if dose is None else float(dose) for dose in doses], np.float64)
    known = np.isfinite(values) & (values > 0)
    logged = np.log10(np.where(known, values, 1.0))
    return np.stack([logged, known], axis=1).astype(np.float32)
