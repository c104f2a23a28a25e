"""A main figure, held: what the compact base must reach on simulated cells, whose true counterfactual is known.

A third of the steps and one field take a quarter of the time; `docs/base_model.md` has the figures of whole runs.
"""

import pytest

from benchmarks import run

pytestmark = pytest.mark.slow


def test_simulated_cells_come_near_their_true_counterfactual():
    how = ("--treatment", "translocation", "--styles", 9001, "--steps", 300, "--fields", 1)
    channels, ours, freely, stock = run("counterfactual.py", *how)
    assert "Second" not in channels["held"]
    assert ours["median_error"] <= 0.45, "0.37; half the effect is the aim"
    assert ours["median_error"] <= 0.9 * stock["median_error"]
    assert ours["median_error"] < freely["median_error"] < 0.6
