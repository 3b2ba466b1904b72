#!/bin/sh
# Puts in place what building and running face-edge needs: Debian's GStreamer packages, a C compiler, and ONNX
# Runtime's shared library. Looks first and installs only what is missing, so it is quick to run again.
set -eu
cd "$(dirname "$0")/.."

packages="
ca-certificates curl gcc libc6-dev make pkg-config python3 python3-pip python3-venv
libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev
gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
gstreamer1.0-plugins-ugly gstreamer1.0-libav
"

missing=""
for package in $packages; do
    case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" in
        "install ok installed") ;;
        *) missing="$missing $package" ;;
    esac
done

if [ -n "$missing" ]; then
    echo "setup: installing Debian packages:$missing"
    if [ "$(id -u)" = 0 ]; then as_root=""
    elif command -v sudo >/dev/null; then as_root="sudo"
    else
        echo "setup: not root, and no sudo found. As root, run: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "setup: Debian packages are in place"
fi

command -v cargo >/dev/null || {
    echo "setup: no cargo found. Install a Rust toolchain (1.92 or newer), see https://rustup.rs" >&2
    exit 1
}

sh scripts/runtime.sh
