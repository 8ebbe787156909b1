"""A small device side of the Android Debug Bridge for guests and tests; the real `adb` client talks to it.

It speaks the transport protocol over TCP with authentication, and the services `shell` (v1 and v2), `exec`, `sync`
(push, pull, list and stat, v1 and v2), `tcp`, `reboot` and `root`. It has no TLS pairing, no terminal, no compression
and no installation of packages. Only the protocol is here, nothing of Android's. The package runs by itself inside the
guest: standard library, relative imports.

The protocol is described in Android's own `adb/protocol.txt`, `SERVICES.TXT` and `SYNC.TXT`.
"""
