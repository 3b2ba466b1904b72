"""The service as the tests meet it: the built program on a free port of loopback, with its own data folder."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / os.environ.get("FACE_EDGE_PROGRAM", "target/debug/face-edge")
START_LIMIT_S = 60
TOKEN = "token-of-the-sdk-tests"
ACCESS_KEY, SECRET_KEY = "AKOFTHESDKTESTS", "secret-key-of-the-sdk-tests"


class Service:
    def __init__(self, folder, **settings):
        environment = {
            **os.environ,
            "FACE_EDGE_TOKEN": TOKEN,
            "FACE_EDGE_ACCESS_KEY": f"{ACCESS_KEY}:{SECRET_KEY}",
            "NO_COLOR": "1",
            **settings,
        }
        command = [PROGRAM, "serve", "--data-dir", folder / "data", "--listen", "127.0.0.1:0"]
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
