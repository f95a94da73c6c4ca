"""
A certificate authority of the tests' own.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """Who signs the servers' certificates; nobody trusts it who is not told to."""

    certificate: Path
    key: ec.EllipticCurvePrivateKey

    def issue(self, folder: Path, *servers: str) -> tuple[Path, Path]:
        """Write a certificate for addresses or names and its key; return their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(f"server {servers[0]}", key)
            .issuer_name(_name("Litekeep tests"))
            .add_extension(
                x509.SubjectAlternativeName([_general_name(server) for server in servers]),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        paths = folder / "server.pem", folder / "server.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths

    def context(self, folder: Path, *servers: str) -> ssl.SSLContext:
        """Return what a server at those addresses or names ends TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(folder, *servers))
        return context


def new_authority(folder: Path) -> Authority:
    """Make an authority whose certificate lies in *folder*."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder("Litekeep tests", key)
        .issuer_name(_name("Litekeep tests"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "ca.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(path, key)


def _general_name(server: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(server))
    except ValueError:
        return x509.DNSName(server)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
    )
