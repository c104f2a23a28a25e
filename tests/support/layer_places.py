"""Where a layer may lie, for property tests."""

import numpy as np
from hypothesis import strategies as st

UNITS = {"y": ("um", "nm", "pixel"), "z": ("um", "pixel"), "t": ("s", "pixel")}


@st.composite
def places(draw, ndim):
    number = st.floats(-50, 50, allow_nan=False).map(lambda value: round(value, 3))
    turn = np.eye(ndim)
    angle = np.deg2rad(draw(st.floats(-170, 170)))
    turn[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    side = draw(st.sampled_from(UNITS["y"]))
    names = {2: "yx", 3: draw(st.sampled_from(["zyx", "tyx"])), 4: "tzyx"}[ndim]
    units = tuple(side if axis in "yx" else draw(st.sampled_from(UNITS[axis])) for axis in names)
    return {
        "scale": [draw(st.floats(0.05, 20)) for _ in range(ndim)],
        "translate": [draw(number) for _ in range(ndim)],
        "rotate": turn,
        "units": units,
        "axis_labels": tuple(names),
    }
