"""Pages that are executed: the fenced blocks of a Markdown file run in order in one folder, and the output that the page shows is compared.

    python -m stepwell.testing.pages [--update] docs/tutorial/*.md

What a block does is said by its first line:

- ` ```python `: runs, in one namespace for the whole page. A ` ```text ` block right behind it is what it prints;
- ` ```console `: lines that begin with `$ ` are commands (a trailing backslash joins lines), the lines behind a command its output. A command
  whose output is not shown may print anything; one that fails must show a line that begins with `error:`;
- any block with `title="name"`: is written to that file; every other block is only shown.

In shown output a line `...` stands for any number of lines, and `...` inside a line for any text. `--update` writes the real output where the
shown one has no `...` and differs. Commands are those of RUN lines (in process), `pip install .`, `pytest`, and a few of every shell.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stepwell.plugins import PATH_VARIABLE
from stepwell.testing.run_line import RunLineError, Table, commands, parse, run_pipe

FENCE = re.compile(
    r'^```(?P<language>[\w-]+)(?:[ ]+title="(?P<title>[^"]+)")?[ ]*\n(?P<text>.*?)^```[ ]*$', re.MULTILINE | re.DOTALL
)
SHELL = ("cut", "grep", "head", "ls", "sed", "tail", "wc")
"""Commands that are run as they are, `*` in file names too."""
SITE = ".site"
"""Where a page's `pip install .` goes."""


class PageError(AssertionError):
    """What a page shows is not what happens."""


@dataclass(frozen=True)
class Block:
    """A fenced block: `span` is where its text stands in the page, `adjoins` whether it follows the block before it directly."""

    language: str
    title: str
    text: str
    span: tuple[int, int]
    line: int
    adjoins: bool


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    end = 0
    for match in FENCE.finditer(page):
        line = page.count("\n", 0, match.start("text")) + 1
        adjoins = bool(found) and not page[end : match.start()].strip()
        found.append(Block(match["language"], match["title"] or "", match["text"], match.span("text"), line, adjoins))
        end = match.end()
    return found


def agrees(shown: str, printed: str) -> bool:
    """Whether `printed` is what the page shows, blanks at line ends aside."""
    pattern = ""
    for line in shown.splitlines():
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*?".join(map(re.escape, line.rstrip().split("..."))) + r"\n"
    lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.fullmatch(pattern, lines) is not None


@dataclass
class Page:
    """A page on the way: `folder` is where its blocks run, `edits` the outputs that `update` replaces."""

    path: Path
    folder: Path
    update: bool = False
    names: dict[str, object] = field(default_factory=lambda: {"__name__": "__page__"})
    edits: dict[tuple[int, int], str] = field(default_factory=dict)
    table: Table = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def run(self) -> str:
        """Run all blocks; the page's text, with new outputs where they are updated. `faults` tells what is not as shown, with its line;
        what an exception ends is the caller's."""
        text = self.path.read_text()
        blocks = blocks_of(text)
        self.table = {**commands(), **shell(self.folder)}
        with _in_folder(self.folder):
            for i, block in enumerate(blocks):
                behind = blocks[i + 1] if i + 1 < len(blocks) else None
                self._block(block, behind if behind and behind.adjoins and behind.language == "text" else None)
        for (start, end), new in sorted(self.edits.items(), reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def _block(self, block: Block, shown: Block | None) -> None:
        if block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "python":
            printed = self._python(block)
            if shown is not None and not self._accepts(shown.text, printed, shown.line):
                self.edits[shown.span] = printed
        elif block.language == "console":
            self._console(block)

    def _python(self, block: Block) -> str:
        code = compile("\n" * (block.line - 1) + block.text, str(self.path), "exec")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, self.names)  # noqa: S102
        return out.getvalue()

    def _console(self, block: Block) -> None:
        new, line = "", block.line
        for command, shown in sessions(block.text):
            printed = self._command(command.replace("\\\n", " "), shown, line)
            keeps = not shown or self._accepts(shown, printed, line)
            new += f"$ {command}\n{shown if keeps else printed}"
            line += 1 + command.count("\n") + shown.count("\n")
        if new != block.text:
            self.edits[block.span] = new

    def _command(self, command: str, shown: str, line: int) -> str:
        printed, failed = "", False
        try:
            for pipe in parse(command):
                finished = run_pipe(pipe, self.table)
                printed += "".join(one.err for one in finished) + finished[-1].out
                failed |= any(one.code for one in finished)
        except RunLineError as error:
            raise PageError(f"{self.path.name}:{line}: $ {command}\n{error}") from None
        if failed != any(text.startswith("error:") for text in shown.splitlines()):
            how = "fails" if failed else "does not fail"
            self.faults.append(f"{self.path.name}:{line}: $ {command}\n{how}, the page shows otherwise:\n{printed}")
        return printed

    def _accepts(self, shown: str, printed: str, line: int) -> bool:
        if agrees(shown, printed):
            return True
        if self.update and "..." not in shown:
            return False
        self.faults.append(f"{self.path.name}:{line}: the page shows\n{shown}\nand this was printed\n{printed}")
        return True


