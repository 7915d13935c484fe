"""python -m yula: run any Python program on yula. The work is done in yula/cli."""

from yula.cli.command import main

if __name__ == "__main__":
    main()
