"""Pages of the documentation, by what they are about."""

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

_DOCS = "https://github.com/napari-phenolens/napari-phenolens/blob/main/docs/"


def address(page: str) -> str:
    """Where a page lies, such as ``"quickstart"`` or ``"annotation#keys"``."""
    name, sign, part = page.partition("#")
    return f"{_DOCS}{name}.md{sign}{part}"


def open_page(page: str) -> None:
    """Open a page in the browser."""
    QDesktopServices.openUrl(QUrl(address(page)))
