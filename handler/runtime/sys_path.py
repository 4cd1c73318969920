"""`sys.path` as the managed Python runtime has it; its own script, which the wrapper replaces,
would build it.

Source: AWS, "Working with layers for Python Lambda functions" and "Modifying the runtime
environment".
"""

import site
import sys

LAYERS = "/opt/python"


def rebuild(task_root: str, runtime: str, layers: str = LAYERS) -> None:
    """The package first, then the layers, Python's own, what .pth files of package and layers add,
    and last the runtime's directory: its boto3 stands behind everybody else's."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    first = [task_root, f"{layers}/lib/{python}/site-packages", layers]
    sys.path[:] = [*first, *sys.path]
    for directory in first:
        site.addsitedir(directory)  # for its .pth files; it is on the path already
    others = [path for path in dict.fromkeys(sys.path) if path != runtime]
    sys.path[:] = [*others, runtime]
