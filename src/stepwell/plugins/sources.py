"""Plugins that a user names: a module, or a Python file. Importing it registers what it defines."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from stepwell.runtime.errors import StepwellError, UsageError


def load_plugins(sources: Iterable[str | Path]) -> None:
    """Import each of `sources`: `package.module`, or a path that ends in `.py`. UsageErrors say what is not there, or what it raised."""
    for source in map(str, sources):
        try:
            _import_file(Path(source)) if source.endswith(".py") else import_module(source)
        except StepwellError:
            raise
        except (Exception, SystemExit) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            hint = "name a module that can be imported, or a .py file"
            raise UsageError(f"the plugin cannot be loaded: {reason}", where=source, hint=hint) from error


def _import_file(path: Path) -> None:
    """Execute the file as a module that is called after its path: the same file loaded again defines the same plugins."""
    whole = path.resolve()
    name = f"stepwell_plugin_{path.stem}_{hashlib.sha256(str(whole).encode()).hexdigest()[:8]}"
    spec = spec_from_file_location(name, whole)
    if spec is None or spec.loader is None:
        raise UsageError("cannot be imported", where=str(path))
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
