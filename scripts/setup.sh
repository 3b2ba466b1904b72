#!/bin/sh
# Puts in place what building and running face-edge needs: Debian's GStreamer packages, a C compiler, and ONNX
# Runtime's shared library; as `setup.sh tests`, what only tests need as well. Looks first and installs only what is
# missing, so it is quick to run again.
set -eu
cd "$(dirname "$0")/.."

for_tests=""
[ "${1:-}" != tests ] || for_tests="mosquitto libfaketime"

sh scripts/packages.sh \
    ca-certificates curl gcc libc6-dev make pkg-config python3 python3-pip python3-venv \
    libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev \
    gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \
    gstreamer1.0-plugins-ugly gstreamer1.0-libav $for_tests

command -v cargo >/dev/null || {
    echo "setup: no cargo found. Install a Rust toolchain (1.92 or newer), see https://rustup.rs" >&2
    exit 1
}

sh scripts/runtime.sh
