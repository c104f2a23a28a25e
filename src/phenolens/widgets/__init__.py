"""The napari side: one dock for the path from a screen to a translated cell."""
