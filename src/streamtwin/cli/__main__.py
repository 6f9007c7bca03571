"""`python -m streamtwin.cli`."""

from streamtwin.cli import main

if __name__ == "__main__":
    main()
