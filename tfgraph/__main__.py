"""`python -m tfgraph`: the command line, for where its script is not installed."""

from tfgraph.cli import main

if __name__ == "__main__":
    main()
