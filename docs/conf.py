"""Sphinx builds the documentation with this: ``tox -e docs``."""

from phenolens import __version__

project = "napari-phenolens"
author = "The napari-phenolens developers"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
autodoc_typehints_format = "short"
napoleon_google_docstring = False
python_use_unqualified_type_names = True

html_theme = "alabaster"
html_title = f"napari-phenolens {release}"
html_theme_options = {"description": "See the same cell before and after treatment", "fixed_sidebar": True}
