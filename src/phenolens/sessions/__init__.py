"""Sessions: a piece of work that is remembered in a folder, and comes back after whatever has ended the program."""
