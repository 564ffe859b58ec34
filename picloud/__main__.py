"""`python -m picloud` is `picloud`."""

from picloud.cli import main

if __name__ == "__main__":
    main()
