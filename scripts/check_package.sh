#!/usr/bin/env bash
# Does what is packaged work where the checkout is not? Builds sdist and wheel, installs the wheel
# in a fresh environment, and uses it from another directory.
set -euo pipefail
python=${1:?usage: check_package.sh PYTHON PYTHON_WITH_BUILD}
builder=${2:?usage: check_package.sh PYTHON PYTHON_WITH_BUILD}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$builder" -m build --outdir "$work/dist" "$root" >"$work/build.log" || { cat "$work/build.log"; exit 1; }
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --constraint "$root/constraints.txt" torch
"$work/venv/bin/python" -m pip install --quiet --constraint "$root/constraints.txt" "$work"/dist/*.whl

cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib
import pkgutil

import streamtwin

names = [m.name for m in pkgutil.walk_packages(streamtwin.__path__, "streamtwin.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(f"{len(names)} modules import from {streamtwin.__path__[0]}")
PY
"$work/venv/bin/streamtwin" --version
"$work/venv/bin/streamtwin" catalog --json >/dev/null
"$work/venv/bin/streamtwin" schema >/dev/null
echo "package: sdist and wheel build, install and run"
