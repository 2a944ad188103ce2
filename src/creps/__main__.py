"""``python -m creps``."""

from creps.cli import main

if __name__ == "__main__":
    main()
