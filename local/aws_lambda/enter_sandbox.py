"""Gives this process Lambda's view of the files, then becomes the command that follows.

A program that needs nothing but Python, whose arguments are

    WAY TMP KEPT… -- CGROUP… -- COMMAND…

WAY      "root" or "user": everything but /tmp is read-only ([Errno 30]), /tmp is the directory TMP,
         with the machine's entries KEPT of /tmp in it, and /dev holds no more than Lambda's, so no
         /dev/shm. All of these are mounts in a namespace of this process, for which "user" takes a
         user namespace first.
         "landlock": nothing but TMP and the machine's /tmp can be written ([Errno 13]).
CGROUP   directories of the groups to join

Sources: mount_namespaces(7), user_namespaces(7), mount_setattr(2), landlock(7). The numbers of
system calls are the same on x86_64 and arm64.
"""

import ctypes
import os
import sys
from collections.abc import Sequence

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_NOSUID, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 0x1000, 0x4000, 0x40000
_AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY = -100, 0x8000, 1
_PR_SET_NO_NEW_PRIVS = 38
_MOUNT_SETATTR, _LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 442, 444, 445, 446

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_STREAMS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}

# Rights of Landlock that write, by the number of the interface that brought them.
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_CHANGE_FOLDERS = sum(1 << bit for bit in range(4, 13))
_WRITES = {1: _WRITE_FILE | _CHANGE_FOLDERS, 2: 1 << 13, 3: _TRUNCATE}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns_fd")]


class _RulesetAttributes(ctypes.Structure):
    _fields_ = [("handled_access_fs", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def main() -> None:
    """Ends in the command; in one line on stderr and status 1 where the machine forbids it."""
    way, tmp, *words = sys.argv[1:]
    try:
        _enter(way, tmp, words)
    except OSError as problem:
        sys.exit(f"local Lambda: can't enter the sandbox: {problem}")


def _enter(way: str, tmp: str, words: Sequence[str]) -> None:
    kept, cgroups, command = _split(words)
    # Opened while that is allowed: what is open keeps its own rights.
    joins = [os.open(f"{group}/cgroup.procs", os.O_WRONLY) for group in cgroups]
    if way == "landlock":
        _restrict_writes(tmp)
    else:
        _new_namespaces(user=way == "user")
        _mount_everything(tmp, kept)
    for join in joins:
        os.write(join, b"0")
        os.close(join)
    os.execvp(command[0], command)


def _split(words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    first = words.index("--")
    second = words.index("--", first + 1)
    return [*words[:first]], [*words[first + 1 : second]], [*words[second + 1 :]]


def _new_namespaces(*, user: bool) -> None:
    uid, gid = os.geteuid(), os.getegid()
    _checked(_libc.unshare((_CLONE_NEWUSER if user else 0) | _CLONE_NEWNS))
    if user:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # importing pathlib would take as long as all the rest
        file.write(text)


def _mount_everything(tmp: str, kept: Sequence[str]) -> None:
    here = os.getcwd()
    # Private, or else these mounts would be the machine's too, and cleaning up would follow them.
    _mount(None, "/", flags=_MS_REC | _MS_PRIVATE)
    for entry in kept:
        _mount(entry, f"{tmp}/{os.path.basename(entry)}", flags=_MS_BIND | _MS_REC)
    _mount(tmp, "/tmp", flags=_MS_BIND | _MS_REC)
    _mount_devices()
    _set_attributes("/", _AT_RECURSIVE, set=_ATTR_RDONLY)
    _set_attributes("/tmp", 0, clear=_ATTR_RDONLY)
    os.chdir(here)


def _mount_devices() -> None:
    found = {name: os.open(f"/dev/{name}", os.O_PATH) for name in _DEVICES}
    _mount("tmpfs", "/dev", kind="tmpfs", flags=_MS_NOSUID)
    for name, device in found.items():
        _write(f"/dev/{name}", "")
        _mount(f"/proc/self/fd/{device}", f"/dev/{name}", flags=_MS_BIND)
        os.close(device)
    for name, stream in _STREAMS.items():
        os.symlink(f"/proc/self/fd{stream}", f"/dev/{name}")


def _mount(source: str | None, target: str, kind: str | None = None, *, flags: int) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    _checked(_libc.mount(*texts, ctypes.c_ulong(flags), None))


def _set_attributes(path: str, flags: int, **attributes: int) -> None:
    record = _MountAttributes(**attributes)
    size = ctypes.c_size_t(ctypes.sizeof(record))
    _call(_MOUNT_SETATTR, _AT_FDCWD, path.encode(), flags, ctypes.byref(record), size)


def _restrict_writes(tmp: str) -> None:
    interface = _call(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    writes = sum(rights for since, rights in _WRITES.items() if since <= interface)
    record = _RulesetAttributes(writes)
    ruleset = _call(
        _LANDLOCK_CREATE, ctypes.byref(record), ctypes.c_size_t(ctypes.sizeof(record)), 0
    )
    for folder in (tmp, "/tmp", "/proc"):
        _allow(ruleset, folder, writes)
    for name in _DEVICES:
        _allow(ruleset, f"/dev/{name}", writes & (_WRITE_FILE | _TRUNCATE))
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _call(_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH)
    rule = _PathBeneath(rights, descriptor)
    _call(_LANDLOCK_ADD, ruleset, 1, ctypes.byref(rule), 0)
    os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments))


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
