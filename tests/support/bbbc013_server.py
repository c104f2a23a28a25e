"""A made-up archive of the layout of BBBC013, and a local server for it."""

import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

from phenolens.samples.bbbc013 import ARCHIVE

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
