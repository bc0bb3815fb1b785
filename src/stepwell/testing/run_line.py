"""RUN lines, executed in this process: lit's own line without a shell.

Understood: `%s %S %t %T %%`, quotes, pipes, `&&`, `not`, `2>&1`, `> file`, `2> file`, `< file`, a trailing backslash that joins lines. Commands:
`stepwell-opt`, `stepwell`, `filecheck` (also spelled `FileCheck`), `not`, `cat`. Anything else is an error of the test, not a process started.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

RUN = re.compile(r"^\s*(?://|#|;)\s*RUN:\s?(?P<line>.*?)(?P<joins>\\)?\s*$")
Table = dict[str, Callable[[list[str]], int | None]]
OPERATORS = ("&&", "|", "2>&1", "2>", ">", "<")


class RunLineError(Exception):
    """A RUN line that failed, with what its commands said."""


@dataclass
class Command:
    """One command of a pipe with its redirections."""

    words: list[str]
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    merge: bool = False


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


def run_lines(text: str) -> list[str]:
    """The RUN lines of a test file; lines that end in a backslash are joined with the next."""
    lines: list[str] = []
    joins = False
    for raw in text.splitlines():
        match = RUN.match(raw)
        if not match:
            continue
        if joins:
            lines[-1] += match["line"]
        else:
            lines.append(match["line"])
        joins = match["joins"] is not None
    return lines


def substitute(line: str, path: Path, scratch: Path) -> str:
    """lit's substitutions: the file, its folder, a file and a folder that the test may write."""
    table = {"%s": path, "%S": path.parent, "%t": scratch / "out", "%T": scratch, "%%": "%"}
    return re.sub(r"%[sStT%]", lambda match: shlex.quote(str(table[match[0]])) if match[0] != "%%" else "%", line)


def parse(line: str) -> list[list[Command]]:
    """The pipes of a line (joined by `&&`), each a list of commands."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&<>")
    lexer.whitespace_split = True
    lexer.commenters = ""
    pipes: list[list[Command]] = [[Command([])]]
    words = _joined(list(lexer))
    for word in words:
        command = pipes[-1][-1]
        if word == "&&":
            pipes.append([Command([])])
        elif word == "|":
            pipes[-1].append(Command([]))
        elif word == "2>&1":
            command.merge = True
        elif word in ("<", ">", "2>"):
            _redirect(command, word, next(words, ""))
        else:
            command.words.append(word)
    return pipes


def _joined(tokens: list[str]) -> Iterator[str]:
    """The words, with `2` `>&` `1` and `2` `>` put together again."""
    position = 0
    while position < len(tokens):
        if tokens[position : position + 3] == ["2", ">&", "1"]:
            yield "2>&1"
            position += 3
        elif tokens[position : position + 2] == ["2", ">"]:
            yield "2>"
            position += 2
        else:
            yield tokens[position]
            position += 1


def _redirect(command: Command, operator: str, name: str) -> None:
    if not name or name in OPERATORS:
        raise RunLineError(f"'{operator}' needs a file")
    match operator:
        case "<":
            command.stdin = name
        case ">":
            command.stdout = name
        case "2>":
            command.stderr = name


def execute(line: str, path: Path, scratch: Path, table: Table | None = None) -> None:
    """Run one RUN line, with the commands of `table` (default: `commands()`); a RunLineError shows what failed."""
    for pipe in parse(substitute(line, path, scratch)):
        _run_pipe(pipe, line, table or commands())


def run_pipe(pipe: list[Command], table: Table) -> list[Finished]:
    """Run the commands of a pipe one after the other, each on what the one before it printed."""
    finished: list[Finished] = []
    for command in pipe:
        if not command.words:
            raise RunLineError("empty command")
        finished.append(_run(command, finished[-1].out if finished else "", table))
    return finished


def _run_pipe(pipe: list[Command], line: str, table: Table) -> None:
    finished = run_pipe(pipe, table)
    if not any(one.code for one in finished):
        return
    said = [f"--- {command.words[0]} (exit {one.code}):\n{one.err}" for command, one in zip(pipe, finished) if one.err]
    shown = "\n".join(part for part in [*said, finished[-1].out] if part)
    raise RunLineError(f"RUN: {line}\n{shown}")


def _run(command: Command, piped: str, table: Table) -> Finished:
    stdin = Path(command.stdin).read_text() if command.stdin else piped
    words, wanted = list(command.words), True
    while words and words[0] == "not":
        words, wanted = words[1:], not wanted
    code, out, err = call(words, stdin, merge=command.merge, table=table)
    code = code if wanted else int(code == 0)
    if command.stderr:
        Path(command.stderr).write_text(err)
        err = ""
    if command.stdout:
        Path(command.stdout).write_text(out)
        out = ""
    return Finished(code, out, err)


def call(words: list[str], stdin: str = "", *, merge: bool = False, table: Table | None = None) -> tuple[int, str, str]:
    """Run one command in this process: `(exit code, standard output, standard error)`; with `merge` both are the first."""
    table = table or commands()
    if not words or words[0] not in table:
        raise RunLineError(f"unknown command '{' '.join(words[:1])}': RUN lines know {', '.join(sorted(table))}, not")
    out, err = io.StringIO(), io.StringIO()
    errors = out if merge else err
    reader = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
    before, sys.stdin = sys.stdin, reader
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = _exit_code(table[words[0]], words[1:])
    finally:
        sys.stdin = before
    return code, out.getvalue(), err.getvalue()


def _exit_code(run: Callable[[list[str]], int | None], words: list[str]) -> int:
    try:
        return run(words) or 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def commands() -> Table:
    """The commands that RUN lines may use."""
    from stepwell.cli import main, opt_main

    return {
        "stepwell-opt": opt_main,
        "stepwell": main,
        "filecheck": _filecheck,
        "FileCheck": _filecheck,
        "cat": _cat,
    }


def _filecheck(words: list[str]) -> int:
    from filecheck.matcher import Matcher
    from filecheck.options import parse_argv_options

    options = parse_argv_options(["filecheck", *words])
    matcher = Matcher.from_opts(options)
    matcher.stderr = sys.stderr
    code = matcher.run()
    if code:
        print(f"--- the text that was checked:\n{_content(matcher.file)}", file=sys.stderr)
    return code


def _content(file: object) -> str:
    return str(getattr(file, "content", ""))


def _cat(words: Iterable[str]) -> int:
    names = list(words)
    sys.stdout.write("".join(Path(name).read_text() for name in names) if names else sys.stdin.read())
    return 0
