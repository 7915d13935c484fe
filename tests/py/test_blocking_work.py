"""Every snippet of docs/blocking-work.md runs and prints what the page says it prints."""

import os
import re
import sys
from pathlib import Path

import pytest
from programs import execute

PAGE = Path(__file__).parents[2] / "docs" / "blocking-work.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```\n\n```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"^# needs (\d+)\.(\d+)$", re.MULTILINE)


def snippets():
    """(heading, program, output) of each, and a failure for one that shows no output."""
    text = PAGE.read_text() if PAGE.exists() else ""
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0]
        found = SNIPPET.findall(part)
        assert len(found) == part.count("```python"), f"a snippet of '{heading}' shows no output"
        for number, (program, output) in enumerate(found, 1):
            yield pytest.param(program, output, id=f"{heading}-{number}")


@pytest.mark.skipif(not PAGE.exists(), reason="the tests without the docs")
@pytest.mark.parametrize(("program", "output"), list(snippets()))
def test_a_snippet_prints_what_the_page_says(program, output, tmp_path):
    needed = NEEDS.search(program)
    if needed and sys.version_info < tuple(map(int, needed.groups())):
        pytest.skip(f"needs Python {needed[1]}.{needed[2]}")
    script = tmp_path / "program.py"
    script.write_text(program)
    finished = execute(
        "-W", "error", script, cwd=tmp_path, env={"PYTHONPATH": os.environ.get("PYTHONPATH")}
    )
    assert (finished.err, finished.out, finished.code) == ("", output, 0)
