"""The published SDK, unmodified, signs, asks and reads the answers; what it made of them agrees with the answers."""

import datetime
import json
import re
import subprocess
import time
import uuid

import pytest
from huaweicloudsdkcampusgo.v2 import (
    CampusGoClient,
    CreateTasksRequest,
    CreateTasksRequestBody,
    DeleteTaskRequest,
    ListTasksDetailsRequest,
    ShowTaskRequest,
    TaskInput,
    TaskInputData,
    TaskInputVcn,
    TaskOutput,
    TaskOutputLocalpath,
    TaskOutputWebhook,
    TaskServiceConfig,
)
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions import exceptions
from huaweicloudsdkcore.sdk_response import SdkResponse

from conftest import ACCESS_KEY, PROGRAM, SECRET_KEY

PROJECT, NAME = "1f793beac00d4801874db741cbfe10fa", "c-face-edge"
PATH = f"/v2/{PROJECT}/services/{NAME}/tasks"
# Nothing listens there: the tasks do not wait for a camera.
NOBODY = "rtsp://127.0.0.1:9/cam0"


def client_with(service, access_key=ACCESS_KEY, secret_key=SECRET_KEY):
    credentials = BasicCredentials(access_key, secret_key, PROJECT)
    return CampusGoClient.new_builder().with_credentials(credentials).with_endpoint(service.url).build()


@pytest.fixture(scope="module")
def client(service):
    return client_with(service)


def body(name, **changes):
    given = {
        "name": name,
        "description": "made by the SDK, with 中文 and \"quotes\"",
        "service_version": "3.0",
        "edge_pool_id": "default",
        "input": TaskInput(type="url", data=[TaskInputData(url=NOBODY, index=0)]),
        "output": TaskOutput(
            webhook=TaskOutputWebhook(
                url="http://127.0.0.1:9/faces", headers={"x-key": "k"}, data_category=["FaceImage", "OriginImage"]
            ),
            localpath=TaskOutputLocalpath(mount_source_path="/tmp/faces", data_category=["FaceImage"]),
        ),
        "service_config": TaskServiceConfig(
            common={
                "detection_min_size": 120,
                "face_repeat_send_sw": 1,
                "target_roi": '{"polygons":[{"data":[[100,100],[1800,100],[1800,1000]]}]}',
            }
        ),
    }
    return CreateTasksRequestBody(**{**given, **changes})


def create(client, wanted):
    answer = client.create_tasks(CreateTasksRequest(service_name=NAME, body=wanted))
    ids = [entry.id for entry in answer.body]
    assert ids and all(re.fullmatch("[0-9a-f]{32}", task_id) for task_id in ids)
    return ids


def listed(client, **parameters):
    answer = client.list_tasks_details(ListTasksDetailsRequest(service_name=NAME, **parameters))
    return answer.count, answer.tasks


def agrees(given, answered):
    """Everything that was given is in what came back, field by field."""
    if hasattr(given, "openapi_types"):
        for field in given.openapi_types:
            wanted = getattr(given, field)
            if wanted is not None:
                agrees(wanted, getattr(answered, field))
    elif isinstance(given, list):
        assert len(given) == len(answered)
        for one, other in zip(given, answered):
            agrees(one, other)
    else:
        assert given == answered


def test_a_task_goes_round(service, client):
    wanted = body("一个任务_1")
    (task_id,) = create(client, wanted)
    task = client.show_task(ShowTaskRequest(service_name=NAME, task_id=task_id))
    agrees(wanted, task)
    assert (task.id, task.project_id, task.service_name) == (task_id, PROJECT, NAME)
    assert task.creator == ACCESS_KEY
    assert isinstance(task.created_at, datetime.datetime)
    assert task.created_at <= task.updated_at
    assert isinstance(task.state, str) and task.state.isupper()

    plain = service.call("GET", f"{PATH}/{task_id}").json()
    of_list = next(entry for entry in listed(client)[1] if entry.id == task_id)
    agrees(wanted, of_list)
    for field in ("id", "name", "description", "creator", "created_at", "edge_pool_id"):
        assert getattr(of_list, field) == getattr(task, field)
    assert plain["service_config"] == task.service_config.to_dict()

    answer = client.delete_task(DeleteTaskRequest(service_name=NAME, task_id=task_id))
    assert isinstance(answer, SdkResponse) and answer.status_code == 204
    with pytest.raises(exceptions.ClientRequestException) as refused:
        client.show_task(ShowTaskRequest(service_name=NAME, task_id=task_id))
    assert (refused.value.status_code, refused.value.error_code) == (404, "IVA.0005")
    assert "no such task" in refused.value.error_msg and refused.value.request_id


def test_one_task_an_input(client):
    data = [TaskInputData(url=NOBODY, index=7), TaskInputData(url=NOBODY + "-2")]
    ids = create(client, body("two", input=TaskInput(type="url", data=data)))
    tasks = [client.show_task(ShowTaskRequest(service_name=NAME, task_id=task_id)) for task_id in ids]
    assert [task.input.data[0].url for task in tasks] == [NOBODY, NOBODY + "-2"]
    assert tasks[0].input.data[0].index == 7 and len(tasks[0].input.data) == 1


