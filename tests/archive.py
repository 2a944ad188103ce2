"""A real archive for tests: Orthanc on the loopback, started and stopped here."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, RTStructureSetStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as Get

ORTHANC = shutil.which("Orthanc")


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@contextmanager
def orthanc(folder, **changes):
    """A running server, as (address of its REST interface, DICOM port); `changes` of its configuration."""
    http, dicom = free_port(), changes.get("DicomPort") or free_port()
    config = {
        "Name": "test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "Plugins": [],
        "HttpPort": http, "DicomPort": dicom, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowGet": True,
        "DicomCheckCalledAet": False, "HttpServerEnabled": True, **changes,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen([ORTHANC, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{http}"
        for _ in range(300):
            try:
                asked(f"{address}/system")
                break
            except OSError:
                assert server.poll() is None, (folder / "log.txt").read_text()
                time.sleep(0.1)
        yield address, dicom
    finally:
        server.terminate()
        server.wait(30)


def asked(address):
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.loads(answer.read())


def stored(port, files):
    """C-STORE all files; their status codes."""
    entity = AE()
    for kind in (CTImageStorage, MRImageStorage, RTStructureSetStorage):
        entity.add_requested_context(kind)
    link = entity.associate("127.0.0.1", port, ae_title="ORTHANC")
    assert link.is_established
    codes = [link.send_c_store(dcmread(path)).Status for path in files]
    link.release()
    return codes


def retrieved(port, study, series):
    """C-GET of a series."""
    came = []

    def receive(event):
        came.append(event.dataset)
        came[-1].file_meta = event.file_meta
        return 0

    entity = AE()
    entity.add_requested_context(Get)
    for kind in (CTImageStorage, RTStructureSetStorage):
        entity.add_requested_context(kind)
    roles = [build_role(kind, scp_role=True) for kind in (CTImageStorage, RTStructureSetStorage)]
    link = entity.associate(
        "127.0.0.1", port, ae_title="ORTHANC", ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, receive)]
    )
    assert link.is_established
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID, wanted.SeriesInstanceUID = "SERIES", study, series
    codes = [status.Status for status, _ in link.send_c_get(wanted, Get)]
    link.release()
    assert codes[-1] == 0
    return came
