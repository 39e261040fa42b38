"""`python -m qashier_mock` is `qashier-mock`."""

from qashier_mock.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
