"""Profiling: embeddings of cells and fields, their losses, how well they retrieve, and search among them."""
