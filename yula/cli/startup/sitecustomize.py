# Python runs this file when it starts, because `python -m yula` put its folder first in PYTHONPATH.
# Children inherit that, and may be any Python there is: this file must be readable by all of them.
import os
import sys

folder = os.path.dirname(__file__)
if sys.version_info >= (3, 11) and os.environ.get("YULA_RUN") != "off":
    import yula_startup  # type: ignore[import-not-found]  # needs the folder on the path

    yula_startup.start()

# The program finds its path, and its own sitecustomize, as if this one were not there: without
# another one this import fails, and site.py ignores that as it does when there is none at all.
while folder in sys.path:
    sys.path.remove(folder)
hidden = sys.modules.pop("sitecustomize", None)  # kept alive: Python 2 empties what it frees
import sitecustomize  # type: ignore[import-not-found]  # noqa: E402, F401
