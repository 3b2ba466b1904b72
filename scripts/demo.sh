#!/bin/sh
# The main job, on loopback: a simulated RTSP camera, the service with the sample task, and a webhook receiver that
# verifies what arrives. Ends by itself; exit code 1 when no face arrived.
# VIDEO=file.mp4 plays your own; SECONDS_TO_RUN=30 sets how long.
set -eu
cd "$(dirname "$0")/.."

program=target/release/face-edge
seconds=${SECONDS_TO_RUN:-30}
out=demo-out
work=$(mktemp -d)
camera="" receiver="" service=""

finish() {
    for pid in $service $camera $receiver; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

wait_for() { # what, seconds, command…
    what=$1 tries=$(($2 * 5))
    shift 2
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ "$tries" -le 0 ]; then
            echo "demo: $what did not come up; its log:" >&2
            cat "$work"/*.log >&2
            exit 1
        fi
        sleep 0.2
    done
}

shared=../shared/videos/third_party_no_licence/headpose_1080p_AdrianVazquezMejia.mp4
if [ -n "${VIDEO:-}" ]; then set -- "$VIDEO"
elif [ -f "$shared" ]; then set -- "$shared"
else set -- --scene --cache target/scene
fi
echo "demo: camera plays $*"

rm -rf "$out"
mkdir -p "$out"
# The receiver accepts only what is signed with this.
FACE_EDGE_WEBHOOK_SECRET=whsec_$(head -c 24 /dev/urandom | base64)
export FACE_EDGE_WEBHOOK_SECRET
"$program" sim receiver --listen 127.0.0.1:9000 --save "$out" &
receiver=$!
"$program" sim camera "$@" --listen 127.0.0.1:8554 >"$work/camera.log" 2>&1 &
camera=$!

FACE_EDGE_TOKEN=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export FACE_EDGE_TOKEN
# The sample task is for the boxes of this pool.
FACE_EDGE_EDGE_POOL_ID=$(sed -n 's/.*"edge_pool_id": "\([^"]*\)".*/\1/p' examples/task-sample.json)
export FACE_EDGE_EDGE_POOL_ID
# Receivers on this very machine are refused unless the configuration allows them.
FACE_EDGE_RECEIVERS_ALLOW=127.0.0.0/8
export FACE_EDGE_RECEIVERS_ALLOW
"$program" serve --data-dir "$work/data" --listen 127.0.0.1:8800 >"$work/service.log" 2>&1 &
service=$!
wait_for "the service" 20 curl -fsS http://127.0.0.1:8800/readyz
wait_for "the camera" 120 grep -q rtsp:// "$work/camera.log"

echo "demo: creating the task of examples/task-sample.json"
curl -fsS -X POST http://127.0.0.1:8800/v2/demo/services/c-face-edge/tasks \
    -H "X-Auth-Token: $FACE_EDGE_TOKEN" -H 'Content-Type: application/json' --data @examples/task-sample.json
echo
sleep "$seconds"

echo "demo: stopping"
kill "$service" && wait "$service" 2>/dev/null || true
service=""
kill -INT "$receiver"
status=0
wait "$receiver" || status=$?
receiver=""
if [ "$status" -eq 0 ] && ! ls "$out"/*.jpg >/dev/null 2>&1; then
    echo "demo: no face arrived" >&2
    status=1
fi
if [ "$status" -ne 0 ]; then
    echo "demo: failed; the service's log:" >&2
    tail -n 30 "$work/service.log" >&2
    exit 1
fi
echo "demo: every message was signed and verified; the pictures are in $out/"
