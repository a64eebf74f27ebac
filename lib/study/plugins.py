"""Code of users: modules that add attacks, merge methods and defenses to their dictionaries, imported by every worker."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PACKAGE = __name__.split(".")[0]


def resolve_plugins(plugins: str) -> tuple[str, ...]:
    """The plugins as every worker finds them: names of modules as they are, Python files by their full path.

    Args:
        plugins: names and files, separated by commas.

    Raises:
        ValueError: for a file that does not exist.
    """
    found = []
    for name in filter(None, map(str.strip, plugins.split(","))):
        path = Path(name).expanduser()
        if name.endswith(".py") and not path.is_file():
            raise ValueError(f"plugin {name!r} does not exist; give a Python file, or a module that Python can import")
        found.append(str(path.resolve()) if name.endswith(".py") else name)
    return tuple(found)


def load_plugins(names: Sequence[str]) -> None:
    """Import the plugins; one that was imported is not imported again.

    Args:
        names: modules, or paths of Python files.

    Raises:
        ValueError: for a module that cannot be imported; says why.
    """
    for name in names:
        try:
            _import_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
        except Exception as error:  # whatever somebody's module raises
            raise ValueError(f"plugin {name!r} could not be imported: {type(error).__name__}: {error}") from error


def _import_file(path: Path) -> None:
    module_name = path.stem
    loaded = sys.modules.get(module_name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return
    if loaded is not None:
        raise ImportError(
            f"another module is called {module_name!r} ({getattr(loaded, '__file__', 'built in')}); rename the file"
        )
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    sys.modules[module_name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise


def version_of(function: Callable[..., Any], version: int | str) -> int | str:
    """The version of code that makes artifacts: as declared; of a user's module also a hash of its file.

    A user who changes a plugin and runs again must not be served what the old code made.
    """
    module = sys.modules.get(function.__module__)
    if function.__module__.split(".")[0] == PACKAGE or not getattr(module, "__file__", None):
        return version
    content = Path(str(module.__file__)).read_bytes()  # type: ignore[union-attr]
    return f"{version}-{hashlib.sha256(content).hexdigest()[:12]}"
