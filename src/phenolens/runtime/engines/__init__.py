"""Where work on many fields is done: in this process, in others, on a cluster, or as one job of an array."""
