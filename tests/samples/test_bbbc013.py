"""The BBBC013 plate, from a small made-up archive of the same layout on a local server."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from bbbc013_server import Server, bitmap, make_archive
from phenolens.runtime.errors import ImageError, ScreenError
from phenolens.runtime.progress import finish
from phenolens.samples.bbbc013 import ARCHIVE, download_bbbc013, read_archive, well_treatment
from phenolens.screens.table import read_screen


@pytest.fixture
def server(tmp_path, monkeypatch):
    content = make_archive(tmp_path / "made.zip").read_bytes()
    made = Server(content)
    monkeypatch.setenv("PHENOLENS_BBBC013_URL", made.url)
    monkeypatch.setenv("PHENOLENS_BBBC013_SHA256", hashlib.sha256(content).hexdigest())
    yield made
    made.close()


def test_layout_of_the_plate(shared_data):
    import pandas as pd

    table = pd.read_csv(shared_data / "translocation" / "screen.csv")
    for row in table.itertuples():
        found = well_treatment(row.Metadata_Well[0], int(row.Metadata_Well[1:]))
        assert found == (row.Metadata_Compound, row.Metadata_DoseRank, row.Metadata_Role), row.Metadata_Well


def test_download_becomes_a_screen_with_conditions(server, tmp_path):
    seen = []
    folder = finish(download_bbbc013(tmp_path / "plate"), lambda p: seen.append(p.message))
    screen = read_screen(folder)
    assert len(screen) == 8
    assert screen.channel_names == ("FKHR", "DNA")
    assert len(screen.select("Metadata_Role=negative control")) == 4
    assert len(screen.select("Metadata_Role=positive control")) == 2
    assert len(screen.select("wortmannin")) == 2
    with Image.open(io.BytesIO(bitmap(101))) as first:
        assert np.array_equal(screen.fields[0].image().plane()[0], np.asarray(first))
    assert "CC BY 3.0" in (folder / "ATTRIBUTION.txt").read_text()
    assert not (tmp_path / "plate" / ARCHIVE).exists()
    assert any("MB" in message for message in seen)


def test_a_second_time_nothing_is_downloaded(server, tmp_path):
    first = finish(download_bbbc013(tmp_path / "plate"))
    asked = server.asked
    assert finish(download_bbbc013(tmp_path / "plate")) == first
    assert server.asked == asked


def test_cancelling_leaves_nothing_behind_that_would_pass_for_the_plate(server, tmp_path):
    server.gate.clear()
    job = download_bbbc013(tmp_path / "plate")
    for _ in range(3):
        next(job)
    server.gate.set()
    job.close()
    assert not (tmp_path / "plate" / "screen").exists()
    assert finish(download_bbbc013(tmp_path / "plate")).is_dir()


def test_no_network_is_one_sentence_with_the_address(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOLENS_BBBC013_URL", "http://127.0.0.1:9")
    with pytest.raises(ScreenError, match=r"cannot be downloaded from http://127\.0\.0\.1:9.*network"):
        finish(download_bbbc013(tmp_path))


def test_a_broken_download_is_not_kept(tmp_path, monkeypatch):
    made = Server(b"this is no zip archive, but a page that says sorry")
    monkeypatch.setenv("PHENOLENS_BBBC013_URL", made.url)
    try:
        with pytest.raises(ScreenError, match=r"not the archive of BBBC013: its SHA-256 is not c059b569"):
            finish(download_bbbc013(tmp_path))
    finally:
        made.close()
    assert list(tmp_path.iterdir()) == []


def test_an_archive_of_the_right_kind_with_other_content_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.delenv("PHENOLENS_BBBC013_SHA256")
    with pytest.raises(ScreenError, match="SHA-256"):
        finish(download_bbbc013(tmp_path / "plate"))
    assert list((tmp_path / "plate").iterdir()) == []


def test_a_bitmap_that_unpacks_to_more_than_an_image_is_refused(tmp_path):
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("Channel1-01-A-01.BMP", b"BM" + bytes(64 * 2**20))
    with pytest.raises(ImageError, match="larger than any image"):
        finish(read_archive(archive, tmp_path / "screen"))


def test_a_broken_image_is_named_and_leaves_no_half_screen(tmp_path):
    name = "BBBC013_v1_images_bmp/Channel2-03-A-03.BMP"
    archive = make_archive(tmp_path / "made.zip", spoil=name)
    with pytest.raises(ImageError, match="Channel2-03-A-03"):
        finish(read_archive(archive, tmp_path / "screen"))
    assert [path.name for path in tmp_path.iterdir()] == ["made.zip"]


def test_another_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("holiday.txt", "sea")
    with pytest.raises(ScreenError, match="no well"):
        finish(read_archive(tmp_path / "other.zip", tmp_path / "screen"))
