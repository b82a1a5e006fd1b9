#!/usr/bin/env bash
# Make or update a virtual environment with one of the pinned stacks and this package, editable.
# Usage: tools/misc/make_env.sh PYTHON FOLDER REQUIREMENTS 'PYTHON-VERSIONS'
set -euo pipefail
python=$1 folder=$2 requirements=$3 versions=$4

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null) ||
    { echo "error: cannot run '$python'. Set PYTHON to a Python ${versions// /, }, as in: make test PYTHON=python${versions##* }" >&2; exit 1; }
if [[ " $versions " != *" $version "* ]]; then
    echo "error: $requirements installs on Python ${versions// /, }; '$python' is $version." \
        "Set PYTHON, as in: make test PYTHON=python${versions##* }" >&2
    exit 1
fi

# An interrupted first installation leaves half-unpacked packages that pip takes for whole: start over. The mark lies
# beside the folder, to outlive --clear, and is ours: an environment that somebody else made here is never cleared.
mark=$folder.incomplete
clear=()
if [[ -e $mark ]]; then clear=(--clear); fi
rm -f "$folder/.installed"
touch "$mark"
echo "== $folder: Python $version, $requirements (the first time takes about 4 minutes and 8 GB)"
"$python" -m venv ${clear[@]+"${clear[@]}"} "$folder" ||
    { echo "error: '$python' cannot make virtual environments (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
"$folder/bin/python" -m pip install -r "$requirements" -e '.[dev]'
touch "$folder/.installed"
rm "$mark"
