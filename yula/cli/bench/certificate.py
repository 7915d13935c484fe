"""A certificate for the TLS cases, made by the program openssl when it is first needed."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path


@cache
def pem() -> Path:
    """A file with a key and a self-signed certificate for 127.0.0.1; gone when we end."""
    folder = Path(tempfile.mkdtemp(prefix="yula-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    key, certificate, both = folder / "key", folder / "certificate", folder / "both.pem"
    # The key that most of the Web's certificates have now; made at once, unlike RSA's.
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if made.returncode != 0:
        raise RuntimeError(f"openssl made no certificate: {made.stderr.strip()}")
    both.write_text(certificate.read_text() + key.read_text())
    return both
