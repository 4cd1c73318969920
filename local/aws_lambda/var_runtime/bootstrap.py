"""Stands in for the managed runtime's bootstrap.py: awslambdaric, and the module path it gives.

Run as a script by the function's interpreter, on its own or through a wrapper's `exec "$@"`.
The interpreter may belong to a virtual environment: of its packages only awslambdaric and what it
imports are available, so that a function can't import what its package doesn't have.
"""

import os
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder

RUNTIME_MODULES = {"awslambdaric", "runtime_client", "snapshot_restore_py", "simplejson"}


class RuntimeModules:
    """Finds the runtime's own modules in the interpreter's site directories."""

    site = tuple(entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages")))

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, list(cls.site)) if name in RUNTIME_MODULES else None


def module_path() -> list[str]:
    """The package, layers, this script's directory and the standard library, in Lambda's order."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    layers = [f"/opt/python/lib/{version}/site-packages", "/opt/python"]
    rest = [entry for entry in sys.path if entry not in RuntimeModules.site]
    return [os.environ["LAMBDA_TASK_ROOT"], *layers, *rest]


if __name__ == "__main__":
    sys.path[:] = module_path()
    sys.meta_path.append(RuntimeModules)
    try:
        runtime = import_module("awslambdaric.__main__")
    except ModuleNotFoundError as error:
        sys.exit(f"{sys.executable} has no {error.name}: install awslambdaric for it")
    runtime.main(["bootstrap.py", os.environ["_HANDLER"]])
