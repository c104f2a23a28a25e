"""Classical features of a crop, the baseline that a learned embedding has to beat."""

import numpy as np
from numpy.typing import NDArray

_SCALES = (0.7, 1.4, 2.8, 5.6)
_RINGS = 5
_PERCENTILES = (5, 25, 50, 75, 95)


def classical_features(crops: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intensity, texture, radial distribution and channel correlation, as CellProfiler measures them.

    Per channel: mean, standard deviation, skewness and percentiles; the energy between successive blurs (a granularity
    spectrum) and the mean gradient; and the share of light and its spread in rings around the centre. Per pair of
    channels: the correlation over the whole crop and over its inner part.

    Parameters
    ----------
    crops
        (n, C, H, W), mapped by one intensity map.

    Returns
    -------
    ndarray (n, 25 C + C (C - 1)) float32
    """
    from scipy.ndimage import gaussian_filter

    n, channels, height, width = crops.shape
    light = np.asarray(crops, np.float64)
    y, x = np.mgrid[:height, :width]
    away = np.hypot((y - (height - 1) / 2) / height, (x - (width - 1) / 2) / width) * 2
    ring = np.minimum((away * _RINGS).astype(int), _RINGS - 1).ravel()
    inside = away.ravel() < 0.5
    flat = light.reshape(n, channels, -1)
    mean, spread = flat.mean(-1), flat.std(-1) + 1e-6
    centred = flat - mean[..., None]
    found = [mean, spread, (centred**3).mean(-1) / spread**3]
    found += list(np.percentile(flat, _PERCENTILES, axis=-1))
    before = light
    for scale in _SCALES:
        blurred = gaussian_filter(light, (0, 0, scale, scale))
        found.append(np.log((before - blurred).std((-1, -2)) + 1e-4))
        before = blurred
    found.append(before.std((-1, -2)))
    rows, columns = np.gradient(light, axis=(-2, -1))
    found.append(np.hypot(rows, columns).mean((-1, -2)))
    for number in range(_RINGS):
        within = flat[..., ring == number]
        found += [within.mean(-1) - mean, within.std(-1)]
    features = [np.stack(found, axis=-1).reshape(n, -1)]
    for one in range(channels):
        for other in range(one + 1, channels):
            for part in (slice(None), inside):
                a, b = flat[:, one, part], flat[:, other, part]
                a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
                together = (a * b).mean(-1) / (a.std(-1) * b.std(-1) + 1e-6)
                features.append(together[:, None])
    return np.concatenate(features, axis=1).astype(np.float32)
