"""The module of docs/c-extensions.md is compiled, and its program prints what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

from extensions import compile_extension

import yula

PAGE = Path(__file__).parent.parent.parent / "docs" / "c-extensions.md"
BLOCK = re.compile(r"^```c greeting\.c\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAM = re.compile(r"^```python\n(.*?)^```\n\n((?:    [^\n]*\n)+)", re.DOTALL | re.MULTILINE)


def test_the_module_of_the_page_on_c_extensions_does_what_it_says(tmp_path):
    text = PAGE.read_text()
    blocks = list(BLOCK.finditer(text))
    assert text.count("```c") == len(blocks) > 0, "a block of C that is not compiled"
    source = tmp_path / "greeting.c"
    pieces = (f'#line {text.count(chr(10), 0, b.start()) + 2} "{PAGE}"\n{b[1]}' for b in blocks)
    source.write_text("".join(pieces))
    compile_extension(source, tmp_path)
    program, shown = PROGRAM.search(text).groups()
    package = str(Path(yula.__file__).parent.parent)
    path = os.pathsep.join([str(tmp_path), package, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True, text=True, timeout=40, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == re.sub("^    ", "", shown, flags=re.MULTILINE)
