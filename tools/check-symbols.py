#!/usr/bin/env python3
"""Compare the symbol map with the YULA_API prototypes, and with the library.

A name that is declared but not in the map cannot be linked against, and one
that is in the map but not declared is an export nobody documented.  With
--write the map is brought up to date: new names go into the newest version.

Extension modules of Python reach the same functions, and those that yula/python.h marks, through
a table (yula/python_table.h).  Their order there is an ABI: new ones are added at the end.
"""

import argparse
import pathlib
import re
import subprocess
import sys

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
# A declaration: everything from YULA_API to the ';'. The declared name is the
# first identifier followed by '(' (a function) or the last one (a variable).
DECLARATION = re.compile(r"\bYULA_API\b([^;{]*)[;{]")
TLS_DECLARATION = re.compile(r"\bYULA_TLS_API\b([^;{]*)[;{]")
PYTHON_DECLARATION = re.compile(r"\bYULA_PYTHON_API\b([^;{]*)[;{]")
TABLE_MEMBER = re.compile(r"^    MEMBER\((\w+)\)", re.MULTILINE)
VERSION_NODE = re.compile(r"(YULA_[0-9.]+)\s*\{(.*?)\}", re.DOTALL)


def declared_names(
    header_dir: pathlib.Path, declaration_of: re.Pattern[str] = DECLARATION
) -> dict[str, str]:
    names: dict[str, str] = {}
    for header in sorted(header_dir.glob("*.h")):
        text = PREPROCESSOR.sub("", COMMENT.sub(" ", header.read_text()))
        for declaration in declaration_of.findall(text):
            match = re.search(r"\b(yula_\w+)\s*\(", declaration)
            match = match or re.search(r"\b(yula_\w+)\s*(?:\[[^]]*\])?\s*$", declaration)
            if match is None:
                sys.exit(f"{header}: cannot read this declaration: {declaration.strip()}")
            names[match.group(1)] = header.name
    return names


def mapped_names(text: str) -> list[str]:
    names: list[str] = []
    for _, body in VERSION_NODE.findall(COMMENT.sub("", text)):
        exported = body.split("local:")[0].replace("global:", "")
        names += re.findall(r"[\w*]+", exported)
    return names


def exported_names(library: str) -> set[str]:
    output = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--format=posix", library],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    symbols = (line.split() for line in output.splitlines())
    return {name.split("@")[0] for name, kind, *_ in symbols if kind != "A"}


def write_map(path: pathlib.Path, text: str, missing: list[str], surplus: list[str]) -> None:
    """Take out what is gone, and put what is new into the newest version, in order."""
    for name in surplus:
        text = re.sub(rf"^[ \t]*{name};\n", "", text, flags=re.MULTILINE)
    start = text.rindex("global:\n") + len("global:\n")
    end = text.index("    local:", start)
    names = re.findall(r"\w+", text[start:end]) + missing
    lines = "".join(f"        {name};\n" for name in sorted(names))
    path.write_text(text[:start] + lines + text[end:])


def write_table(path: pathlib.Path, missing: list[str], surplus: list[str]) -> None:
    """Put what is new at the end. What is gone leaves a hole, so that the rest stays in place."""
    text = path.read_text()
    for name in surplus:
        text = text.replace(f"    MEMBER({name})", f"    GONE({name})")
        text = re.sub(rf"^#define {name} .*\n", "", text, flags=re.MULTILINE)
    members = "".join(f"    MEMBER({name}) \\\n" for name in missing)
    uses = "".join(f"#define {name} YULA_PYTHON_USE({name})\n" for name in missing)
    text = text.replace(
        "    /* the end of the table */", members + "    /* the end of the table */"
    )
    path.write_text(text.replace("/* the end of the names */", uses + "/* the end of the names */"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--map", type=pathlib.Path, default="src/core/libyula.map")
    parser.add_argument("--headers", type=pathlib.Path, default="include/yula")
    parser.add_argument("--library", help="a built libyula.so to look into as well")
    parser.add_argument("--tls", action="store_true", help="libyula-tls: what is YULA_TLS_API")
    parser.add_argument("--write", action="store_true", help="bring the map up to date")
    args = parser.parse_args()

    text = args.map.read_text()
    declared = declared_names(args.headers, TLS_DECLARATION if args.tls else DECLARATION)
    mapped = mapped_names(text)
    missing = sorted(set(declared) - set(mapped))
    surplus = sorted(set(mapped) - set(declared))
    table = args.headers / "python_table.h"
    in_table = TABLE_MEMBER.findall(table.read_text())
    wanted = sorted(declared_names(args.headers, PYTHON_DECLARATION)) + sorted(declared)
    if args.tls:  # no extension module reaches it through the table
        wanted = in_table
    not_in_table = [name for name in wanted if name not in in_table]
    gone = [name for name in in_table if name not in wanted]

    if args.write:
        write_map(args.map, text, missing, surplus)
        print(f"{args.map}: {len(missing)} added, {len(surplus)} removed")
        write_table(table, not_in_table, gone)
        print(f"{table}: {len(not_in_table)} added, {len(gone)} removed")
        return 0

    problems = [f"{name}: declared in {declared[name]}, not in {args.map}" for name in missing]
    problems += [f"{name}: in {args.map}, declared nowhere" for name in surplus]
    problems += [
        f"{name}: twice in {args.map}" for name in sorted(set(mapped)) if mapped.count(name) > 1
    ]
    problems += [f"{name}: not in {table} (--write puts it there)" for name in not_in_table]
    problems += [f"{name}: in {table}, declared nowhere" for name in gone]
    if not declared:
        problems.append(f"{args.headers}: no YULA_API declaration found")
    if args.library:
        exported = exported_names(args.library)
        problems += [
            f"{name}: not defined" for name in sorted(set(declared) & set(mapped) - exported)
        ]
        problems += [f"{name}: exported by accident" for name in sorted(exported - set(declared))]
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(declared)} names declared, {len(mapped)} in the map, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
