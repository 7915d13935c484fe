#!/usr/bin/env python3
"""Make the C reference from the public headers: manual pages and HTML.

A page for every function, or group of functions that share a comment, and one
for every header with its types and constants.  Nothing is written twice: what
the pages say is what the headers say, so the headers are checked on the way
(every exported function is explained and says on which thread it may be called).

How a header is read: a comment in the first column belongs to the declarations
that follow without an empty line; `/* --- name --- */` begins a section; the
comment that opens the file is the description of the room.
"""

import argparse
import html
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

FUNCTION = re.compile(r"\bYULA_(?:PYTHON_|TLS_)?API\b[^;]*?\b(yula_\w+)\s*\(")
EXPORT = re.compile(r"YULA_(?:PYTHON_|TLS_)?API ")
OTHER_NAME = re.compile(
    r"#define (YULA_\w+)|typedef[^;]*\(\*(yula_\w+)\)\(|\b(?:struct|enum) (yula_\w+)[\s;{]"
    r"|typedef .*?\b(yula_\w+);|\b(YULA_\w+)\b(?= *[=,])",
    re.DOTALL,
)
ARGUMENT = re.compile(r"^(\w+(?:, \w+)*(?:, \.\.\.)?)  +(\S.*)$")
MARKS = re.compile(r"\b(Thread|Blocks|Calls back|GIL):\s*")
# One includes the others, the other is a list of names.
UNSHOWN = {"yula.h", "python_table.h"}
PRIVATE = re.compile(
    r"^#(?:ifndef YULA_\w+_H|define YULA_\w+_H|endif|include|if|else|ifdef)|^YULA_(?:BEGIN|END)$"
)


@dataclass
class Entry:
    """A comment and the declarations under it."""

    comment: list[str]
    code: list[str] = field(default_factory=list)
    section: str = ""

    @property
    def text(self) -> str:
        return "\n".join(self.code)

    @property
    def functions(self) -> list[str]:
        return FUNCTION.findall(self.text)

    @property
    def names(self) -> list[str]:
        found = (next(filter(None, groups)) for groups in OTHER_NAME.findall(self.text))
        return list(dict.fromkeys(found))


@dataclass
class Header:
    name: str
    intro: list[str]
    entries: list[Entry]

    @property
    def title(self) -> str:
        """What stands behind "name.h:" in the first sentence."""
        first = " ".join(blocks(self.intro)[0][1]) if self.intro else ""
        sentence = first.split(": ", 1)[-1]
        return re.split(r"[.:;](?: |$)", sentence)[0]

    @property
    def description(self) -> list[str]:
        lines = list(self.intro)
        lines[0] = lines[0].split(": ", 1)[-1]
        lines[0] = lines[0][:1].upper() + lines[0][1:]
        return lines


# --- reading -------------------------------------------------------------------


def comment_lines(raw: list[str]) -> list[str]:
    text = "\n".join(raw)
    text = re.sub(r"^/\*+ ?", "", text)
    text = re.sub(r"\s*\*/$", "", text)
    return [re.sub(r"^ \*(?: |$)", "", line).rstrip() for line in text.split("\n")]


def take_comment(lines: list[str], at: int) -> tuple[list[str], int]:
    end = at
    while "*/" not in lines[end]:
        end += 1
    return comment_lines(lines[at : end + 1]), end + 1


def keep_newlines(found: re.Match[str]) -> str:
    return "\n" * found.group().count("\n")


def take_declaration(lines: list[str], at: int) -> tuple[list[str], int]:
    """Up to the ';' or the end of the braces, whichever comes last."""
    if lines[at].startswith("#"):
        end = at
        while lines[end].endswith("\\"):
            end += 1
        return lines[at : end + 1], end + 1
    depth = 0
    bare = re.sub(r"/\*.*?\*/", keep_newlines, "\n".join(lines[at:]), flags=re.DOTALL)
    for end, code in enumerate(bare.split("\n"), at):
        depth += code.count("{") - code.count("}") + code.count("(") - code.count(")")
        if depth == 0 and code.rstrip().endswith((";", "}")):
            return lines[at : end + 1], end + 1
    raise ValueError(f"a declaration without an end: {lines[at]}")


