#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Keys as the official SDK takes them (key_encryption_key), made of python3-cryptography alone.

As a program, for C++ tests:

    envelope_keys.py write|read URL ACCOUNT CONTAINER/BLOB ALGORITHM KEY-FILE KEY-ID SIZE

writes a blob of SIZE bytes by the SDK, or reads one and ends with 1 unless it holds those bytes: pattern(SIZE).
"""

import hashlib
import sys
import warnings

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

ALGORITHMS = ("A128KW", "A192KW", "A256KW", "RSA-OAEP", "RSA-OAEP-256")


class AesKey:
    """A128KW, A192KW, A256KW."""

    def __init__(self, key, kid):
        self.key, self.kid = key, kid

    def wrap_key(self, key):
        return aes_key_wrap(self.key, key)

    def unwrap_key(self, key, algorithm):
        assert algorithm == self.get_key_wrap_algorithm(), algorithm
        return aes_key_unwrap(self.key, key)

    def get_kid(self):
        return self.kid

    def get_key_wrap_algorithm(self):
        return f"A{len(self.key) * 8}KW"


class RsaKey:
    """RSA-OAEP, RSA-OAEP-256. `pem`: of the private key."""

    def __init__(self, pem, kid, algorithm):
        self.private = serialization.load_pem_private_key(pem, None)
        self.kid, self.algorithm = kid, algorithm

    def _padding(self):
        digest = hashes.SHA256() if self.algorithm == "RSA-OAEP-256" else hashes.SHA1()
        return padding.OAEP(padding.MGF1(digest), digest, None)

    def wrap_key(self, key):
        return self.private.public_key().encrypt(key, self._padding())

    def unwrap_key(self, key, algorithm):
        assert algorithm == self.algorithm, algorithm
        return self.private.decrypt(key, self._padding())

    def get_kid(self):
        return self.kid

    def get_key_wrap_algorithm(self):
        return self.algorithm

    def public_pem(self):
        return self.private.public_key().public_bytes(serialization.Encoding.PEM,
                                                      serialization.PublicFormat.SubjectPublicKeyInfo)


def new_key(algorithm, kid, rng):
    """(what the SDK takes, what dray's key file holds so that it can write)."""
    if algorithm.startswith("RSA"):
        private = rsa.generate_private_key(65537, 2048)
        key = RsaKey(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()), kid, algorithm)
        return key, key.public_pem()
    secret = rng.randbytes(int(algorithm[1:4]) // 8)
    return AesKey(secret, kid), secret


def decrypting(server, account, key, url=None):
    """A client of the account that encrypts and decrypts."""
    from azure.storage.blob import BlobServiceClient

    return BlobServiceClient(f"{url or server.url}/{account}", credential={"account_name": account, "account_key": server.key},
                             retry_total=0, require_encryption=True, encryption_version="2.0", key_encryption_key=key)


def pattern(size):
    found = bytearray()
    number = 0
    while len(found) < size:
        found += hashlib.sha256(b"pattern" + number.to_bytes(4, "big")).digest()
        number += 1
    return bytes(found[:size])


def main():
    import azurite

    verb, url, account, path, algorithm, key_file, kid, size = sys.argv[1:]
    with open(key_file, "rb") as file:
        secret = file.read()
    key = RsaKey(secret, kid, algorithm) if algorithm.startswith("RSA") else AesKey(secret, kid)
    warnings.simplefilter("ignore")

    class Server:
        pass

    server = Server()
    server.url, server.key = url, azurite.KEY
    container, _, name = path.partition("/")
    with decrypting(server, account, key) as service:
        blob = service.get_blob_client(container, name)
        if verb == "write":
            blob.upload_blob(pattern(int(size)), overwrite=True)
        elif blob.download_blob().readall() != pattern(int(size)):
            sys.exit("the content is another")


if __name__ == "__main__":
    main()
