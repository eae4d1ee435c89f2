"""``python -m thinslice`` is the command line."""

from thinslice.cli import main

if __name__ == "__main__":
    main()
