"""The main figures, held: what the compact base must reach on real cells, and how soon."""

import pytest

from benchmarks import output, run

pytestmark = pytest.mark.slow


def test_real_cells_flip_and_keep_their_nuclei(shared_data):
    cells, channels, translated, freely, null = run("translocation.py", shared_data / "translocation", "--cells", 64)
    assert cells["source_past"] < 0.1
    assert channels["held"] == ["DNA"], "the treatment moves FKHR alone"
    assert translated["flip"] >= 0.85, "real treated cells: 0.89"
    assert translated["flip_by_strength"]["1.5"] >= 0.9
    assert translated["nucleus_iou"] >= 0.8
    assert freely["nucleus_iou"] >= 0.65, "also where nothing is held"
    assert translated["spearman_median"] >= 0.95
    assert null["median_ratio"] == pytest.approx(cells["source_median"], abs=1e-6)
    assert null["flip"] == cells["source_past"]


def test_twenty_evaluations_come_near_the_reference_and_exact_solvers_come_back():
    printed = output("solvers.py", "--cells", 4, "--reference", 100, "--solvers", "difference", "obelm")
    header, _, *lines = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("|")]
    rows = {(line[0], int(line[1])): dict(zip(header, line, strict=False)) for line in lines}
    for steps, evaluations, most in ((8, 20, 0.1), (16, 40, 0.05)):
        assert int(rows["difference", steps]["evaluations"]) == evaluations
        assert float(rows["difference", steps]["to reference"]) <= most
    for steps in (10, 20, 40):
        assert float(rows["obelm", steps]["round trip"]) <= 1e-4


def test_the_autoencoder_keeps_real_cells(shared_data):
    (report,) = run("autoencoder.py", shared_data / "translocation")
    assert report["psnr_db"] >= 32


@pytest.mark.alone
def test_a_click_is_answered_soon_and_sooner_than_by_stock_ddim():
    (report,) = run("speed.py", "--device", "cpu")
    assert report["median_seconds"]["coarse"] <= 2
    assert report["median_seconds"]["slider"] <= 1
    assert report["ddim_over_coarse"] >= 3.6, "4.7 where nothing else runs"
