"""A display for the window tests: the system packages, installed where that may be done, and Xvfb.

Run as a script it sees to the packages; `virtual_display` starts the server.
"""

import ctypes
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Debian's package, and what shows that it (or its like elsewhere) is there
LIBRARIES = {
    "libdbus-1-3": "libdbus-1.so.3",
    "libegl1": "libEGL.so.1",
    "libfontconfig1": "libfontconfig.so.1",
    "libgl1": "libGL.so.1",
    "libglib2.0-0": "libgthread-2.0.so.0",
    "libopengl0": "libOpenGL.so.0",
    "libxcb-cursor0": "libxcb-cursor.so.0",
    "libxcb-icccm4": "libxcb-icccm.so.4",
    "libxcb-image0": "libxcb-image.so.0",
    "libxcb-keysyms1": "libxcb-keysyms.so.1",
    "libxcb-render-util0": "libxcb-render-util.so.0",
    "libxcb-shape0": "libxcb-shape.so.0",
    "libxcb-xinerama0": "libxcb-xinerama.so.0",
    "libxkbcommon-x11-0": "libxkbcommon-x11.so.0",
}
_DRIVERS = (
    "/usr/lib/*/dri/*swrast*",
    "/usr/lib/dri/*swrast*",
    "/usr/lib64/dri/*swrast*",
    "/usr/lib/*/libgallium*",
)


def has_display() -> bool:
    """Tell whether windows can be opened without a server of our own."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def missing_packages() -> list[str]:
    """Name the Debian packages that a virtual display and Qt still need here."""
    missing = [] if shutil.which("Xvfb") else ["xvfb"]
    if not any(list(Path("/").glob(pattern.lstrip("/"))) for pattern in _DRIVERS):
        missing.append("libgl1-mesa-dri")
    for package, library in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    return missing


def install_packages() -> None:
    """Install what is missing where that may be done; otherwise say in one line what to install."""
    missing = [] if has_display() else missing_packages()
    if not missing:
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", "-qq", *command], env=quiet, check=False)
        missing = missing_packages()
    if missing:
        sys.stdout.write(f"Window tests need these system packages: {' '.join(missing)}\n")


@contextmanager
def virtual_display() -> Iterator[str]:
    """Run Xvfb on a free display, with OpenGL in software, and set the environment for it.

    Yields
    ------
    str
        The display, such as ``":99"``.

    Raises
    ------
    RuntimeError
        If it cannot start, with the reason.
    """
    if missing := missing_packages():
        raise RuntimeError(f"no display, and these system packages are missing: {' '.join(missing)}")
    receiver, sender = os.pipe()
    command = ["Xvfb", "-displayfd", str(sender), "-screen", "0", "1600x1000x24", "+extension", "GLX"]
    server = subprocess.Popen(
        [*command, "-nolisten", "tcp"],
        pass_fds=[sender],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(sender)
    try:
        ready, _, _ = select.select([receiver], [], [], 30)
        number = os.read(receiver, 16).decode().strip() if ready else ""
        if not number:
            raise RuntimeError("no display, and Xvfb did not start")
        display = f":{number}"
        settings = {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "LIBGL_ALWAYS_SOFTWARE": "1"}
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield display
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
    finally:
        os.close(receiver)
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    install_packages()
