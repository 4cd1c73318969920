"""What can be fenced in about an environment: its package is read-only.

The package is mounted read-only over itself in a mount namespace of the process's own (Linux, as
root or where user namespaces are allowed). The literal path /tmp is not fenced in: the package,
the interpreter or certificates may lie there; `TMPDIR`, which Python and most programs honour, is
a directory of the environment's own.
"""

import subprocess
from pathlib import Path

_MOUNT_READ_ONLY = (
    'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$1" && shift && exec "$@"'
)
_DROP_CAPABILITIES = ("setpriv", "--ambient-caps", "-all", "--inh-caps", "-all", "--")
_AS_ROOT = ("unshare", "--mount", "--")
_AS_USER = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "--")


def read_only_prefix(package: Path) -> tuple[str, ...] | None:
    """Words to put before a command so that it sees the package read-only; None: impossible."""
    shell = ("/bin/sh", "-c", _MOUNT_READ_ONLY, "sh", str(package))
    as_root, as_user = (*_AS_ROOT, *shell), (*_AS_USER, *shell, *_DROP_CAPABILITIES)
    for prefix in (as_root, as_user):
        if _runs([*prefix, "/bin/sh", "-c", ":"]):
            return prefix
    return None


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
