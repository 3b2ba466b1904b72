#!/bin/sh
# Puts ONNX Runtime's shared library and its licence files into .runtime/, from the wheel on PyPI, checked by its
# SHA-256. Does nothing when that version is there already. Needs python3 with pip; installs no Python package.
set -eu

version=1.31.1
cd "$(dirname "$0")/.."

case "$(uname -m)" in
x86_64)
    platform=manylinux_2_28_x86_64
    wheel_sha256=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
    ;;
aarch64)
    platform=manylinux_2_28_aarch64
    wheel_sha256=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3
    ;;
*)
    echo "runtime.sh: no ONNX Runtime wheel is pinned for $(uname -m); build the library and set ORT_DYLIB_PATH" >&2
    exit 1
    ;;
esac

stamp="onnxruntime $version $wheel_sha256"
if [ -f .runtime/libonnxruntime.so ] && [ "$(cat .runtime/version 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi

mkdir -p .runtime
work=$(mktemp -d .runtime/fetch.XXXXXX)
trap 'rm -rf "$work"' EXIT INT TERM

# The wheel's Python version does not matter: only the library inside is used.
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --implementation cp \
    --python-version 3.11 --platform "$platform" --dest "$work" "onnxruntime==$version"
wheel=$(ls "$work"/*.whl)
if ! echo "$wheel_sha256  $wheel" | sha256sum --check --status; then
    echo "runtime.sh: $(basename "$wheel") has SHA-256 $(sha256sum "$wheel" | cut -d' ' -f1), expected $wheel_sha256" >&2
    exit 1
fi

python3 -m zipfile -e "$wheel" "$work/wheel"
cp "$work/wheel/onnxruntime/LICENSE" .runtime/onnxruntime-LICENSE
cp "$work/wheel/onnxruntime/ThirdPartyNotices.txt" .runtime/onnxruntime-ThirdPartyNotices.txt
mv "$work/wheel/onnxruntime/capi/libonnxruntime.so.$version" .runtime/libonnxruntime.so
echo "$stamp" >.runtime/version
echo "runtime.sh: .runtime/libonnxruntime.so is ONNX Runtime $version" >&2
