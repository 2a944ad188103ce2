"""TLS: both sides show certificates; expired and foreign ones are refused at start."""

import gc
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from creps.errors import CrepsError, SettingsError
from creps.service.settings import Tls
from creps.service.tls import check_certificates
from tests.dicom_cases import mr_series
from tests.service.running import LEAK, node_thread, orthanc_as, send, settings

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("worker_here")]


def files(folder, authority, name="127.0.0.1", roots=None, **options):
    """Certificate, key and CA as files."""
    folder.mkdir(exist_ok=True)
    one = authority.issue_cert(name, **options)
    one.cert_chain_pems[0].write_to_path(folder / "own.pem")
    one.private_key_pem.write_to_path(folder / "own.key")
    (roots or authority).cert_pem.write_to_path(folder / "ca.pem")
    return Tls(certificate=folder / "own.pem", key=folder / "own.key", ca=folder / "ca.pem")


def client(tls):
    context = ssl.create_default_context(cafile=tls.ca)
    context.load_cert_chain(tls.certificate, tls.key)
    return {"tls_args": (context, "127.0.0.1")}


@LEAK
def test_a_node_takes_those_with_a_certificate_of_its_authority(tmp_path, demo_model):
    ours, others = trustme.CA(), trustme.CA()
    own = files(tmp_path / "node", ours)
    image = sorted(mr_series(tmp_path / "mr").glob("*.dcm"))[:1]
    chosen = settings(demo_model, node={"tls": own.model_dump(mode="json")})
    with node_thread(tmp_path / "work", chosen) as port:
        assert send(port, image, **client(files(tmp_path / "good", ours))) == [0]
        assert send(port, image, **client(files(tmp_path / "foreign", others, roots=ours))) is None
        assert send(port, image) is None
        assert send(port, image, **client(files(tmp_path / "good", ours))) == [0]
    gc.collect()


@LEAK
def test_a_destination_with_a_foreign_certificate_is_refused_at_start(tmp_path, demo_model):
    ours, others = trustme.CA(), trustme.CA()
    there = settings(demo_model, node={"tls": files(tmp_path / "there", others).model_dump(mode="json")})
    own = files(tmp_path / "own", ours).model_dump(mode="json")
    with node_thread(tmp_path / "archive", there) as port:
        to = orthanc_as(port, ae_title="CREPS", tls=own, send=["ct"])
        with (
            pytest.raises(CrepsError, match="cannot agree on TLS"),
            node_thread(tmp_path / "node", settings(demo_model, destinations=[to])),
        ):
            pass
    gc.collect()


def test_certificates_are_checked(tmp_path):
    ours, others = trustme.CA(), trustme.CA()
    now = datetime.now(UTC)
    good = files(tmp_path / "good", ours)
    assert check_certificates(good, now) is None
    soon = files(tmp_path / "soon", ours, not_after=now + timedelta(days=5))
    assert "expires on" in check_certificates(soon, now)
    expired = files(tmp_path / "expired", ours, not_after=now - timedelta(days=1), not_before=now - timedelta(days=9))
    with pytest.raises(SettingsError, match=r"own.pem expired on"):
        check_certificates(expired, now)
    with pytest.raises(SettingsError, match="valid from"):
        check_certificates(good, now - timedelta(days=10_000))
    with pytest.raises(SettingsError, match="is foreign"):
        check_certificates(files(tmp_path / "foreign", others, roots=ours), now)
    with pytest.raises(SettingsError, match="No such file"):
        check_certificates(good.model_copy(update={"ca": tmp_path / "nowhere"}), now)
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(SettingsError, match="holds no PEM certificate"):
        check_certificates(good.model_copy(update={"certificate": tmp_path / "text"}), now)


def test_a_key_of_another_certificate_is_refused_at_start(tmp_path, demo_model):
    ours = trustme.CA()
    mixed = files(tmp_path / "a", ours).model_copy(update={"key": files(tmp_path / "b", ours).key})
    chosen = settings(demo_model, node={"tls": mixed.model_dump(mode="json")})
    with pytest.raises(SettingsError, match="cannot be used together"), node_thread(tmp_path / "node", chosen):
        pass
