"""Whose key the device trusts: RSA signatures over a token, as a phone asks for before USB debugging."""

import base64
import os
import struct

TOKEN_BYTES = 20
_SHA1_HEADER = bytes.fromhex("3021300906052b0e03021a05000414")  # of a DigestInfo that holds a SHA-1 digest

RsaKey = tuple[int, int]  # modulus and exponent


class Authenticator:
    """`policy` is what the user at the device does when a new key asks: "accept" it, or "deny" it by saying nothing."""

    def __init__(self, policy: str) -> None:
        self._accepts = policy == "accept"
        self._trusted: list[RsaKey] = []

    @staticmethod
    def new_token() -> bytes:
        """What the host is to sign."""
        return os.urandom(TOKEN_BYTES)

    def trusts(self, token: bytes, signature: bytes) -> bool:
        """Whether one of the trusted keys made the signature."""
        return any(_verifies(key, token, signature) for key in self._trusted)

    def offer(self, public_key: bytes) -> bool:
        """The host sends its public key when no signature was taken; whether the user allowed it."""
        if self._accepts:
            self._trusted.append(parse_public_key(public_key))
        return self._accepts


def parse_public_key(line: bytes) -> RsaKey:
    """The key in adb's own layout: words of the modulus, R, R squared and the exponent, base64, then a comment."""
    raw = base64.b64decode(line.split(b" ")[0].rstrip(b"\0"))
    (words,) = struct.unpack_from("<I", raw)
    modulus = int.from_bytes(raw[8 : 8 + 4 * words], "little")
    (exponent,) = struct.unpack_from("<I", raw, 8 + 8 * words)
    return modulus, exponent


def _verifies(key: RsaKey, token: bytes, signature: bytes) -> bool:
    modulus, exponent = key
    size = (modulus.bit_length() + 7) // 8
    found = pow(int.from_bytes(signature, "big"), exponent, modulus).to_bytes(size, "big")
    digest = _SHA1_HEADER + token  # adb signs the token as if it were a digest
    return found == b"\0\1" + b"\xff" * (size - len(digest) - 3) + b"\0" + digest
