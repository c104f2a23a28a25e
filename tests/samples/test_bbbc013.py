"""The BBBC013 plate, from a small made-up archive of the same layout on a local server."""

import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from phenolens.runtime.errors import ImageError, ScreenError
from phenolens.runtime.progress import finish
from phenolens.samples.bbbc013 import ARCHIVE, download_bbbc013, read_archive, well_treatment
from phenolens.screens.table import read_screen

WELLS = {"A": (1, 2, 3, 12), "E": (1, 2, 3, 12)}


def bitmap(value):
    rng = np.random.default_rng(value)
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 200, (40, 40), dtype=np.uint8)).save(stream, "BMP")
    return stream.getvalue()


def make_archive(path, spoil=None):
    number = 0
    with zipfile.ZipFile(path, "w") as archive:
        for row, columns in WELLS.items():
            for column in columns:
                number += 1
                for channel in (1, 2):
                    name = f"BBBC013_v1_images_bmp/Channel{channel}-{number:02d}-{row}-{column:02d}.BMP"
                    archive.writestr(name, b"BM broken" if spoil == name else bitmap(100 * channel + number))
        archive.writestr("BBBC013_v1_images_bmp/readme.txt", "not an image")
    return path


class Server:
    """Serves one archive; `gate` holds the second half of it back."""

    def __init__(self, content):
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked += 1
                if not self.path.endswith(ARCHIVE):
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                half = len(content) // 2
                self.wfile.write(content[:half])
                server.gate.wait(10)
                self.wfile.write(content[half:])

            def log_message(self, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def close(self):
        self.gate.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(tmp_path, monkeypatch):
    made = Server(make_archive(tmp_path / "made.zip").read_bytes())
    monkeypatch.setenv("PHENOLENS_BBBC013_URL", made.url)
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
        with pytest.raises(ScreenError, match="not a whole zip archive"):
            finish(download_bbbc013(tmp_path))
    finally:
        made.close()
    assert list(tmp_path.iterdir()) == []


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
