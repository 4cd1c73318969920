#!/bin/sh
# Usage: [VENV_PYTHON=3.12] sh infra/venv.sh [REQUIREMENTS]
#
# Makes .venv (with uv in it), or brings it up to date, and installs one requirements file into it.
# Quick and silent where nothing is to do. A checkout that moved, another Python version in cdk.json,
# an interpreter that is gone and an interrupted setup all lead to a fresh .venv. VENV_PYTHON chooses
# exactly that version instead of cdk.json's, such as for the tests; the function keeps cdk.json's.
set -eu
cd "$(dirname "$0")/.."
requirements=${1:-}

chosen=${VENV_PYTHON:-}
version=${chosen:-$(sed -n 's/.*"python": *"\(3\.[0-9]*\)".*/\1/p' cdk.json)}
log=build/venv.log

# What .venv was made from, and what was installed into it; .venv/made and .venv/installed-* say so.
made="$(pwd -P) $version $(cksum < requirements-uv.txt)"
installed=
if [ -n "$requirements" ]; then
    installed=$(cksum < "$requirements")
    installed_file=.venv/installed-$(echo "$requirements" | tr / -)
fi

is_made() {
    [ "$(cat .venv/made 2>/dev/null)" = "$made" ] && .venv/bin/python -SEsc '' 2>/dev/null
}

is_installed() {
    [ -z "$requirements" ] || [ "$(cat "$installed_file" 2>/dev/null)" = "$installed" ]
}

quietly() {
    "$@" >>$log 2>&1 9>&- || {
        tail -n 30 $log >&2
        echo "error: setting up .venv failed, see above (all of it: $log). Once mended, the same command goes on." >&2
        exit 1
    }
}

is_made && is_installed && exit

python=$(sh infra/toolchain/find-python.sh "$version" ${chosen:+exact}) || {
    [ -z "$chosen" ] || echo "error: VENV_PYTHON=$chosen: no such Python here (give one as 3.13)" >&2
    exit 1
}
mkdir -p build
# One setup at a time. The lock belongs to descriptor 9, so it ends with this process, however that ends.
exec 9>build/venv.lock
"$python" -SEsc 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
is_made && is_installed && exit

: >$log
if ! is_made; then
    echo "Setting up .venv with $("$python" --version) (once, about 20 s)" >&2
    rm -rf .venv
    quietly "$python" -m venv .venv
    quietly .venv/bin/python -m pip install --disable-pip-version-check --require-hashes \
        --only-binary :all: -r requirements-uv.txt
fi
if [ -n "$requirements" ]; then
    echo "Installing $requirements" >&2
    # Until the install is through, .venv counts as unfinished.
    rm -f .venv/made
    quietly .venv/bin/uv pip install --python .venv/bin/python --require-hashes -r "$requirements"
    echo "$installed" >"$installed_file"
fi
echo "$made" >.venv/made
