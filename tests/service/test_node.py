"""A DICOM node: what it takes, what it turns away, what it sends on."""

import gc
import json
import socket
import stat
import struct
import threading
from contextlib import suppress

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.uid import MRImageStorage
from pynetdicom import AE

from creps.errors import CrepsError
from tests.archive import asked, free_port, orthanc, retrieved
from tests.dicom_cases import mr_series
from tests.service.running import LEAK, all_in, jobs, node_thread, orthanc_as, send, settings, wait_for
from tests.written_dicom import read_image

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("worker_here"), LEAK]


@pytest.fixture(scope="module")
def mr(tmp_path_factory):
    return mr_series(tmp_path_factory.mktemp("mr") / "mr")


@pytest.mark.needs("Orthanc")
def test_from_the_scanner_through_the_node_to_the_archive(tmp_path, demo_model, mr):
    (tmp_path / "server").mkdir()
    folder = tmp_path / "node"
    with orthanc(tmp_path / "server") as (address, port):
        chosen = settings(demo_model, destinations=[orthanc_as(port)])
        with node_thread(folder, chosen) as own:
            files = sorted(mr.glob("*.dcm"))
            assert set(send(own, files)) == {0}
            wait_for(lambda: all_in(folder, "done", 1))
            assert set(send(own, files)) == {0}  # again: nothing is done twice
        (study,) = asked(f"{address}/studies?expand")
        series = {one["MainDicomTags"]["Modality"]: one for one in asked(f"{address}/series?expand")}
        assert set(series) == {"CT", "RTSTRUCT", "DOC"}
        assert study["MainDicomTags"]["StudyInstanceUID"] == dcmread(files[0]).StudyInstanceUID
        uid = series["CT"]["MainDicomTags"]["SeriesInstanceUID"]
        back = retrieved(port, study["MainDicomTags"]["StudyInstanceUID"], uid)
        assert asked(f"{address}/changes?limit=1000")["Last"] < 200
    (job,) = jobs(folder)
    sct = folder / "results" / job.target
    (tmp_path / "back").mkdir()
    for one in back:
        one.save_as(tmp_path / "back" / f"{one.InstanceNumber:04d}.dcm", enforce_file_format=True)
    here, there = read_image(sct), read_image(tmp_path / "back")
    assert here.same_grid_as(there)
    np.testing.assert_array_equal(here.array, there.array)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "back"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(names)), here.array)


def test_what_it_keeps_is_private_and_named_by_hashes(tmp_path, demo_model, mr):
    folder = tmp_path / "node"
    with node_thread(folder, settings(demo_model)) as port:
        send(port, sorted(mr.glob("*.dcm")))
        wait_for(lambda: all_in(folder, "done", 1))
    places = [folder, *folder.rglob("*")]
    for place in places:
        assert stat.S_IMODE(place.stat().st_mode) == (0o700 if place.is_dir() else 0o600), place
    uids = {str(dcmread(path)[name].value) for path in mr.glob("*.dcm") for name in ("SeriesInstanceUID", "PatientID")}
    assert not [place for place in places if any(uid in place.name for uid in uids)]
    log = (folder / "audit.jsonl").read_text()
    assert not [uid for uid in uids if uid in log]
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events.count("received") == len(list(mr.glob("*.dcm")))
    assert events[-1] == "stopped"


