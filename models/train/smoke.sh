#!/usr/bin/env bash
# Runs the smoke test of the training code in a virtual environment, made on the first call: .venv, or $TRAIN_VENV.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${TRAIN_VENV:-$here/../../.venv}
stamp=$venv/$(sha256sum "$here/requirements.txt" | cut -c1-16).installed

if [ ! -e "$stamp" ] && ! "$venv/bin/python" -c 'import cv2, numpy, onnx, onnxruntime, scipy, torch' 2>/dev/null; then
    "${PYTHON:-python3}" -m venv "$venv"
    pip=("$venv/bin/pip" install --quiet --disable-pip-version-check)
    # PyTorch's own index has a build without CUDA, 200 MB; PyPI's build for Linux on x86-64 needs the CUDA packages, 3 GB.
    torch=$(grep '^torch==' "$here/requirements.txt")
    "${pip[@]}" --retries 0 --timeout 10 --index-url https://download.pytorch.org/whl/cpu "$torch" 2>/dev/null ||
        "${pip[@]}" "$torch"
    "${pip[@]}" --requirement "$here/requirements.txt"
    touch "$stamp"
fi

cd "$here/.."
exec "$venv/bin/python" -m train.smoke_test
