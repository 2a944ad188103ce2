"""TLS with certificates on both sides, checked when a service starts."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creps.errors import SettingsError
from creps.service.settings import Tls

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["check_certificates", "client_context", "server_context"]

SOON = timedelta(days=30)


class _LateHandshake(ssl.SSLContext):
    """Leaves the handshake to the thread of the connection.

    pynetdicom wraps a connection in the thread that accepts all of them: one silent client would stop the node.
    """

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(sock, *args, **{**options, "do_handshake_on_connect": False})


def server_context(tls: Tls) -> ssl.SSLContext:
    """For a node: whoever connects must show a certificate that the CA signed; `do_handshake` is the caller's.

    Raises:
        SettingsError: a file is missing, damaged or does not fit the others.
    """
    context = _LateHandshake(ssl.PROTOCOL_TLS_SERVER)
    _load(context, tls)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: Tls) -> ssl.SSLContext:
    """For a destination: its certificate must be for its host name, and signed by the CA.

    Raises:
        SettingsError: a file is missing, damaged or does not fit the others.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, tls)
    return context


def _load(context: ssl.SSLContext, tls: Tls) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"The certificate {tls.certificate} and the key {tls.key} cannot be used together: {_said(error)}.",
            "Name a PEM certificate and its PEM key without a passphrase.",
        ) from error
    try:
        context.load_verify_locations(tls.ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"The CA file {tls.ca} cannot be used: {_said(error)}.", "Name a PEM file of certificates."
        ) from error


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).split(" (_ssl")[0]


def check_certificates(tls: Tls, now: datetime | None = None) -> str | None:
    """Refuse a certificate that has expired, is not valid yet, or is not of the CA.

    Args:
        tls: The files.
        now: When; default: now.

    Returns:
        A warning, if it expires within 30 days.

    Raises:
        SettingsError: names the certificate and what is wrong with it.
    """
    now = now or datetime.now(UTC)
    (own, *others), roots = _certificates(tls.certificate), _certificates(tls.ca)
    for one, path in [(own, tls.certificate), *((root, tls.ca) for root in roots)]:
        if one.not_valid_after_utc < now:
            raise SettingsError(f"The certificate {path} expired on {one.not_valid_after_utc:%Y-%m-%d}.", "Renew it.")
        if one.not_valid_before_utc > now:
            raise SettingsError(
                f"The certificate {path} is valid from {one.not_valid_before_utc:%Y-%m-%d} only.",
                "Check the clock of this machine.",
            )
    if not any(_issued(own, one) for one in (*others, *roots)):
        raise SettingsError(
            f"The certificate {tls.certificate} is foreign: no certificate in {tls.ca} signed it.",
            "Name the CA that signed it and those of the other side.",
        )
    if own.not_valid_after_utc < now + SOON:
        return f"The certificate {tls.certificate} expires on {own.not_valid_after_utc:%Y-%m-%d}."
    return None


def _certificates(path: Path) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no PEM certificate"
        raise SettingsError(f"{path} cannot be used: {reason}.", "Name a PEM file.") from error


def _issued(one: Certificate, issuer: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
