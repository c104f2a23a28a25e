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

html_theme = "furo"
html_title = "napari-phenolens"
html_logo = html_favicon = "../src/phenolens/icon.svg"
html_theme_options = {
    "source_repository": "https://github.com/napari-phenolens/napari-phenolens/",
    "source_branch": "main",
    "source_directory": "docs/",
    "light_css_variables": {"color-brand-primary": "#1f6f66", "color-brand-content": "#1f6f66"},
    "dark_css_variables": {"color-brand-primary": "#e3a63b", "color-brand-content": "#e3a63b"},
}
