"""`python -m kdbench`."""

from kdbench.cli.app import main

if __name__ == "__main__":
    main()
