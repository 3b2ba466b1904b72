#!/bin/sh
# Puts the built program on this machine as a service of systemd: the program, its model and ONNX Runtime into
# /opt/face-edge, a configuration into /etc/face-edge, data into /var/lib/face-edge, all under a user of its own. Run again
# after a new build: settings and data stay. Starts nothing. With DESTDIR it writes below that folder and makes no user.
set -eu
umask 022
PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "$0")/.."
program=${PROGRAM:-target/release/face-edge}
root=${DESTDIR:-}

if [ -z "$root" ] && [ "$(id -u)" != 0 ]; then
    echo "install: needs root, for /opt, /etc and the user face-edge; or set DESTDIR" >&2
    exit 1
fi
for file in "$program" .runtime/libonnxruntime.so; do
    [ -f "$file" ] || { echo "install: $file is not there; run make build first" >&2; exit 1; }
done

install -d "$root/opt/face-edge/models" "$root/etc/face-edge" "$root/etc/systemd/system" "$root/usr/local/bin"
install -m 755 "$program" "$root/opt/face-edge/face-edge"
install -m 644 .runtime/libonnxruntime.so .runtime/onnxruntime-* LICENSE "$root/opt/face-edge"
install -m 644 models/face-edge-n.onnx "$root/opt/face-edge/models"
install -m 644 examples/face-edge.service "$root/etc/systemd/system/face-edge.service"
ln -sfn /opt/face-edge/face-edge "$root/usr/local/bin/face-edge"
settings="$root/etc/face-edge/face-edge.toml"
if [ ! -f "$settings" ]; then
    sed 's|^data_dir = .*|data_dir = "/var/lib/face-edge"|' face-edge.toml >"$settings.new"
    mv "$settings.new" "$settings"
fi
[ -z "$root" ] || exit 0

getent group face-edge >/dev/null || groupadd --system face-edge
getent passwd face-edge >/dev/null ||
    useradd --system --gid face-edge --home-dir /var/lib/face-edge --no-create-home --shell /usr/sbin/nologin face-edge
install -d -m 700 -o face-edge -g face-edge /var/lib/face-edge
[ ! -d /run/systemd/system ] || systemctl daemon-reload
cat <<'END'
install: done. Once:
  runuser -u face-edge -- face-edge keys create --role admin --name me --data-dir /var/lib/face-edge
  systemctl enable --now face-edge
After an update:
  systemctl restart face-edge
END
