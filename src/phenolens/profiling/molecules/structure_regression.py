"""From a structure to what it does: regression on the training compounds, nearer ones counting more.

Kernel ridge regression with the Tanimoto kernel on fingerprints (L. Ralaivola et al., Neural Networks 18, 1093 (2005))
times a Gaussian kernel on the logarithm of the dose. It predicts the change from the control, and no change far from
everything it knows.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from phenolens.profiling.molecules.molecules import tanimoto

_RIDGE = 0.1
# A factor of ten in dose makes two doses of a compound as alike as exp(-1/2).
_DECADES = 1.0
# What a dose that is not known counts as beside one that is.
_UNKNOWN = 0.8


@dataclass(frozen=True)
class StructureRegression:
    """Fitted coefficients.

    Parameters
    ----------
    fingerprints
        (k, bits) counts of the training compounds, one row for each dose of each.
    doses
        (k, 2): logarithm to base 10 of the dose, and 1 where it is known.
    coefficients
        (k, d).
    """

    fingerprints: NDArray[np.float32]
    doses: NDArray[np.float32]
    coefficients: NDArray[np.floating]

    @classmethod
    def fit(cls, fingerprints: NDArray[np.float32], doses: NDArray[np.float32], changes: NDArray[np.floating]) -> Self:
        """Fit to the changes (k, d) that k compounds bring about; their replicates' noise is a tenth of the signal."""
        kernel = _kernel(fingerprints, doses, fingerprints, doses)
        kernel[np.diag_indices(len(kernel))] += _RIDGE
        return cls(fingerprints, doses, np.linalg.solve(kernel, np.asarray(changes, np.float64)))

    def predict(self, fingerprints: NDArray[np.float32], doses: NDArray[np.float32]) -> NDArray[np.float32]:
        """Change (m, d) that compounds (m, bits) at doses (m, 2) bring about."""
        kernel = _kernel(fingerprints, doses, self.fingerprints, self.doses)
        return np.asarray(kernel @ self.coefficients, np.float32)


def _kernel(
    one: NDArray[np.float32], doses: NDArray[np.float32], other: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float64]:
    away = (doses[:, None, 0] - others[None, :, 0]) / _DECADES
    both, neither = doses[:, None, 1] * others[None, :, 1], (1 - doses[:, None, 1]) * (1 - others[None, :, 1])
    near = both * np.exp(-0.5 * away**2) + neither + (1 - both - neither) * _UNKNOWN
    return np.asarray(tanimoto(one, other) * near, np.float64)
