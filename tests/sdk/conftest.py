"""The service as the tests meet it: the built program on a free port of loopback, with its own data folder."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / os.environ.get("FACE_EDGE_PROGRAM", "target/debug/face-edge")
START_LIMIT_S = 60
TOKEN = "token-of-the-sdk-tests"
ACCESS_KEY, SECRET_KEY = "AKOFTHESDKTESTS", "secret-key-of-the-sdk-tests"
TASKS = "/v2/p1/services/c-face-edge/tasks"
CAMERAS = "/v2/p1/services/c-face-edge/cameras"


class Service:
    def __init__(self, folder, arguments=(), **settings):
        self.data = folder / "data"
        environment = {
            **os.environ,
            "FACE_EDGE_TOKEN": TOKEN,
            "FACE_EDGE_ACCESS_KEY": f"{ACCESS_KEY}:{SECRET_KEY}",
            **settings,
        }
        command = [PROGRAM, "serve", "--data-dir", self.data, "--listen", "127.0.0.1:0", *arguments]
        self.log = []
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self._address = threading.Event()
        self.url = None
        threading.Thread(target=self._read, daemon=True).start()
        if not self._address.wait(START_LIMIT_S) or self.url is None:
            self.stop()
            pytest.fail("the service did not start:\n" + "".join(self.log[-30:]))

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"face-edge is ready.* address=([0-9.:]+)", line)
            if found and self.url is None:
                self.url = f"http://{found[1]}"
                self._address.set()
        self._address.set()

    def call(self, method, path, body=None, **headers):
        sent = {"X-Auth-Token": TOKEN, "Content-Type": "application/json", **headers}
        data = None if body is None else json.dumps(body).encode()
        return requests.request(method, self.url + path, data=data, headers=sent, timeout=60)

    def created(self, body):
        answer = self.call("POST", TASKS, body)
        assert answer.status_code == 200, answer.text
        return answer.json()[0]["id"]

    def task(self, task_id):
        answer = self.call("GET", f"{TASKS}/{task_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def comes_to(self, task_id, state, limit_s=40):
        """The task, once it is in that state."""
        deadline = time.monotonic() + limit_s
        while (task := self.task(task_id))["state"] != state:
            assert time.monotonic() < deadline, f"the task is {task['state']}, not {state}: {task.get('status')}"
            time.sleep(0.1)
        return task

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop_in_order(self):
        self.stop()
        assert self.process.returncode == 0, "the service did not stop in order"
        panics = [line for line in self.log if "panick" in line]
        assert not panics, panics


@pytest.fixture(scope="session")
def service():
    if not PROGRAM.exists():
        pytest.fail(f"{PROGRAM} is not there: run `cargo build` first")
    with tempfile.TemporaryDirectory() as folder:
        service = Service(pathlib.Path(folder))
        yield service
        service.stop_in_order()


@pytest.fixture
def sample():
    return json.loads((ROOT / "tests/golden/task-create.json").read_text())


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """A second of a moving pattern; no faces."""
    file = tmp_path_factory.mktemp("video") / "second.mp4"
    pipeline = "videotestsrc num-buffers=25 pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 ! x264enc ! mp4mux"
    subprocess.run(
        ["gst-launch-1.0", "-q", *pipeline.split(), "!", "filesink", f"location={file}"], check=True, timeout=60
    )
    return file


class Camera:
    """The program's own simulated camera."""

    def __init__(self, video, port=0):
        command = [PROGRAM, "sim", "camera", video, "--listen", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().strip()
        self.port = int(re.search(r":(\d+)/", self.url)[1])

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def camera(video):
    camera = Camera(video)
    yield camera
    camera.stop()


def task_body(url, **changes):
    return {
        "name": "t",
        "service_version": "3.0",
        "edge_pool_id": "default",
        "input": {"type": "url", "data": [{"url": str(url)}]},
        "output": {"webhook": {"url": "http://127.0.0.1:9/faces"}},
        **changes,
    }
