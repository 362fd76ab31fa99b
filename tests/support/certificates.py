# SPDX-License-Identifier: Apache-2.0
"""A certificate authority of the tests' own, made at run time, and servers' certificates: good and bad ones."""

import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# What the good certificate is for, beside 127.0.0.1.
NAMES = ("localhost", "store.test")


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject, key, issuer, issuer_key, names, days, is_authority=False):
    # Never whole days ago: a certificate that has expired has done so well before now.
    now = datetime.datetime.utcnow()
    begin = now - datetime.timedelta(days=10)
    builder = (x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(begin).not_valid_after(now + datetime.timedelta(days=days))
               .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                              critical=False))
    if is_authority:
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                          key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                          decipher_only=False), critical=True)
    else:
        kinds = [x509.DNSName(name) for name in names if not name[0].isdigit()]
        kinds += [x509.IPAddress(ipaddress.ip_address(name)) for name in names if name[0].isdigit()]
        builder = builder.add_extension(x509.SubjectAlternativeName(kinds), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def make(directory):
    """Writes ca.pem and {good,wrong-name,expired,stranger}.pem (certificate and key). Returns {name: path}."""
    directory = pathlib.Path(directory)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("test authority", authority_key, "test authority", authority_key, (), 30, True)
    stranger_key = ec.generate_private_key(ec.SECP256R1())
    made = {"ca": directory / "ca.pem"}
    made["ca"].write_bytes(_pem(authority))
    for kind, names, days, issuer, issuer_key in (
            ("good", (*NAMES, "127.0.0.1"), 20, "test authority", authority_key),
            ("wrong-name", ("elsewhere.test",), 20, "test authority", authority_key),
            ("expired", (*NAMES, "127.0.0.1"), -2, "test authority", authority_key),
            ("stranger", (*NAMES, "127.0.0.1"), 20, "unknown authority", stranger_key)):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(names[0], key, issuer, issuer_key, names, days)
        made[kind] = directory / f"{kind}.pem"
        made[kind].write_bytes(_pem(certificate) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return made
