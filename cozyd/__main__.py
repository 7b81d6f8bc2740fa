"""`python -m cozyd`: the same as the `cozyd` command."""

from cozyd.cli import main

if __name__ == "__main__":
    main()
