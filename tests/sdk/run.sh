#!/bin/sh
# The published Python SDK and schemathesis against the built service (target/debug/face-edge, or $FACE_EDGE_PROGRAM).
# Makes the virtual environment .venv/sdk on the first call. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/../.."

venv=.venv/sdk
stamp=$venv/$(sha256sum tests/sdk/requirements.txt | cut -c1-16).installed
if [ ! -e "$stamp" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement tests/sdk/requirements.txt || {
        echo "tests/sdk: pip could not install tests/sdk/requirements.txt: it needs an index of Python packages" >&2
        echo "tests/sdk: (pip config get global.index-url, or PIP_INDEX_URL); the check fails, it is not skipped" >&2
        exit 1
    }
    touch "$stamp"
fi

exec "$venv/bin/python" -B -m pytest -q -p no:cacheprovider -c tests/sdk/pytest.ini tests/sdk "$@"
