"""``python -m rooftree.cli`` is ``rooftree``, where the console script is not on the path."""

from rooftree.cli import main

main()
