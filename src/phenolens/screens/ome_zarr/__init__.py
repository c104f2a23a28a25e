"""OME-Zarr: images and plates, in and out, local and by URL."""
