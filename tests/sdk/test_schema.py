"""The interface against its own description: schemathesis draws requests from /openapi.json, also wrong ones, and
checks each answer; then every example of the description is sent as it stands."""

import pathlib
import re
import subprocess
import sys

import jsonschema_rs
import pytest

from conftest import TOKEN, Service

CASES = 2000
LIMIT_S = 900
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
]
# What a description cannot say: that a size is below another one, that a camera's id is not taken yet.
NOT_ALL_SAID = ["create_task", "create_camera"]
# The interfaces whose examples are sent here; the others have tests of their own.
OF_CONTROL = {"tasks", "cameras", "licences", "audit"}
# Values for the places of a path that a description cannot know.
PLACES = {"project_id": "examples", "service_name": "c-face-edge", "name": "demo"}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A service of a pool that no drawn task names, so that none of them looks for its camera."""
    service = Service(tmp_path_factory.mktemp("quiet"), FACE_EDGE_EDGE_POOL_ID="only-of-these-tests")
    yield service
    service.stop_in_order()


def operations(document):
    for path, item in document["paths"].items():
        for method in ("get", "put", "post", "delete", "patch"):
            if method in item:
                yield method.upper(), path, item[method]


def draw(service, folder, cases_each, checks=CHECKS, phases="examples,coverage,fuzzing,stateful", only=()):
    command = [
        pathlib.Path(sys.executable).with_name("st"), "run", f"{service.url}/openapi.json",
        "--header", f"X-Auth-Token: {TOKEN}",
        "--checks", ",".join(checks),
        # Its key stands in the query, where a drawn one is a wrong one and answered ever later.
        "--exclude-path-regex", "^/api/v1/persons/",
        "--phases", phases,
        "--max-examples", str(cases_each),
        "--seed", "1",
        # One: CPython 3.11 loses count of its own recursion when threads parse source at the same time.
        "--workers", "1",
        "--request-timeout", "30",
        "--suppress-health-check", "all",
        "--warnings", "off",
        "--no-shrink",
        *only,
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S)


def example_of(document, operation):
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rsplit("/", 1)[-1]
    return content.get("example") or document["components"]["schemas"].get(name, {}).get("example")


def filled(service, path, example):
    """The path with something that is there in each of its places."""
    places = dict(PLACES)
    if "{task_id}" in path:
        collection = path.split("/{task_id}")[0].format(**places)
        places["task_id"] = service.call("POST", collection, example).json()[0]["id"]
    if "{camera_id}" in path:
        places["camera_id"] = example["id"]
    if "{sn}" in path:
        made = service.call("POST", "/bitanswer/api/sns/generate_sn?count=1", {"productName": "demo"})
        places["sn"] = made.json()["data"]["items"][0]["sn"]
        if path.endswith("/users"):
            service.call("POST", path.format(**places), example)
    return path.format(**places) + ("?count=1" if path.endswith("generate_sn") else "")


def test_examples_are_good_as_they_stand(quiet):
    document = quiet.call("GET", "/openapi.json").json()
    components = {"components": document["components"]}
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names), "an id names one call"
    tried = 0
    for method, path, operation in operations(document):
        if not OF_CONTROL.intersection(operation.get("tags", [])):
            continue
        example = example_of(document, operation)
        if example is None:
            assert "requestBody" not in operation, f"{method} {path} has no example"
            continue
        answer = quiet.call(method, filled(quiet, path, example), example)
        described = operation["responses"].get(str(answer.status_code))
        assert answer.ok and described, f"{method} {path}: {answer.status_code} {answer.text}"
        if path.startswith("/bitanswer/"):
            assert answer.json()["status"] == 0, f"{method} {path}: {answer.text}"
        for media in described.get("content", {}).values():
            jsonschema_rs.Draft202012Validator({**media["schema"], **components}).validate(answer.json())
        tried += 1
    assert tried >= 15


def test_drawn_requests_are_answered_as_described(quiet, tmp_path, capsys):
    document = quiet.call("GET", "/openapi.json").json()
    # Half of them drawn; the cases that cover the description's own bounds are more than the other half.
    run = draw(quiet, tmp_path, CASES // len(list(operations(document))) // 2)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    generated, passed = map(int, re.search(r"(\d+) generated, (\d+) passed", run.stdout).groups())
    with capsys.disabled():
        print(f"\nschemathesis: {generated} cases, {passed} passed")
    assert passed >= CASES, run.stdout[-2000:]
    assert int(re.search(r"API Links: +(\d+) covered", run.stdout)[1]) >= 3, "what was made is gone on with"


def test_what_fits_the_description_is_taken_and_the_rest_refused(quiet, tmp_path):
    """Of the task interface: the licences' answers are always 200, as is documented."""
    ours = [f"--include-tag={tag}" for tag in ("tasks", "cameras", "system")]
    said = [f"--exclude-operation-id={name}" for name in NOT_ALL_SAID]
    for checks, only in [
        (["positive_data_acceptance", "negative_data_rejection"], [*ours, *said]),
        (["negative_data_rejection"], [f"--include-operation-id={name}" for name in NOT_ALL_SAID]),
    ]:
        run = draw(quiet, tmp_path, 10, checks, "examples,coverage,fuzzing", only)
        assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
