"""`sys.path` as the managed Python runtime has it; its own script, which the wrapper replaces,
would build it.

Source: AWS, "Working with layers for Python Lambda functions" and "Modifying the runtime
environment".
"""

import site
import sys

LAYERS = "/opt/python"


def rebuild(task_root: str, runtime: str, layers: str = LAYERS) -> None:
    """The package first, then the layers, then Python's own, then the runtime's (boto3)."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    first = [task_root, f"{layers}/lib/{python}/site-packages", layers]
    own = [path for path in sys.path if path not in (*first, runtime)]
    sys.path[:] = [*first, *own, runtime]
    for directory in first:
        site.addsitedir(directory)  # for its .pth files; it is on the path already
