"""Whether a window can be opened here, found out without risk to this process."""

import os
import subprocess
import sys

# Qt's own libraries come with its wheels; these come with the system.
PACKAGES = (
    "libegl1 libgl1 libgl1-mesa-dri libopengl0 libglib2.0-0 libdbus-1-3 libfontconfig1 libxkbcommon-x11-0 "
    "libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0"
)
_NO_BINDING = 3
_PROBE = f"""
import sys
try:
    from qtpy import QtCore
except Exception as error:
    sys.exit({_NO_BINDING} if type(error).__module__.startswith("qtpy") else 1)
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
from qtpy.QtWidgets import QApplication
application = QApplication([])
surface = QOffscreenSurface()
surface.create()
context = QOpenGLContext()
sys.exit(0 if context.create() and context.makeCurrent(surface) else 1)
"""
_PATIENCE = 60.0  # s; the first import of Qt from a cold disk is slow


def why_no_window() -> str | None:
    """Say in one line why no window can be opened and what to install; None where it can.

    Qt ends the whole process where a system library is missing, so a short process of its own tries.
    """
    bare = sys.platform.startswith("linux") and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    )
    install = f"on Debian or Ubuntu a window needs: apt-get install {PACKAGES}"
    if bare:
        return f"there is no display, so the demo goes on without a window ({install})"
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, timeout=_PATIENCE, check=False
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        ended = 1
    if ended == 0:
        return None
    if ended == _NO_BINDING:
        return 'Qt is not installed, so the demo goes on without a window: pip install "napari-phenolens[all]"'
    return f"Qt cannot open a window here, so the demo goes on without one ({install})"
