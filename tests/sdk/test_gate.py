"""The gate interface read by other implementations than ours: BSON by MongoDB's own, XML in canonical form."""

import xml.etree.ElementTree as ET

import bson
import requests

from conftest import ROOT, TOKEN

SCAN = "/api/Servo/Face/Buffer/TotalScan"
PARM = "http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer.Tour.V5.Parm"
RESULT = "http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer"


def send(service, path, media_type, body, **headers):
    sent = {"X-Auth-Token": TOKEN, "Content-Type": media_type, **headers}
    return requests.post(service.url + path, data=body, headers=sent, timeout=60)


def registered(service):
    answer = service.call("POST", "/api/Servo/Gate/Register", {"gatenum": "P001", "name": "python"})
    assert answer.json() == {"errcode": 0, "errmsg": "", "tag": None}


def test_bson_is_what_another_implementation_reads_and_writes(service):
    registered(service)
    answer = send(service, SCAN, "application/bson", bson.encode({"gatenum": "P001", "firstlbsbh": None}))
    assert answer.headers["content-type"] == "application/bson"
    decoded = bson.decode(answer.content)
    assert decoded == {"errcode": 0, "errmsg": "", "tag": {"hasmorepage": "0", "lastlbsbh": ""}}
    assert bson.encode(decoded) == answer.content, "byte for byte"
    wrong = send(service, SCAN, "application/bson", bson.encode({"gatenum": "1"}))
    assert wrong.status_code == 400
    assert "parm.gatenum" in bson.decode(wrong.content)["ModelState"]


def test_xml_is_canonically_the_documented_one(service):
    registered(service)
    # Any order, another prefix, a child that nobody knows.
    body = (
        f'<x:BiometricTotalScanParm xmlns:x="{PARM}"><x:new>1</x:new><x:gatenum>P001</x:gatenum>'
        "<x:firstlbsbh>A</x:firstlbsbh></x:BiometricTotalScanParm>"
    )
    answer = send(service, SCAN, "text/xml", body)
    assert answer.status_code == 200, answer.text
    expected = (ROOT / "tests/golden/total-scan-answer.xml").read_text()
    canonical = [ET.canonicalize(text, strip_text=True, rewrite_prefixes=True) for text in (answer.text, expected)]
    assert canonical[0] == canonical[1]
    refused = send(service, SCAN, "application/xml", body.replace("P001", "none"))
    root = ET.fromstring(refused.text)
    assert root.tag == f"{{{RESULT}}}CommonOperationResultWithTagOfGateFaceInfoTotalScanResultldpHZqFJ"
    assert root.find(f"{{{RESULT}}}errcode").text == "1"
    assert root.find(f"{{{RESULT}}}tag").get("{http://www.w3.org/2001/XMLSchema-instance}nil") == "true"