def test_nothing_is_accepted_that_no_rule_wants(tmp_path, demo_model, mr):
    folder = tmp_path / "node"
    chosen = settings(demo_model, rule={"when": {"region": ["pelvis"]}})
    with node_thread(folder, {**chosen, "rules": [{**chosen["rules"][0], "model": "pelvis"}]}) as port:
        assert set(send(port, sorted(mr.glob("*.dcm"))[:2])) == {0x0124}
        ct = mr_series(
            tmp_path / "ct", change=lambda data, _: setattr(data, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2")
        )
        assert send(port, sorted(ct.glob("*.dcm"))[:1]) == [None]
    assert not list((folder / "received").iterdir())


def test_the_sender_must_know_the_ae_title_and_be_known(tmp_path, demo_model, mr):
    files = sorted(mr.glob("*.dcm"))[:1]
    peers = [{"address": "127.0.0.0/8", "ae_title": "SCANNER"}]
    with node_thread(tmp_path / "node", settings(demo_model, node={"peers": peers})) as port:
        assert send(port, files, called="OTHER") is None
        assert send(port, files, calling="STRANGER") is None
        assert send(port, files) == [0]
    peers = [{"address": "10.0.0.1", "ae_title": "SCANNER"}]
    with node_thread(tmp_path / "other", settings(demo_model, node={"peers": peers})) as port:
        assert send(port, files) is None
    gc.collect()
    assert "unknown address" in (tmp_path / "other" / "audit.jsonl").read_text()


@pytest.mark.parametrize(
    ("limits", "why"),
    [({"image_mb": 0.001}, "an image of more"), ({"association_gb": 2e-6}, "an association of more")],
)
def test_more_bytes_than_allowed_end_the_association(tmp_path, demo_model, mr, limits, why):
    with node_thread(tmp_path / "node", settings(demo_model, limits={**limits, "idle_seconds": 2})) as port:
        assert send(port, sorted(mr.glob("*.dcm")))[-1] is None
    gc.collect()
    assert why in (tmp_path / "node" / "audit.jsonl").read_text()


def test_an_image_whose_pixels_would_fill_the_memory_is_refused(tmp_path, demo_model, mr):
    def bomb(data, _):
        data.Rows = data.Columns = 65535

    big = mr_series(tmp_path / "bomb", change=bomb)
    with node_thread(tmp_path / "node", settings(demo_model)) as port:
        assert send(port, sorted(big.glob("*.dcm"))[:1]) == [0xA900]


def test_a_full_disk_is_said_to_the_sender(tmp_path, demo_model, mr):
    with node_thread(tmp_path / "node", settings(demo_model, limits={"free_gb": 1e6})) as port:
        assert send(port, sorted(mr.glob("*.dcm"))[:1]) == [0xA700]


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + b"x" * 100,
        struct.pack(">BBL", 4, 0, 2**30),
        struct.pack(">BBL", 1, 0, 68) + bytes(68),
        b"\x01",
        b"",
    ],
    ids=["http", "4 GB", "data first", "empty request", "one byte", "nothing"],
)
def test_garbage_costs_nothing_and_the_next_sender_is_served(tmp_path, demo_model, mr, garbage):
    with node_thread(tmp_path / "node", settings(demo_model, limits={"idle_seconds": 1})) as port:
        with socket.create_connection(("127.0.0.1", port)) as link:
            link.sendall(garbage)
            link.settimeout(0.3)
            with suppress(OSError):
                link.recv(100)
        assert send(port, sorted(mr.glob("*.dcm"))[:1]) == [0]


def test_two_senders_at_once(tmp_path, demo_model):
    folder = tmp_path / "node"
    series = [mr_series(tmp_path / f"mr{i}", seed=i, patient=f"P{i}") for i in range(2)]
    with node_thread(folder, settings(demo_model)) as port:
        codes = []
        threads = [
            threading.Thread(target=lambda one=one: codes.append(send(port, sorted(one.glob("*.dcm")))))
            for one in series
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert all(set(one) == {0} for one in codes)
        wait_for(lambda: all_in(folder, "done", 2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"node": {"address": "0.0.0.0"}}, "reached from outside"),
        ({"destinations": [orthanc_as(9)]}, "cannot be reached"),
        ({"rules": [{"name": "a", "model": "no such model"}]}, "no such model"),
        (
            {"rules": [{"name": "a", "model": "pelvis", "when": {"region": ["head"]}}]},
            "Rule 'a' is for head, but its model pelvis is for pelvis.",
        ),
        (
            {
                "rules": [
                    {"name": "a", "model": "head"},
                    {"name": "b", "model": "pelvis", "when": {"region": ["pelvis"]}},
                ]
            },
            "Rule 'b' never decides: rule 'a' comes first",
        ),
    ],
    ids=["open to all", "wrong port", "model gone", "wrong region", "contradiction"],
)
def test_what_is_wrong_is_said_at_start(tmp_path, demo_model, change, said):
    with (
        pytest.raises((CrepsError, ValueError), match=said),
        node_thread(tmp_path / "node", {**settings(demo_model), **change}),
    ):
        pass


