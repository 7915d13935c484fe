"""How long things may take in tests."""

import os

# Sanitizers and valgrind are several times slower: YULA_TEST_SLOWDOWN=5 stretches every limit.
SLOWDOWN = float(os.environ.get("YULA_TEST_SLOWDOWN", "1"))