def read_header(path: pathlib.Path) -> Header:
    lines = path.read_text().splitlines()
    intro: list[str] = []
    entries: list[Entry] = []
    section = ""
    entry: Entry | None = None
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            entry = None
            at += 1
        elif line.startswith("/*"):
            comment, at = take_comment(lines, at)
            heading = re.fullmatch(r"-+ (.*?) -+", " ".join(comment))
            if heading:
                section = heading.group(1)
            elif not intro:
                intro = comment
            else:
                entry = Entry(comment, section=section)
                entries.append(entry)
        elif PRIVATE.match(line):
            at += 1
        else:
            code, at = take_declaration(lines, at)
            if entry is None:
                entry = Entry([], section=section)
                entries.append(entry)
            entry.code += code
    return Header(path.name, intro, [entry for entry in entries if entry.code])


# --- the parts of a comment ----------------------------------------------------


def blocks(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Paragraphs ("text"), lists of arguments ("arguments"), code ("code")."""
    found: list[tuple[str, list[str]]] = []
    paragraph: list[str] = []

    def finish() -> None:
        if not paragraph:
            return
        if all(line.startswith("    ") for line in paragraph):
            kind = "code"
        elif ARGUMENT.match(paragraph[0]) or all(
            line.startswith(" ") or ARGUMENT.match(line) for line in paragraph
        ):
            kind = "arguments"
        else:
            kind = "text"
        found.append((kind, paragraph.copy()))
        paragraph.clear()

    for line in lines:
        begins_last_part = re.match(r"(Returns|Thread:) ?", line) and paragraph
        if not line or begins_last_part:
            finish()
        if line:
            paragraph.append(line)
    finish()
    return found


def arguments_of(lines: list[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in lines:
        match = ARGUMENT.match(line)
        if match:
            found.append((match.group(1), match.group(2)))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        else:
            found.append(("", line.strip()))
    return found


def marks_of(text: str) -> dict[str, str]:
    parts = MARKS.split(text)[1:]
    return {
        name: value.strip().rstrip(".") for name, value in zip(parts[::2], parts[1::2], strict=True)
    }


@dataclass
class Parts:
    body: list[tuple[str, list[str]]]
    returns: str
    marks: dict[str, str]


def parts_of(comment: list[str]) -> Parts:
    body: list[tuple[str, list[str]]] = []
    returns = ""
    marks: dict[str, str] = {}
    for kind, lines in blocks(comment):
        text = " ".join(line.strip() for line in lines)
        split = re.search(r"(?:^|(?<=\. )|(?<=\) ))Thread: ", text) if kind == "text" else None
        if split:
            marks |= marks_of(text[split.start() :])
            text = text[: split.start()].strip()
            lines = [text] if text else []
        if kind == "text" and re.match(r"Returns?\b", text):
            returns = f"{returns} {text}".strip()
        elif lines:
            body.append((kind, lines))
    return Parts(body, returns, marks)


def problems_of(headers: list[Header]) -> list[str]:
    problems = []
    for header in headers:
        if not header.intro:
            problems.append(f"{header.name}: no comment opens it")
        for entry in header.entries:
            for function in entry.functions:
                if not entry.comment:
                    problems.append(f"{header.name}: {function} is not explained")
    return problems


def bare(code: list[str]) -> list[str]:
    """The code without its mark, lines that went on below it moved along."""
    out, shift = [], 0
    for line in code:
        mark = EXPORT.match(line)
        if mark:
            shift = mark.end()
            line = line[shift:]
        elif shift and line.startswith(" " * shift):
            line = line[shift:]
        out.append(line)
    return out


# --- manual pages --------------------------------------------------------------


def roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", text)


def roff_blocks(parts: list[tuple[str, list[str]]]) -> list[str]:
    out: list[str] = []
    for kind, lines in parts:
        if kind == "code":
            out += [
                ".PP",
                ".in +4n",
                ".nf",
                *(roff(line[4:]) for line in lines),
                ".fi",
                ".in",
            ]
        elif kind == "arguments":
            for name, text in arguments_of(lines):
                out += [".TP", f".I {roff(name)}" if name else "\\&", roff(text)]
        else:
            out += [".PP", *(roff(line.strip()) for line in lines)]
    return out


def roff_page(name: str, what: str, header: Header, body: list[str], version: str) -> str:
    head = [
        f'.TH {name} 3 "" "yula {version}" "C library of yula"',
        ".SH NAME",
        f"{name} \\- {roff(what)}",
        ".SH SYNOPSIS",
        ".nf",
        f".B #include <yula/{header.name}>",
    ]
    return "\n".join([*head, *body]) + "\n"


def roff_code(code: list[str]) -> list[str]:
    return [".PP", *(roff(line) or ".PP" for line in bare(code))]


def summary_of(entry: Entry) -> str:
    """The first sentence of a comment, for lists and the NAME line."""
    parts = parts_of(entry.comment)
    texts = [" ".join(lines) for kind, lines in parts.body if kind == "text"]
    text = texts[0] if texts else parts.returns
    sentence = re.split(r"(?<=[A-Za-z)\d])[.;:](?: |$)", text)[0].rstrip(".")
    return (sentence[:1].lower() + sentence[1:]) if sentence else "see the header"


def manual_of_entry(entry: Entry, header: Header, version: str) -> dict[str, str]:
    names = entry.functions
    parts = parts_of(entry.comment)
    out = [*roff_code(entry.code), ".fi"]
    if parts.body:
        out += [
            ".SH DESCRIPTION",
            *roff_blocks(parts.body)[(parts.body[0][0] == "text") :],
        ]
    if parts.returns:
        out += [".SH RETURN VALUE", roff(parts.returns)]
    if parts.marks:
        out += [".SH USE"]
        for mark, value in parts.marks.items():
            out += [".TP", roff(mark), roff(value)]
    room = header.name.removesuffix(".h")
    out += [".SH SEE ALSO", f".BR yula_{room}.h (3)"]
    what = summary_of(entry)
    pages = {names[0]: roff_page(", ".join(names), what, header, out, version)}
    # The first line of a page with several names: man looks only at its file name.
    pages[names[0]] = pages[names[0]].replace(f".TH {', '.join(names)} 3", f".TH {names[0]} 3", 1)
    return pages | dict.fromkeys(names[1:], f".so man3/{names[0]}.3\n")


def manual_of_header(header: Header, version: str) -> dict[str, str]:
    out = [".fi", ".SH DESCRIPTION", *roff_blocks(blocks(header.description))[1:]]
    functions = [entry for entry in header.entries if entry.functions]
    types = [entry for entry in header.entries if not entry.functions]
    if functions:
        out.append(".SH FUNCTIONS")
        for entry in functions:
            for name in entry.functions:
                out += [".TP", f".BR {name} (3)", roff(summary_of(entry))]
    if types:
        out.append(".SH TYPES AND CONSTANTS")
        for entry in types:
            out += roff_blocks(blocks(entry.comment))
            out += [
                ".PP",
                ".in +4n",
                ".nf",
                *(roff(line) or "\\&" for line in entry.code),
                ".fi",
                ".in",
            ]
    room = header.name.removesuffix(".h")
    page = roff_page(f"yula_{room}.h", header.title, header, out, version)
    return {f"yula_{room}.h": page}


def write_manual(headers: list[Header], out: pathlib.Path, version: str) -> int:
    pages: dict[str, str] = {}
    for header in headers:
        pages |= manual_of_header(header, version)
        for entry in header.entries:
            if entry.functions:
                pages |= manual_of_entry(entry, header, version)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.3"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        (out / f"{name}.3").write_text(text)
    os.utime(out)  # ninja looks at the folder
    return len(pages)


# --- HTML ----------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --mark: #06c; }
@media (prefers-color-scheme: dark) { :root { --mark: #7bf; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; }
pre, code { font: 14px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .7rem 1rem; overflow-x: auto; border-radius: 6px; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
section { margin: 2rem 0; }
a { color: var(--mark); text-decoration: none; }
a:hover { text-decoration: underline; }
dt { font-style: italic; } dd { margin: 0 0 .3rem 1.5rem; }
.marks { font-size: 14px; opacity: .8; }
"""


def linked(text: str, index: dict[str, str]) -> str:
    def link(match: re.Match[str]) -> str:
        name = match.group(0)
        return f'<a href="{index[name]}">{name}</a>' if name in index else name

    return re.sub(r"\b(?:yula_\w+|YULA_\w+)\b", link, html.escape(text, quote=False))


def html_blocks(parts: list[tuple[str, list[str]]], index: dict[str, str]) -> list[str]:
    out: list[str] = []
    for kind, lines in parts:
        if kind == "code":
            out.append("<pre>" + linked("\n".join(line[4:] for line in lines), index) + "</pre>")
        elif kind == "arguments":
            out.append("<dl>")
            for name, text in arguments_of(lines):
                out.append(f"<dt>{html.escape(name)}</dt><dd>{linked(text, index)}</dd>")
            out.append("</dl>")
        else:
            out.append(f"<p>{linked(' '.join(line.strip() for line in lines), index)}</p>")
    return out


def html_entry(entry: Entry, index: dict[str, str]) -> list[str]:
    names = entry.functions + entry.names
    parts = parts_of(entry.comment)
    anchors = "".join(f'<a id="{name}"></a>' for name in dict.fromkeys(names))
    code = "\n".join(bare(entry.code))
    out = [f"<section>{anchors}", f"<pre>{linked(code, index)}</pre>"]
    out += html_blocks(parts.body, index)
    if parts.returns:
        out.append(f"<p>{linked(parts.returns, index)}</p>")
    if parts.marks:
        marks = " · ".join(f"{name}: {value}" for name, value in parts.marks.items())
        out.append(f'<p class="marks">{linked(marks, index)}</p>')
    return [*out, "</section>"]


def html_page(title: str, body: list[str]) -> str:
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


def html_of_header(header: Header, index: dict[str, str]) -> str:
    body = ['<p><a href="index.html">libyula</a></p>', f"<h1>yula/{header.name}</h1>"]
    body += html_blocks(blocks(header.description), index)
    section = ""
    for entry in header.entries:
        if entry.section != section:
            section = entry.section
            body.append(f"<h2>{html.escape(section)}</h2>")
        body += html_entry(entry, index)
    return html_page(f"yula/{header.name}", body)


def write_html(headers: list[Header], out: pathlib.Path, version: str) -> int:
    index: dict[str, str] = {}
    for header in headers:
        for entry in header.entries:
            for name in entry.functions + entry.names:
                index.setdefault(name, f"{header.name}.html#{name}")
    out.mkdir(parents=True, exist_ok=True)
    body = [f"<h1>libyula {html.escape(version)}</h1>"]
    for header in headers:
        (out / f"{header.name}.html").write_text(html_of_header(header, index))
        body += [
            f'<h2><a href="{header.name}.html">{header.name}</a></h2>',
            f"<p>{linked(header.title, index)}</p><p>",
            *(f"{linked(name, index)}<br>" for entry in header.entries for name in entry.functions),
            "</p>",
        ]
    (out / "index.html").write_text(html_page(f"libyula {version}", body))
    os.utime(out)
    return len(headers) + 1


# --- the program ---------------------------------------------------------------


def groff_problems(folder: pathlib.Path) -> list[str]:
    """What the formatter complains about; nothing where there is none."""
    groff = shutil.which("groff")
    if groff is None:
        return []
    pages = [str(path) for path in sorted(folder.glob("*.3"))]
    command = [groff, "-man", "-ww", "-z", "-Tutf8", *pages]
    result = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True)
    return result.stderr.splitlines()


def check(headers: list[Header]) -> int:
    problems = problems_of(headers)
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "man3"
        count = write_manual(headers, out, "")
        problems += groff_problems(out)
    for problem in problems:
        print(problem, file=sys.stderr)
    functions = sum(len(entry.functions) for header in headers for entry in header.entries)
    print(f"{functions} functions, {count} manual pages, {len(problems)} problems")
    return 1 if problems or not functions else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--headers", type=pathlib.Path, default="include/yula")
    parser.add_argument("--version", default="")
    parser.add_argument("--man", type=pathlib.Path, help="write manual pages into this folder")
    parser.add_argument("--html", type=pathlib.Path, help="write HTML pages into this folder")
    parser.add_argument("--check", action="store_true", help="only look for what is missing")
    args = parser.parse_args()

    paths = sorted(path for path in args.headers.glob("*.h") if path.name not in UNSHOWN)
    headers = [read_header(path) for path in paths]
    if args.check:
        return check(headers)
    if args.man:
        print(f"{write_manual(headers, args.man, args.version)} manual pages")
    if args.html:
        print(f"{write_html(headers, args.html, args.version)} HTML pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
