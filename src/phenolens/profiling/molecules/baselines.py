"""What a predicted counterfactual has to beat: the mean change, and the nearest training compound's."""

import numpy as np
from numpy.typing import NDArray

from phenolens.profiling.molecules.molecules import nearest


def changes(
    vectors: NDArray[np.floating], numbers: NDArray[np.int64], plates: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Mean change of each compound from the controls of its plates; from the mean of all where there is no control.

    Parameters
    ----------
    vectors
        (n, d) embeddings.
    numbers
        (n,) 0 for controls, from 1 for compounds.
    plates
        (n,) numbers of the plates.

    Returns
    -------
    ndarray (k, d) float32
        A row a compound, in the order of the sorted numbers that occur.
    """
    moved = np.array(vectors, np.float64)
    if not (numbers == 0).any():
        # Without any control a plate cannot be told from what is on it.
        plates = np.zeros_like(plates)
    for plate in np.unique(plates):
        here = plates == plate
        controls = here & (numbers == 0)
        moved[here] -= (moved[controls] if controls.any() else moved[here]).mean(0)
    return np.stack([moved[numbers == number].mean(0) for number in np.unique(numbers[numbers > 0])]).astype(np.float32)


def mean_shift(controls: NDArray[np.floating], known: NDArray[np.floating]) -> NDArray[np.float32]:
    """Controls (m, d) moved by the mean of the known compounds' changes (k, d): it looks at no structure."""
    return np.asarray(controls + known.mean(0), np.float32)


def nearest_compound(
    controls: NDArray[np.floating],
    known: NDArray[np.floating],
    training: NDArray[np.float32],
    query: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Controls (m, d) moved as the training compound that is most like the query moved them.

    Parameters
    ----------
    known
        (k, d) changes of the training compounds.
    training
        (k, bits) their fingerprints.
    query
        (bits,) fingerprint of the compound in question.
    """
    row, _ = nearest(training, query)
    return np.asarray(controls + known[int(row)], np.float32)
