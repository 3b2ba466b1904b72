"""Every state that this service uses, each reached for its own reason, with the built program and real streams."""

import contextlib
import http.server
import json
import socket
import sqlite3
import threading
import time

import pytest

from conftest import CAMERAS, TASKS, Camera, Service, task_body

NOBODY = "rtsp://127.0.0.1:9/cam0"


@contextlib.contextmanager
def answering(answers):
    """A server whose answer to every GET is what `answers` holds at that moment: status and body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answers.setdefault("asked", []).append(self.headers.get("x-key"))
            body = json.dumps(answers["body"]).encode()
            self.send_response(answers["status"])
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/ask"
    server.shutdown()


def ended(service, task_id):
    assert service.call("DELETE", f"{TASKS}/{task_id}").status_code == 204


def licences(service, statement):
    with contextlib.closing(sqlite3.connect(service.data / "face-edge.db", timeout=10)) as database, database:
        database.execute(statement)


def test_a_file_succeeds_and_may_run_again(service, video):
    task_id = service.created(task_body(video.as_uri()))
    service.comes_to(task_id, "SUCCEEDED")
    assert service.call("POST", f"{TASKS}/{task_id}/start").status_code == 204
    service.comes_to(task_id, "SUCCEEDED")
    assert service.call("POST", f"{TASKS}/{task_id}/stop").status_code == 204
    assert service.task(task_id)["state"] == "STOPPED"
    ended(service, task_id)


def test_a_file_that_is_not_there_fails(service):
    task_id = service.created(task_body("file:///nowhere/video.mp4"))
    task = service.comes_to(task_id, "FAILED")
    assert task["error"]["code"] == "IVA.0005" and "check the path" in task["status"]
    ended(service, task_id)


def test_a_camera_comes_goes_and_comes_back(service, video):
    camera = Camera(video)
    task_id = service.created(task_body(camera.url))
    task = service.comes_to(task_id, "RUNNING")
    assert "error" not in task and "status" not in task
    camera.stop()
    task = service.comes_to(task_id, "RECOVERING")
    assert task["error"]["code"] in ("IVA.0010", "IVA.0005") and "127.0.0.1" in task["status"]
    camera = Camera(video, camera.port)
    service.comes_to(task_id, "RUNNING", 60)
    assert service.call("POST", f"{TASKS}/{task_id}/stop").status_code == 204
    service.comes_to(task_id, "STOPPED")
    camera.stop()
    ended(service, task_id)


def test_changed_rules_keep_the_stream(service, camera):
    outside = {"common": {"target_roi": '{"polygons":[{"data":[[1000,1000],[1100,1000],[1100,1100]]}]}'}}
    task_id = service.created(task_body(camera.url, service_config=outside))
    task = service.comes_to(task_id, "ABNORMAL")
    assert task["error"]["code"] == "IVA.0004" and "wholly outside the frame of 320×240" in task["error"]["message"]
    started = sum(f"task={task_id} state=\"STARTING\"" in line for line in service.log)
    assert service.call("PUT", f"{TASKS}/{task_id}", task_body(camera.url)).status_code == 200
    service.comes_to(task_id, "RUNNING")
    assert sum(f"task={task_id} state=\"STARTING\"" in line for line in service.log) == started == 1
    ended(service, task_id)


def test_a_camera_of_the_registry(service, camera, video):
    body = task_body(NOBODY, input={"type": "edgecamera", "data": [{"id": "door-7"}]})
    task_id = service.created(body)
    task = service.comes_to(task_id, "START_FAILED")
    assert task["error"]["code"] == "IVA.0005" and 'no camera "door-7"' in task["error"]["message"]
    sent = {"id": "door-7", "name": "the door", "url": camera.url, "username": "u", "password": "hunter2"}
    made = service.call("POST", CAMERAS, sent)
    assert made.status_code == 201 and made.json()["password"] == "hunter2"
    assert service.call("POST", CAMERAS, sent).status_code == 400
    assert service.call("POST", f"{TASKS}/{task_id}/start").status_code == 204
    service.comes_to(task_id, "RUNNING")
    assert service.call("PUT", f"{CAMERAS}/door-7", {**sent, "url": NOBODY}).status_code == 200
    service.comes_to(task_id, "RECOVERING")
    assert service.call("PUT", f"{CAMERAS}/door-7", sent).status_code == 200
    service.comes_to(task_id, "RUNNING")
    listed = service.call("GET", f"{CAMERAS}?name_like=door").json()
    assert listed["count"] == 1 and listed["cameras"][0]["id"] == "door-7"
    assert service.call("PUT", f"{CAMERAS}/door-7", {**sent, "id": "other"}).status_code == 400
    assert service.call("DELETE", f"{CAMERAS}/door-7").status_code == 204
    assert service.call("GET", f"{CAMERAS}/door-7").status_code == 404
    service.comes_to(task_id, "START_FAILED")
    ended(service, task_id)


def test_an_address_that_is_asked_for(service, camera):
    answers = {"status": 503, "body": {}}
    with answering(answers) as url:
        entry = {"url": url, "headers": {"x-key": "k"}, "rtsp_path_in_response": "data.streams.0"}
        task_id = service.created(task_body(NOBODY, input={"type": "edgerestful", "data": [entry]}))
        assert "status 503" in service.comes_to(task_id, "RECOVERING")["error"]["message"]
        answers.update(status=200, body={"data": {"streams": [camera.url]}})
        service.comes_to(task_id, "RUNNING")
        assert set(answers["asked"]) == {"k"}
        ended(service, task_id)
        for body, words in [({"data": {}}, "nothing at that place"), ({"data": {"streams": ["file:///etc/passwd"]}}, "no network")]:
            answers["body"] = body
            task_id = service.created(task_body(NOBODY, input={"type": "edgerestful", "data": [entry]}))
            assert words in service.comes_to(task_id, "START_FAILED")["error"]["message"]
            ended(service, task_id)


def test_a_platform_is_asked_for_the_devices_stream(service):
    with socket.create_server(("127.0.0.1", 0)) as platform:
        platform.settimeout(30)
        vcn = {"ip": "127.0.0.1", "port": platform.getsockname()[1], "username": "u", "password": "p"}
        source = {"type": "vcn", "vcn": vcn, "data": [{"device_id": "dev 1", "stream_type": 2}]}
        task_id = service.created(task_body(NOBODY, input=source))
        connection, _ = platform.accept()
        with connection:
            asked = connection.recv(4096).decode()
    assert f"rtsp://127.0.0.1:{vcn['port']}/dev%201/2 RTSP/1.0" in asked, asked
    service.comes_to(task_id, "RECOVERING")
    ended(service, task_id)


def test_another_pools_task_waits_for_its_box(service):
    task_id = service.created(task_body(NOBODY, edge_pool_id="elsewhere"))
    task = service.task(task_id)
    assert task["state"] == "PENDING" and '"elsewhere"' in task["status"] and '"default"' in task["status"]
    assert service.call("PUT", f"{TASKS}/{task_id}", task_body(NOBODY)).status_code == 200
    service.comes_to(task_id, "RECOVERING")
    assert service.call("PUT", f"{TASKS}/{task_id}", task_body(NOBODY, edge_pool_id="elsewhere")).status_code == 200
    service.comes_to(task_id, "PENDING")
    assert service.call("POST", f"{TASKS}/{task_id}/stop").status_code == 204
    assert service.task(task_id)["state"] == "STOPPED"
    ended(service, task_id)


def test_channels_are_taken_and_given_back(tmp_path):
    service = Service(tmp_path)
    first = service.created(task_body(NOBODY))
    service.comes_to(first, "RECOVERING")
    licences(service, "UPDATE sns SET concurrent_number = 1")
    second = service.created(task_body(NOBODY))
    task = service.comes_to(second, "LACK_OF_RESOURCES")
    assert task["error"]["code"] == "IVA.0007" and "all 1 channels" in task["status"]
    assert service.call("POST", f"{TASKS}/{first}/stop").status_code == 204
    service.comes_to(second, "RECOVERING")
    licences(service, "UPDATE sns SET status = 1")
    assert "disabled" in service.comes_to(second, "FROZEN")["status"]
    licences(service, "UPDATE sns SET status = 0")
    service.comes_to(second, "RECOVERING")
    ended(service, second)
    unknown = service.created(task_body(NOBODY, resource_order_id="no-such-sn"))
    service.comes_to(unknown, "RECOVERING")
    issued = service.call("POST", "/bitanswer/api/sns/generate_sn?count=1", {"productName": "demo"})
    assert issued.json()["status"] == 0, issued.text
    task = service.comes_to(unknown, "FROZEN")
    assert task["error"]["code"] == "IVA.0007" and "no licence no-such-sn" in task["status"]
    assert service.call("POST", f"{TASKS}/{unknown}/stop").status_code == 204
    assert service.call("POST", f"{TASKS}/{unknown}/start").status_code == 204
    service.comes_to(unknown, "FROZEN")
    ended(service, unknown)
    service.stop_in_order()


def test_files_and_interface_do_not_fight(tmp_path):
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "door.json").write_text(json.dumps(task_body(NOBODY, edge_pool_id="any", project_id="p1")))
    (folder / "broken.json").write_text("{")
    service = Service(tmp_path, ["--tasks", folder])

    def tasks(count):
        deadline = time.monotonic() + 20
        while (found := service.call("GET", TASKS).json())["count"] != count:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found["tasks"]

    (task,) = tasks(1)
    assert task["creator"] == "tasks-dir"
    task_id = task["id"]
    service.comes_to(task_id, "RECOVERING")
    path = f"{TASKS}/{task_id}"
    for method, where, body in [
        ("PUT", path, task_body(NOBODY)),
        ("DELETE", path, None),
        ("POST", f"{path}/start", None),
        ("POST", f"{path}/stop", None),
    ]:
        refused = service.call(method, where, body)
        assert (refused.status_code, refused.json()["error_code"]) == (403, "IVA.0009")
        assert "door.json" in refused.json()["error_msg"]
    own = service.created(task_body(NOBODY, name="own"))
    (folder / "door.json").write_text(json.dumps(task_body(NOBODY, name="renamed", project_id="p1")))
    deadline = time.monotonic() + 20
    while service.task(task_id)["name"] != "renamed":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (folder / "door.json").unlink()
    (task,) = tasks(1)
    assert task["id"] == own
    (folder / "door.json").write_text(json.dumps(task_body(NOBODY, project_id="p1")))
    assert {task["id"] for task in tasks(2)} == {own, task_id}, "its file's name is its identity"
    service.stop_in_order()

    without = Service(tmp_path)
    deadline = time.monotonic() + 20
    while without.call("GET", TASKS).json()["count"] != 1:
        assert time.monotonic() < deadline, "without the folder its tasks are gone"
        time.sleep(0.1)
    without.stop_in_order()
