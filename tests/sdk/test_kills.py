"""The service is killed at any moment of create, start, stop and delete. At its next start what is wanted and what
is agree, and nothing is held by a task that does not run."""

import contextlib
import random
import socket
import sqlite3
import threading
import time

import requests

from conftest import TASKS, Service, task_body

KILLS = 12
SETTLES_S = 30


def query(service, statement):
    with contextlib.closing(sqlite3.connect(service.data / "face-edge.db", timeout=10)) as database:
        return database.execute(statement).fetchall()


def settled(service):
    """What is not as it is wanted; nothing, once all agrees."""
    tasks = query(service, "SELECT id, desired, state, deleting FROM tasks")
    wrong = [
        (task_id, desired, state)
        for task_id, desired, state, deleting in tasks
        if deleting or state != {"start": "RECOVERING", "stop": "STOPPED"}[desired]
    ]
    wanted = {task_id for task_id, desired, _, _ in tasks if desired == "start"}
    held = {task_id for (task_id,) in query(service, "SELECT task_id FROM channels")}
    return wrong, wanted ^ held


def change(service, done):
    """Makes, stops, starts and deletes tasks, in this order round and round, until nobody answers."""
    with contextlib.suppress(requests.RequestException):
        while True:
            task_id = service.created(task_body("rtsp://127.0.0.1:9/cam0"))
            done.append(("create", task_id))
            for verb in ("stop", "start"):
                service.call("POST", f"{TASKS}/{task_id}/{verb}")
                done.append((verb, task_id))
            if random.random() < 0.7:
                service.call("DELETE", f"{TASKS}/{task_id}")
                done.append(("delete", task_id))


def test_killed_anywhere_the_service_finds_its_way(tmp_path):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    random.seed(seed)
    changes = 0
    for _ in range(KILLS):
        service = Service(tmp_path)
        done = []
        hand = threading.Thread(target=change, args=(service, done))
        hand.start()
        time.sleep(random.uniform(0.02, 0.8))
        service.kill()
        hand.join()
        changes += len(done)

        rows = {task_id: desired for task_id, desired in query(service, "SELECT id, desired FROM tasks")}
        last = {task_id: verb for verb, task_id in done}
        *_, in_hand = done or [(None, None)]
        for task_id, verb in last.items():
            if task_id == in_hand[1]:
                continue
            if verb == "delete":
                assert task_id not in rows, "it was answered that it is gone"
            else:
                assert rows[task_id] == "start", "it was answered that it runs"

        again = Service(tmp_path)
        deadline = time.monotonic() + SETTLES_S
        while (wrong := settled(again)) != ([], set()):
            assert time.monotonic() < deadline, wrong
            time.sleep(0.2)
        for (task_id,) in query(again, "SELECT id FROM tasks"):
            assert again.call("DELETE", f"{TASKS}/{task_id}").status_code == 204
        assert query(again, "SELECT * FROM channels") == [] and query(again, "SELECT * FROM tasks") == []
        again.stop_in_order()
    assert changes > KILLS, "nothing happened between the kills"


def test_a_deletion_that_was_begun_is_finished(tmp_path):
    service = Service(tmp_path)
    task_id = service.created(task_body("rtsp://127.0.0.1:9/cam0"))
    service.comes_to(task_id, "RECOVERING")
    service.kill()
    with contextlib.closing(sqlite3.connect(service.data / "face-edge.db")) as database, database:
        database.execute("UPDATE tasks SET deleting = 1, desired = 'stop', state = 'DELETING'")
    again = Service(tmp_path)
    deadline = time.monotonic() + SETTLES_S
    while again.call("GET", f"{TASKS}/{task_id}").status_code != 404:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert query(again, "SELECT * FROM channels") == []
    again.stop_in_order()


def test_a_camera_is_let_go(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        service = Service(tmp_path)
        task_id = service.created(task_body(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/cam0"))
        held, _ = listener.accept()
        with held:
            held.settimeout(30)
            assert held.recv(4096), "the camera is asked for its stream"
            assert service.call("DELETE", f"{TASKS}/{task_id}").status_code == 204
            held.settimeout(5)
            while held.recv(4096):
                pass
        service.stop_in_order()