def test_every_kind_of_input(client):
    inputs = [
        TaskInput(type="edgecamera", data=[TaskInputData(id="5213039b-698f-4347-8ced-ef0d14605c0b", index=0)]),
        TaskInput(
            type="edgerestful",
            data=[
                TaskInputData(
                    url="http://127.0.0.1:9/ask",
                    headers={"x-key": "k"},
                    certificate_check=False,
                    rtsp_path_in_response="data/url",
                )
            ],
        ),
        TaskInput(
            type="vcn",
            data=[TaskInputData(device_id="dev-1", stream_type=2)],
            vcn=TaskInputVcn(ip="127.0.0.1", port=9, username="u", password="p"),
        ),
    ]
    for given in inputs:
        wanted = body(f"input-{given.type}", input=given)
        (task_id,) = create(client, wanted)
        agrees(wanted, client.show_task(ShowTaskRequest(service_name=NAME, task_id=task_id)))


def test_every_filter(service, client):
    mark = uuid.uuid4().hex[:8]
    before = int(time.time() * 1000)
    names = [f"{mark}-c", f"{mark}-a", f"{mark}-b", f"{mark}_100"]
    versions = ["3.0", "3.0", "2.1", "3.0"]
    ids = [create(client, body(name, service_version=v))[0] for name, v in zip(names, versions)]
    stopped = ids[0]
    assert service.call("POST", f"{PATH}/{stopped}/stop").status_code == 204
    deadline = time.monotonic() + 20
    while client.show_task(ShowTaskRequest(service_name=NAME, task_id=stopped)).state != "STOPPED":
        assert time.monotonic() < deadline, "the task did not stop"
    after = int(time.time() * 1000)

    def found(**parameters):
        count, tasks = listed(client, name_like=mark, **parameters)
        return count, [task.name for task in tasks]

    assert found(order="name:ASC") == (4, [f"{mark}-a", f"{mark}-b", f"{mark}-c", f"{mark}_100"])
    assert found(order="name") == (4, [f"{mark}_100", f"{mark}-c", f"{mark}-b", f"{mark}-a"])
    assert found(order="created_at:ASC") == (4, names)
    assert found(order="created_at:DESC")[1] == names[::-1]
    assert found(order="updated_at:DESC")[1][0] == names[0]
    assert found(order="created_at:ASC", offset=1, limit=2) == (4, names[1:3])
    assert found(service_version="2.1") == (1, [names[2]])
    assert found(state="STOPPED") == (1, [names[0]])
    assert found(id_like=ids[3][4:20]) == (1, [names[3]])
    assert found(created_since=before, created_until=after)[0] == 4
    assert found(created_until=before - 1)[0] == 0
    assert found(created_since=after + 1) == (0, [])
    assert listed(client, name_like=f"{mark}_")[0] == 1, "an underscore stands for itself"
    assert listed(client, name_like="%")[0] == 0, "so does a per cent sign"

    for parameters, named in [
        ({"state": "running"}, "state"),
        ({"order": "size:ASC"}, "order"),
        ({"limit": 1001}, "limit"),
        ({"offset": 100001}, "offset"),
        ({"service_version": "three"}, "service_version"),
    ]:
        with pytest.raises(exceptions.ClientRequestException) as refused:
            listed(client, **parameters)
        assert (refused.value.status_code, refused.value.error_code) == (400, "IVA.0004")
        assert refused.value.error_msg.startswith(f"{named}: ")


def test_a_token_does_as_well(service, sample):
    made = service.call("POST", PATH, sample)
    assert made.status_code == 200
    task = service.call("GET", f"{PATH}/{made.json()[0]['id']}").json()
    assert task["creator"] == "FACE_EDGE_TOKEN"


def test_refusals_reach_the_caller(service, client):
    with pytest.raises(exceptions.ClientRequestException) as refused:
        create(client, body("not allowed!"))
    assert (refused.value.status_code, refused.value.error_code) == (400, "IVA.0004")
    other = ListTasksDetailsRequest(service_name="c-other-edge")
    with pytest.raises(exceptions.ClientRequestException) as refused:
        client.list_tasks_details(other)
    assert (refused.value.status_code, refused.value.error_code) == (404, "IVA.0005")
    for wrong in (client_with(service, secret_key="wrong"), client_with(service, access_key="NOBODY")):
        with pytest.raises(exceptions.ClientRequestException) as refused:
            listed(wrong)
        assert (refused.value.status_code, refused.value.error_code) == (401, "IVA.0001")


def test_a_pair_that_was_made_here_signs_until_it_is_revoked(service):
    def keys(*words):
        command = [PROGRAM, "keys", *words, "--data-dir", service.data, "--json"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

    pair = keys("create", "--signing", "--role", "operator", "--name", "portal")
    signer = client_with(service, pair["access_key"], pair["secret_key"])
    (made,) = create(signer, body("signed"))
    assert signer.show_task(ShowTaskRequest(service_name=NAME, task_id=made)).creator == "portal"
    log = {"querys": [{"name": "object", "op": "=", "values": [made]}]}
    (entry,) = service.call("POST", "/bitanswer/api/audit/data", log).json()["data"]["items"]
    assert (entry["who"], entry["keyId"], entry["action"]) == ("portal", pair["access_key"], "create")
    keys("revoke", pair["access_key"])
    with pytest.raises(exceptions.ClientRequestException) as refused:
        listed(signer)
    assert (refused.value.status_code, refused.value.error_code) == (401, "IVA.0001")