@pytest.mark.needs("Orthanc")
def test_a_wrong_ae_title_of_the_destination_is_said_at_start(tmp_path, demo_model):
    with orthanc(tmp_path, DicomCheckCalledAet=True) as (_, port):
        chosen = settings(demo_model, destinations=[orthanc_as(port, ae_title="OTHER")])
        with (
            pytest.raises(CrepsError, match=r"rejected the association.*[Cc]alled AE.*Check its AE title"),
            node_thread(tmp_path / "node", chosen),
        ):
            pass


def test_two_nodes_on_one_folder_and_on_one_port(tmp_path, demo_model):
    folder = tmp_path / "node"
    with node_thread(folder, settings(demo_model)) as port:
        with pytest.raises(CrepsError, match="Another creps works in"), node_thread(folder, settings(demo_model)):
            pass
        from creps.service import ServiceSettings, run_node

        taken = ServiceSettings(**{**settings(demo_model), "node": {"port": port}})
        with pytest.raises(CrepsError, match=f"cannot listen on 127.0.0.1, port {port}"):
            run_node(tmp_path / "second", taken)


@pytest.mark.needs("Orthanc")
def test_a_destination_that_is_down_gets_the_results_later(tmp_path, demo_model, mr, monkeypatch):
    from creps.service import waits

    monkeypatch.setattr(waits, "FIRST_SECONDS", 0.5)
    folder, server = tmp_path / "node", tmp_path / "server"
    server.mkdir()
    port = free_port()
    chosen = settings(demo_model, destinations=[orthanc_as(port)])
    with orthanc(server, DicomPort=port), node_thread(folder, chosen):
        pass  # it has answered once
    with node_thread(folder, chosen) as own:
        assert set(send(own, sorted(mr.glob("*.dcm")))) == {0}
        wait_for(lambda: [job for job in jobs(folder) if job.state == "made"])
        with orthanc(server, DicomPort=port) as (address, _):
            wait_for(lambda: all_in(folder, "done", 1))
            assert len(asked(f"{address}/series")) == 3


def test_mr_alone_is_negotiated(tmp_path, demo_model, mr):
    with node_thread(tmp_path / "node", settings(demo_model)) as port:
        assert send(port, sorted(mr.glob("*.dcm"))[:1], kinds=("1.2.840.10008.5.1.4.1.1.2",)) is None
        assert send(port, sorted(mr.glob("*.dcm"))[:1], kinds=(MRImageStorage,)) == [0]


def test_another_image_under_a_known_uid_is_refused(tmp_path, demo_model, mr):
    first = min(mr.glob("*.dcm"))
    image = dcmread(first)
    image.PatientName = "Corrected^Name"
    image.save_as(tmp_path / "again.dcm")
    with node_thread(tmp_path / "node", settings(demo_model)) as port:
        assert send(port, [first, first, tmp_path / "again.dcm"]) == [0, 0, 0x0111]


def test_an_encoding_that_was_not_negotiated_is_not_taken(tmp_path, demo_model, mr):
    image = min(mr.glob("*.dcm"))
    with node_thread(tmp_path / "node", settings(demo_model)) as port:
        entity = AE("SCANNER")
        for encoding in ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"):  # deflated, JPEG with loss
            entity.add_requested_context(MRImageStorage, encoding)
        link = entity.associate("127.0.0.1", port, ae_title="CREPS")
        assert not link.accepted_contexts
        if link.is_established:
            link.abort()
        assert send(port, [image]) == [0]
