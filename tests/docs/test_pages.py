"""What runs the pages notices when one is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stepwell.testing.pages import PageError, agrees, blocks_of, run_page, sessions

PAGE = """
```python title="told.py"
WORD = "told"
```

```python
import told
print(told.WORD, [1, 2])
```

```text
told [1, 2]
```

```console
$ cat told.py
WORD = ...
$ cat \\
  told.py | grep -c told
1
$ stepwell-opt \\
  missing.mlir
error: ...
...
```
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text)
    return path


def run(folder: Path, text: str, *, update: bool = False) -> str:
    path = write(folder, text)
    scratch = folder / "scratch"
    scratch.mkdir()
    run_page(path, {}, scratch, update=update)
    return path.read_text()


def test_a_page_that_says_what_happens(tmp_path: Path) -> None:
    run(tmp_path, PAGE)
    assert "told" not in sys.modules


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("told [1, 2]", "told [1, 3]"), ("WORD = ...", "WORD"), ("\n1\n", "\n2\n"), ("error: ...\n...\n", "")],
)
def test_a_page_that_says_something_else(right: str, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(PageError, match=r"page\.md:\d+"):
        run(tmp_path, PAGE.replace(right, wrong))


def test_update_writes_what_happened(tmp_path: Path) -> None:
    assert run(tmp_path, PAGE.replace("told [1, 2]", "?").replace("\n1\n", "\n?\n"), update=True) == PAGE


def test_update_keeps_what_is_left_open(tmp_path: Path) -> None:
    page = PAGE.replace("WORD = ...", "OTHER = ...")
    with pytest.raises(PageError, match="OTHER"):
        run(tmp_path, page, update=True)
    assert (tmp_path / "page.md").read_text() == page


def test_commands_that_no_page_may_run(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="unknown command 'rm'"):
        run(tmp_path, "```console\n$ rm -r x\n```\n")


def test_ellipsis() -> None:
    assert agrees("a\n...\nz\n", "a\nz\n") and agrees("a\n...\nz\n", "a\nb\nc\nz\n")
    assert agrees("a ... z", "a b z\n") and not agrees("a ... z", "a b\nz\n")
    assert not agrees("a\n", "a\nb\n")


def test_blocks_and_sessions() -> None:
    blocks = blocks_of(PAGE)
    assert [(b.language, b.title, b.adjoins) for b in blocks[:3]] == [
        ("python", "told.py", False),
        ("python", "", True),
        ("text", "", True),
    ]
    assert [shown for _, shown in sessions(blocks[3].text)] == ["WORD = ...\n", "1\n", "error: ...\n...\n"]
