#!/usr/bin/env python3
"""Make the C reference from the public headers: manual pages and HTML.

A page for every function, or group of functions that share a comment, and one
for every header with its types and constants.  Nothing is written twice: what
the pages say is what the headers say, so the headers are checked on the way
(every exported function is explained and says on which thread it may be called).

How a header is read: a comment in the first column belongs to the declarations
that follow without an empty line; `/* --- name --- */` begins a section; the
comment that opens the file is the description of the room.  What the line of
marks leaves out is DEFAULT_MARKS, or, where a comment says "as yula_x", what is
said there.  yula.h becomes yula(7), with a list of the others.
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
DEFAULT_MARKS = {"Thread": "loop", "Blocks": "no", "Calls back": "no", "GIL": "not used"}
LIKE = re.compile(r"\b(?:[Aa]s|of|than|for) (yula_\w+)")
# One includes the others, the other is a list of names.
UNSHOWN = {"yula.h", "python_table.h"}
SEE_ALSO_MAX = 12
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
        split = (
            re.search(r"(?:^|(?<=\. )|(?<=\) ))(?:Thread|GIL): ", text) if kind == "text" else None
        )
        if split:
            marks |= marks_of(text[split.start() :])
            text = text[: split.start()].strip()
            lines = [text] if text else []
        inside = re.search(r"(?<=[.)] )Returns? \S", text) if kind == "text" else None
        if inside:
            returns = f"{returns} {text[inside.start() :]}".strip()
            text = text[: inside.start()].strip()
            lines = [text]
        if kind == "text" and re.match(r"Returns?\b", text):
            returns = f"{returns} {text}".strip()
        elif lines:
            body.append((kind, lines))
    return Parts(body, returns, marks)


def returns_of(entry: Entry, parts: Parts) -> str:
    """Of a function that does nothing but tell, what it tells is the description."""
    if parts.returns or all(is_void(entry, name) for name in entry.functions):
        return parts.returns
    return " ".join(" ".join(lines) for kind, lines in parts.body if kind == "text")


def is_void(entry: Entry, function: str) -> bool:
    return re.search(rf"API (?:_Noreturn )?void {function}\(", entry.text) is not None


class Reference:
    """All headers: what is said in one place and holds in others."""

    def __init__(self, headers: list[Header]):
        self.headers = headers
        self.entries = {
            name: entry
            for header in headers
            for entry in header.entries
            for name in entry.functions
        }

    def marks(self, entry: Entry) -> dict[str, str]:
        """Empty when neither the comment nor the one it refers to says a thing."""
        own = parts_of(entry.comment).marks
        seen = [entry]
        while "Thread" not in own and "GIL" not in own:
            like = LIKE.search(" ".join(seen[-1].comment))
            other = self.entries.get(like.group(1)) if like else None
            if other is None or other in seen:
                return {}
            seen.append(other)
            own = parts_of(other.comment).marks | own
        if "Thread" not in own:  # the lock decides
            return own
        return {name: own.get(name, default) for name, default in DEFAULT_MARKS.items()}

    def see_also(self, entry: Entry, header: Header) -> list[str]:
        """The functions that the comment names, then the neighbours."""
        named = re.findall(r"\byula_\w+", " ".join(entry.comment))
        section = [
            name
            for other in header.entries
            if other.section == entry.section
            for name in other.functions
        ]
        found = [
            name
            for name in dict.fromkeys(named + section)
            if name in self.entries and name not in entry.functions
        ]
        return found[:SEE_ALSO_MAX]

    def problems(self) -> list[str]:
        found = [
            f"{header.name}: no comment opens it" for header in self.headers if not header.intro
        ]
        for header in self.headers:
            for entry in (entry for entry in header.entries if entry.functions):
                name = f"{header.name}: {entry.functions[0]}"
                if not entry.comment:
                    found.append(f"{name} is not explained")
                elif not self.marks(entry):
                    found.append(f"{name} does not say on which thread it may be called")
                elif not (
                    returns_of(entry, parts_of(entry.comment))
                    or all(is_void(entry, function) for function in entry.functions)
                ):
                    found.append(f"{name} does not say what it returns")
        return found


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


def manual_of_entry(
    entry: Entry, header: Header, version: str, reference: Reference
) -> dict[str, str]:
    names = entry.functions
    parts = parts_of(entry.comment)
    returns = returns_of(entry, parts)
    out = [*roff_code(entry.code), ".fi"]
    if parts.body:
        out += [
            ".SH DESCRIPTION",
            *roff_blocks(parts.body)[(parts.body[0][0] == "text") :],
        ]
    if returns:
        out += [".SH RETURN VALUE", roff(returns)]
    out += [".SH USE"]
    for mark, value in reference.marks(entry).items():
        out += [".TP", roff(mark), roff(value)]
    room = header.name.removesuffix(".h")
    out += [
        ".SH SEE ALSO",
        *(f".BR {name} (3)," for name in reference.see_also(entry, header)),
        f".BR yula_{room}.h (3),",
        ".BR yula (7)",
    ]
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


def manual_of_all(overview: Header, headers: list[Header], version: str) -> str:
    out = [
        f'.TH yula 7 "" "yula {version}" "C library of yula"',
        ".SH NAME",
        f"yula \\- {roff(overview.title)}",
        ".SH SYNOPSIS",
        ".B #include <yula/yula.h>",
        ".PP",
        "cc program.c $(pkg\\-config \\-\\-cflags \\-\\-libs yula)",
        ".SH DESCRIPTION",
        *roff_blocks(blocks(overview.description))[1:],
        ".SH HEADERS",
    ]
    for header in headers:
        out += [".TP", f".BR yula_{header.name} (3)", roff(header.title)]
    return "\n".join(out) + "\n"


def write_manual(
    headers: list[Header], overview: Header, folder: pathlib.Path, version: str
) -> int:
    """Pages of section 3 into the folder man3, the overview beside it."""
    pages: dict[str, str] = {}
    reference = Reference(headers)
    for header in headers:
        pages |= manual_of_header(header, version)
        for entry in header.entries:
            if entry.functions:
                pages |= manual_of_entry(entry, header, version, reference)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.3"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        (folder / f"{name}.3").write_text(text)
    (folder.parent / "yula.7").write_text(manual_of_all(overview, headers, version))
    os.utime(folder)  # ninja looks at the folder
    return len(pages) + 1


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


def html_entry(entry: Entry, index: dict[str, str], reference: Reference) -> list[str]:
    names = entry.functions + entry.names
    parts = parts_of(entry.comment)
    anchors = "".join(f'<a id="{name}"></a>' for name in dict.fromkeys(names))
    code = "\n".join(bare(entry.code))
    out = [f"<section>{anchors}", f"<pre>{linked(code, index)}</pre>"]
    out += html_blocks(parts.body, index)
    if parts.returns:
        out.append(f"<p>{linked(parts.returns, index)}</p>")
    known = reference.marks(entry) if entry.functions else parts.marks
    if known:
        marks = " · ".join(f"{name}: {value}" for name, value in known.items())
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


def html_of_header(header: Header, index: dict[str, str], reference: Reference) -> str:
    body = ['<p><a href="index.html">libyula</a></p>', f"<h1>yula/{header.name}</h1>"]
    body += html_blocks(blocks(header.description), index)
    section = ""
    for entry in header.entries:
        if entry.section != section:
            section = entry.section
            body.append(f"<h2>{html.escape(section)}</h2>")
        body += html_entry(entry, index, reference)
    return html_page(f"yula/{header.name}", body)


def write_html(headers: list[Header], overview: Header, out: pathlib.Path, version: str) -> int:
    index: dict[str, str] = {}
    reference = Reference(headers)
    for header in headers:
        for entry in header.entries:
            for name in entry.functions + entry.names:
                index.setdefault(name, f"{header.name}.html#{name}")
    out.mkdir(parents=True, exist_ok=True)
    body = [f"<h1>libyula {html.escape(version)}</h1>"]
    body += html_blocks(blocks(overview.description), index)
    for header in headers:
        (out / f"{header.name}.html").write_text(html_of_header(header, index, reference))
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
    pages = [str(path) for path in [*sorted(folder.glob("*.3")), folder.parent / "yula.7"]]
    command = [groff, "-man", "-ww", "-z", "-Tutf8", *pages]
    result = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True)
    return result.stderr.splitlines()


def check(headers: list[Header], overview: Header) -> int:
    problems = Reference(headers).problems()
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "man3"
        count = write_manual(headers, overview, out, "")
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
    parser.add_argument(
        "--man", type=pathlib.Path, help="write manual pages into this folder, and yula.7 beside it"
    )
    parser.add_argument("--html", type=pathlib.Path, help="write HTML pages into this folder")
    parser.add_argument("--check", action="store_true", help="only look for what is missing")
    args = parser.parse_args()

    paths = sorted(path for path in args.headers.glob("*.h") if path.name not in UNSHOWN)
    headers = [read_header(path) for path in paths]
    overview = read_header(args.headers / "yula.h")
    if args.check:
        return check(headers, overview)
    if args.man:
        print(f"{write_manual(headers, overview, args.man, args.version)} manual pages")
    if args.html:
        print(f"{write_html(headers, overview, args.html, args.version)} HTML pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
