#!/usr/bin/env bash
# Build sdist and wheel, check them with twine, and try the wheel in a clean environment of each stack.
# Usage: tools/misc/check_release.sh PYTHON. It takes about ten minutes, and 16 GB for the environments, which it removes.
set -euo pipefail
python=$(command -v "$1" || true)
if ! "${python:-false}" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2> /dev/null; then
    echo "error: both stacks install on Python 3.10 and 3.11, and '$1' is none of these." \
        "Set PYTHON, as in: make dist PYTHON=python3.11" >&2
    exit 1
fi
python=$(realpath -s "$python")
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/build"
"$work/build/bin/python" -m pip install -q build twine
"$work/build/bin/python" -m build --outdir "$work/dist" "$root"
"$work/build/bin/python" -m twine check --strict "$work"/dist/*

for pair in onedl:current openmmlab:classic; do
    extra=${pair%:*} stack=${pair#*:}
    echo "== the wheel with the extra $extra, in a clean environment"
    "$python" -m venv "$work/$stack"
    "$work/$stack/bin/python" -m pip install -q "$(echo "$work"/dist/*.whl)[$extra]" -c "$root/requirements/$stack.txt"
    cd "$work"
    mim=$("$work/$stack/bin/python" -c 'import importlib.util as util, pathlib
print(pathlib.Path(util.find_spec("aemim_mm").origin).parent / ".mim")')
    "$work/$stack/bin/python" "$mim/tools/doctor.py"
    # As mim does: the model by its name, the config and the tool out of .mim.
    "$work/$stack/bin/python" -c 'import aemim_mm, mmpretrain
assert "aemim_vit-b_800e" in mmpretrain.list_models(), "mmpretrain does not list the models"
mmpretrain.get_model("aemim_vit-tiny_16e_fashion-mnist")'
    "$work/$stack/bin/python" "$mim/tools/train.py" "$mim/configs/demo/aemim_vit-tiny_16e_fashion-mnist.py" \
        --work-dir "$work/run-$stack" --cfg-options train_cfg.max_epochs=1 train_dataloader.dataset.limit=250
    test -f "$work/run-$stack/iter_2.pth" || test -f "$work/run-$stack/epoch_1.pth"
done
rm -rf "$root/dist"
cp -r "$work/dist" "$root"
echo "== dist/ holds the wheel that was tried, and the sdist that it was built from:"
ls "$root/dist"
