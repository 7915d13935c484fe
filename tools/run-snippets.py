#!/usr/bin/env python3
"""Compile and run the programs of a page of documentation.

    ```c NAME        the block is the next piece of the file NAME
    ```console       commands after "$ ", and exactly what they print
    <!-- test: COMMAND -->   a command that must succeed, which readers do not see

Every NAME.c is compiled on its own, with warnings as errors.  A command that ends
in "&" goes on in the background until "kill %1"; what is shown under it is its
first line, which says that it is ready.  A port number that a page shows after
`listening on 127.0.0.1 ` is replaced by one that is free.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile

FENCE = re.compile(
    r"^```(\w+)(?: (\S+))?\n(.*?)^```$|^<!-- test: (.*?) -->$", re.DOTALL | re.MULTILINE
)
SECONDS = 60


class Failure(Exception):
    pass


def free_port(stack: contextlib.ExitStack) -> int:
    """Bound, not listening, until the end: nobody else gets it, but a server that
    sets SO_REUSEPORT can have it, too."""
    holder = stack.enter_context(socket.socket())
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", 0))
    return int(holder.getsockname()[1])


class Page:
    def __init__(self, path: pathlib.Path, folder: pathlib.Path, env: dict[str, str]) -> None:
        self.path = path
        self.folder = folder
        self.env = env
        self.text = path.read_text()
        self.blocks = list(FENCE.finditer(self.text))
        self.background: subprocess.Popen[str] | None = None

    def line_of(self, block: re.Match[str]) -> int:
        return self.text.count("\n", 0, block.start()) + 1

    def write_sources(self) -> list[str]:
        """Each piece says in which line of the page it stands, for the compiler's messages."""
        sources: dict[str, str] = {}
        for block in self.blocks:
            language, name, code = block.group(1, 2, 3)
            if language == "c" and name is None:
                raise Failure(
                    f"{self.path}:{self.line_of(block)}: a block of C without a file name"
                )
            if language == "c":
                place = f'#line {self.line_of(block) + 1} "{self.path}"\n'
                sources[name] = sources.get(name, "") + place + code
        for name, code in sources.items():
            (self.folder / name).write_text(code)
        return [name for name in sources if name.endswith(".c")]

    def compile(self, name: str, compiler: list[str], flags: list[str]) -> None:
        program = name.removesuffix(".c")
        command = [*compiler, "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
        command += ["-D_GNU_SOURCE", "-o", program, name, *flags]
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        if result.returncode != 0:
            raise Failure(f"{name} does not compile:\n{result.stderr}")

    def shell(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run_command(self, command: str) -> str:
        if command == "kill %1":
            assert self.background is not None, "nothing runs in the background"
            self.background.send_signal(signal.SIGTERM)
            self.background.wait(SECONDS)
            self.background = None
            return ""
        if command.endswith("&"):
            assert self.background is None, "something runs in the background already"
            self.background = self.shell(f"exec {command.removesuffix('&')}")
            assert self.background.stdout is not None
            return self.background.stdout.readline()
        return self.shell(command).communicate(timeout=SECONDS)[0]

    def run_console(self, block: re.Match[str], port: int) -> None:
        shown = re.search(r"listening on 127\.0\.0\.1 (\d+)", block.group(3))
        text = block.group(3)
        if shown:
            text = re.sub(rf"\b{shown.group(1)}\b", str(port), text)
        for piece in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = piece.partition("\n")
            got = self.run_command(command)
            if got != expected:
                place = f"{self.path}:{self.line_of(block)}"
                raise Failure(f"{place}: $ {command}\nprinted\n{got}instead of\n{expected}")

    def run_test(self, block: re.Match[str]) -> None:
        command = block.group(4)
        process = self.shell(command)
        output = process.communicate(timeout=4 * SECONDS)[0]
        if process.returncode != 0:
            raise Failure(f"{self.path}:{self.line_of(block)}: {command}\n{output}")

    def run(self) -> int:
        count = 0
        with contextlib.ExitStack() as stack:
            port = free_port(stack)
            try:
                for block in self.blocks:
                    if block.group(1) == "console":
                        self.run_console(block, port)
                        count += 1
                    elif block.group(4):
                        self.run_test(block)
                        count += 1
            finally:
                if self.background is not None:
                    self.background.kill()
        return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("--cc", default="cc", help="the compiler, with arguments")
    parser.add_argument("--flags", default="", help="what to compile and link with")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE for the commands")
    args = parser.parse_args()

    env = os.environ | dict(item.split("=", 1) for item in args.env)
    with tempfile.TemporaryDirectory(prefix="yula-snippets-") as folder:
        page = Page(args.page, pathlib.Path(folder), env)
        try:
            programs = page.write_sources()
            for name in programs:
                page.compile(name, shlex.split(args.cc), shlex.split(args.flags))
            runs = page.run()
        except Failure as failure:
            print(failure, file=sys.stderr)
            return 1
    print(f"{len(programs)} programs compiled, {runs} runs as shown")
    return 0 if programs and runs else 1


if __name__ == "__main__":
    sys.exit(main())
