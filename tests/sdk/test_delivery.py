"""Deliveries of the built program as others see them: signatures by the published standardwebhooks library, pictures
fetched from the box, the ledger by interface and command. The faces are those of the drawn scene."""

import base64
import http.server
import json
import os
import subprocess
import threading
import time

import pytest
import requests
from standardwebhooks import Webhook, WebhookVerificationError

from conftest import PROGRAM, ROOT, TASKS, TOKEN, Service, task_body

LEDGER = TASKS.removesuffix("/tasks")
NEW, OLD = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
OTHER = "whsec_" + base64.b64encode(bytes([3]) * 32).decode()
KEY = "whsk_" + base64.b64encode(bytes([4]) * 32).decode()


class Receiver:
    """Keeps what comes, as it came."""

    def __init__(self):
        taken, self.status = [], 204
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                taken.append((dict(self.headers), body))
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.taken = taken
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/faces"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, wanted, limit_s=60):
        deadline = time.monotonic() + limit_s
        while not (found := [one for one in self.taken if wanted(*one)]):
            assert time.monotonic() < deadline, f"not in time; {len(self.taken)} messages came"
            time.sleep(0.1)
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The drawn scene, kept for the next run where it was made."""
    cache = ROOT / "target" / "scene"
    command = [PROGRAM, "sim", "camera", "--scene", "--cache", cache, "--listen", "127.0.0.1:0"]
    camera = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    yield camera.stdout.readline().strip()
    camera.kill()
    camera.wait()


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("box"), FACE_EDGE_RECEIVERS_ALLOW="127.0.0.0/8")
    yield service
    service.stop_in_order()


def command(service, *arguments):
    run = subprocess.run(
        [PROGRAM, *arguments, "--data-dir", service.data, "--json"], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def body(scene, webhook):
    common = {"detection_min_size": 40, "face_repeat_send_sw": 1, "face_repeat_send_interval": 1}
    return task_body(scene, output={"webhook": webhook}, service_config={"common": common})


def test_signatures_pictures_and_the_ledger(box, scene):
    receiver = Receiver()
    webhook = {"url": receiver.url, "secrets": [NEW, OLD, KEY], "evidence": 1}
    task_id = box.created(body(scene, webhook))
    headers, sent = receiver.wait(lambda *_: True)[0]

    for secret in (NEW, OLD):
        message = Webhook(secret).verify(sent, headers)
        assert message["task_id"] == task_id
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(sent, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(sent.replace(b'"seq":1', b'"seq":2'), headers)
    schemes = [part.split(",")[0] for part in headers["webhook-signature"].split()]
    assert schemes == ["v1", "v1", "v1a"]
    assert message["evidence"]["number"] >= 1

    thin = {"url": receiver.url, "payload": "thin", "picture_base_url": box.url}
    changed = box.call("PUT", f"{TASKS}/{task_id}", body(scene, thin))
    assert changed.status_code == 200, changed.text
    _, sent = receiver.wait(lambda _, sent: b"image_url" in sent)[0]
    address = json.loads(sent)["image_url"]
    picture = requests.get(address, timeout=10)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert picture.content[:2] == b"\xff\xd8"
    assert requests.get(address[:-1] + "0" * (address[-1] != "0") + "1" * (address[-1] == "0"), timeout=10).status_code == 404
    assert requests.get(address.split("?")[0], timeout=10).status_code == 404

    face_id = json.loads(sent)["data"]["face_id"]
    rows = box.call("GET", f"{LEDGER}/deliveries?task={task_id}&face_id={face_id}").json()["deliveries"]
    assert rows and all(row["face_id"] == face_id for row in rows)
    told = box.call("GET", f"{LEDGER}/deliveries/{rows[0]['id']}").json()
    assert told["message_id"] == rows[0]["message_id"]
    assert box.call("GET", LEDGER.replace("/p1/", "/p2/") + f"/deliveries/{rows[0]['id']}").status_code == 404

    receiver.wait(lambda *_: any(command_knows(box, task_id, face_id)))
    why = box.call("GET", f"{TASKS}/{task_id}/why?face_id={face_id}").json()["decisions"]
    assert any(decision["what"].startswith("sent: first") for decision in why), why

    receiver.status = 410
    deadline = time.monotonic() + 30
    while not (output := box.call("GET", f"{LEDGER}/outputs").json()["outputs"][0])["disabled"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    receiver.status = 204
    assert box.call("POST", f"{TASKS}/{task_id}/stop").status_code == 204
    again = box.call("POST", f"{LEDGER}/deliveries/retry", {"task_id": task_id, "since": 0})
    assert again.json()["pending_again"] >= 1, again.text
    deadline = time.monotonic() + 30
    while (output := box.call("GET", f"{LEDGER}/outputs").json()["outputs"][0])["waiting"]:
        assert time.monotonic() < deadline, output
        time.sleep(0.1)
    assert output["disabled"] is None
    metrics = requests.get(f"{box.url}/metrics", timeout=10).text
    assert f'face_edge_deliveries_total{{task="{task_id}",output="webhook",result="delivered"}}' in metrics
    assert box.call("DELETE", f"{TASKS}/{task_id}").status_code == 204


def command_knows(box, task_id, face_id):
    """Decisions are written about a second after they are made."""
    run = subprocess.run(
        [PROGRAM, "why", task_id, face_id, "--data-dir", box.data, "--json"], capture_output=True, text=True, cwd=ROOT
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_receiver_on_this_machine_is_refused_unless_it_is_allowed(scene, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "FACE_EDGE_RECEIVERS_ALLOW"}
    assert "FACE_EDGE_RECEIVERS_ALLOW" not in environment and TOKEN
    service, receiver = Service(tmp_path), Receiver()
    service.created(body(scene, {"url": receiver.url}))
    deadline = time.monotonic() + 60
    while True:
        (answer,) = command(service, "outbox", "list")
        reasons = [row["reason"] for row in answer["deliveries"] if row["reason"]]
        if reasons:
            break
        assert time.monotonic() < deadline, answer
        time.sleep(0.2)
    assert "receivers_allow" in reasons[0] and not receiver.taken
    service.stop_in_order()
