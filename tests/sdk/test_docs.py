"""Every curl line of the interface's pages does what it says, in the page's order."""

import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT, TASKS, TOKEN, task_body

NOBODY = "rtsp://127.0.0.1:9/cam0"
API = "/bitanswer/api"
# Page, and the least number of its lines.
PAGES = [("api.md", 10), ("licences.md", 5), ("audit.md", 4)]


def lines_of(page):
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("curl "):
                yield line


def issued(service):
    answer = service.call("POST", f"{API}/sns/generate_sn?count=1", {"productName": "demo"}).json()
    return answer["data"]["items"][0]["sn"]


@pytest.mark.parametrize("page,least", PAGES)
def test_the_pages_lines_run(service, tmp_path, page, least):
    shutil.copy(ROOT / "tests/golden/task-create.json", tmp_path / "task.json")
    lines = list(lines_of(ROOT / "docs" / page))
    assert len(lines) >= least
    for line in lines:
        environment = {
            **os.environ,
            "KEY": TOKEN,
            "BASE": f"{service.url}{TASKS}",
            "CAMERAS": f"{service.url}{TASKS.removesuffix('tasks')}cameras",
            "API": f"{service.url}{API}",
            "ID": service.created(task_body(NOBODY)) if "$ID" in line else "",
            "SN": issued(service) if "$SN" in line else "",
        }
        command = line.replace("curl ", "curl --fail ", 1).replace("http://127.0.0.1:8800", service.url)
        run = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, f"{line}\n{run.stdout}{run.stderr}"
        if "$API" in line:
            assert json.loads(run.stdout)["status"] == 0, f"{line}\n{run.stdout}"


@pytest.mark.parametrize("page, least", [("gate-buffer", 4), ("persons", 3), ("person-directory", 4)])
def test_the_lines_of_stored_faces_run(service, tmp_path, page, least):
    face = ROOT.parent / "shared/images/lfw_pairs/Al_Pacino_0001.jpg"
    lines = list(lines_of(ROOT / f"docs/{page}.md"))
    assert len(lines) >= least
    bases = dict(re.findall(r"^([A-Z]+)=(http\S+)$", (ROOT / f"docs/{page}.md").read_text(), re.MULTILINE))
    for line in lines:
        if "@face.jpg" in line:
            if not face.exists():
                print(f"absent, skipped: {face}")
                continue
            shutil.copy(face, tmp_path / "face.jpg")
        addresses = {name: base.replace("http://127.0.0.1:8800", service.url) for name, base in bases.items()}
        command = line.replace("curl ", "curl --fail ", 1)
        environment = {**os.environ, "KEY": TOKEN, **addresses}
        run = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, f"{line}\n{run.stdout}{run.stderr}"
