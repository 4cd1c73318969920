#!/bin/sh
# Usage: sh infra/toolchain/find-python.sh VERSION [exact]
#
# Prints the path of a Python of that minor version (such as 3.13) that runs and can make virtual
# environments. Without `exact`, any Python >= 3.11 is used where that one is unavailable, and a line on
# stderr reports it. Fails without any: silently with `exact`, else with a line about what to do.
set -u
wanted=$1
exact=${2:-}

# Asks an interpreter, which may be a pyenv shim that only fails, for the interpreter behind it (or behind
# its virtual environment), if its version passes the test $2 and it has the modules $3.
ask() {
    "$1" -SEsc "
import sys, sysconfig
version = '%d.%d' % sys.version_info[:2]
released = sys.version_info[3] == 'final' and not sysconfig.get_config_var('Py_GIL_DISABLED')
if not (released and ($2)):
    sys.exit(1)
import $3
print(sys._base_executable)
" 2>/dev/null
}

# Where a Python of version $1 may be, best place first. (python with no number: any version)
places() {
    (IFS=:; for folder in $PATH; do echo "$folder/python$1"; done)
    for root in "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"; do
        for python in "$root/versions/$1".*/bin/python"$1"; do echo "$python"; done
    done
    for prefix in /opt/homebrew /usr/local /home/linuxbrew/.linuxbrew; do
        echo "$prefix/opt/python@$1/bin/python$1"
    done
}

search() {
    places "$1" | while read -r python; do
        [ -x "$python" ] && ask "$python" "$2" "$3" && break
    done | grep .
}

# Only uv's own Pythons: uv gives up at the first failing pyenv shim that it meets on PATH.
ask_uv() {
    command -v uv >/dev/null || return 1
    find_uvs() { uv python find --quiet --no-project --managed-python --no-python-downloads "$1" 2>/dev/null; }
    if ! find_uvs "$1" >/dev/null; then
        echo "Python $1 isn't installed: asking uv for it" >&2
        uv python install --quiet --no-bin "$1" 2>/dev/null
    fi
    python=$(find_uvs "$1") && ask "$python" "version == '$1'" ensurepip
}

search "$wanted" "version == '$wanted'" ensurepip && exit
ask_uv "$wanted" && exit
[ -n "$exact" ] && exit 1

modern='sys.version_info >= (3, 11)'
for version in 3.14 3.12 3.11 3; do
    if found=$(search "$version" "$modern" ensurepip); then
        echo "No Python $wanted here: using $found. (To change that: install $wanted, then \`make clean\`.)" >&2
        echo "$found"
        exit
    fi
done

for version in "$wanted" 3.14 3.12 3.11 3; do
    if found=$(search "$version" "$modern" sys); then
        echo "error: $found can't make virtual environments: install python3-venv (apt-get) or uv." >&2
        exit 1
    fi
done
echo "error: no Python 3.11 or newer found: install Python $wanted." >&2
exit 1
