"""Everything: workloads x loops x interpreters, by one command.

    python bench/suite.py --quick                        five minutes
    python bench/suite.py --html suite.html --json suite.json      all of it: two hours
    python bench/suite.py 'echo/*/1k/100' 'uvicorn/*' --rounds 15 --loops yula,asyncio,uvloop
    python bench/suite.py --list
    python bench/suite.py echo/streams --python .venv/bin/python \\
        --python "tools/interpreters exec 3.14 /path/of/venv/bin/python"

    python bench/suite.py 'echo/*/1k/100' --instructions           (valgrind; a minute a case)

CASE is a name or a pattern. What is measured, and how, is told in bench/README.md.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from harness import command, instructions, page, report, results, tools
from harness.case import FULL, MINUTE, Case
from workloads import clients, web_servers

CASES = [*command.CASES, *web_servers.CASES, *clients.CASES]
QUICK_S = 280.0


def main() -> int:
    parser = command.make_parser("bench/suite.py", __doc__ or "")
    parser.add_argument("--quick", action="store_true", help="a selection, in five minutes")
    parser.add_argument("--no-c", action="store_true", help="leave the bare C servers out")
    parser.add_argument("--instructions", action="store_true",
                        help="count them with valgrind too: servers and clients")  # fmt: skip
    parser.add_argument("--profiles", type=Path, metavar="FOLDER",
                        help="with --instructions: leave CASE/LOOP.callgrind there")  # fmt: skip
    parser.add_argument("--page-of", type=Path, metavar="FILE",
                        help="measure nothing: make the --html page of an earlier --json")  # fmt: skip
    options = parser.parse_args()
    if options.page_of:
        if not options.html:
            parser.error("--page-of needs --html")
        saved = json.loads(options.page_of.read_text())
        options.html.write_text(page.page(saved), encoding="utf-8")
        return 0
    if options.instructions and shutil.which("valgrind") is None:
        parser.error("valgrind is not installed (Debian: valgrind)")
    settings = tools.settings(no_c=options.no_c)

    def count(case: Case, summary: results.Summary) -> None:
        if not options.instructions or not instructions.can_count(case):
            return
        names = list(summary["loops"])
        failing = command.say_failure(case)
        profiles = None
        if options.profiles:
            profiles = options.profiles.resolve() / case.name.replace("/", "-")
            profiles.mkdir(parents=True, exist_ok=True)
        counted = instructions.count_all(
            case, names, settings, profiles=profiles, say=report.progress, failing=failing
        )
        for name, each in counted.items():
            summary["loops"][name]["instructions"] = each

    if options.rounds is None and not options.quick:
        options.rounds = 5
    level = MINUTE if options.quick else FULL
    budget = QUICK_S if options.quick else None
    return command.run(parser, options, CASES, settings, level, budget, count)


if __name__ == "__main__":
    sys.exit(main())
