"""``python -m phenolens``: the command line."""

from phenolens.cli import main

if __name__ == "__main__":
    main()