def sessions(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown behind it."""
    command, shown, joins = "", "", False
    for line in text.splitlines():
        if joins:
            command += "\n" + line
        elif line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], ""
        else:
            shown += line + "\n"
            continue
        joins = line.endswith("\\")
    if command:
        yield command, shown


def shell(folder: Path) -> Table:
    """Commands that run as processes of their own, with this process's import path."""
    return {
        **{name: _process([name], folder) for name in SHELL},
        "pytest": _process([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", "."], folder),
        "pip": lambda words: _pip(words, folder),
    }


def _process(start: Sequence[str], folder: Path) -> Callable[[list[str]], int]:
    def run(words: list[str]) -> int:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LC_ALL": "C"}
        piped = sys.stdin.read()
        found = [name for word in words for name in sorted(glob.glob(word, root_dir=folder)) or [word]]
        done = subprocess.run(
            [*start, *found], input=piped, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        return done.returncode

    return run


def _pip(words: list[str], folder: Path) -> int:
    """`pip install .` into a folder of the page, which is put on the import path: nothing else on this machine changes."""
    if words != ["install", "."]:
        raise RunLineError("pages know `pip install .` only")
    site = folder / SITE
    options = ["--quiet", "--no-index", "--no-build-isolation", "--no-deps", "--target", str(site), "."]
    code = _process([sys.executable, "-m", "pip", "--disable-pip-version-check", "install"], folder)(options)
    sys.path.insert(0, str(site))
    return code


@contextlib.contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """Work in `folder`, import from it, see no plugin but those that the page installs, and forget afterwards what was imported from it."""
    path, before, plugins = list(sys.path), set(sys.modules), os.environ.get(PATH_VARIABLE)
    sys.path.insert(0, str(folder))
    os.environ[PATH_VARIABLE] = str(folder / SITE)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        sys.path[:] = path
        os.environ.pop(PATH_VARIABLE)
        os.environ.update({} if plugins is None else {PATH_VARIABLE: plugins})
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def run_page(path: Path, files: Mapping[str, Path], folder: Path, *, update: bool = False) -> None:
    """Run the page in `folder`, where copies of `files` lie; with `update` write the outputs that changed into it."""
    for name, source in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(source.read_bytes())
    page = Page(path.resolve(), folder, update)
    text = page.run()
    if update and text != path.read_text():
        path.write_text(text)
    if page.faults:
        raise PageError("\n".join(page.faults))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pages that are named; exit 1 when one fails."""
    parser = argparse.ArgumentParser(prog="python -m stepwell.testing.pages", description="Run the blocks of pages.")
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--update", action="store_true", help="write the outputs that changed into the pages")
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        type=Path,
        help="a file that lies in the folder, under its name and, where it is relative, its path",
    )
    args = parser.parse_args(argv)
    files = {
        name: path.resolve() for path in args.file for name in (path.name, str(path)) if not Path(name).is_absolute()
    }
    code = 0
    for path in args.pages:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                run_page(path, files, Path(scratch).resolve(), update=args.update)
                print(f"{path}: as it says")
            except PageError as error:
                print(error, file=sys.stderr)
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
