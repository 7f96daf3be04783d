"""Writes a zip laid out as a release of Terraform, and its sha256: pack_release.py ZIP CHECKSUM_FILE.

Its binary calls the Terraform that this machine has.
"""

import hashlib
import shutil
import sys
import zipfile
from pathlib import Path

release, checksum = map(Path, sys.argv[1:])
binary = shutil.which("terraform")
if not binary:
    sys.exit("Terraform is neither on PATH nor in .nerforge/bin: run the deploy playbook, which fetches it")
with zipfile.ZipFile(release, "w") as archive:
    archive.writestr("terraform", f'#!/bin/sh\nexec {binary} "$@"\n')
checksum.write_text(hashlib.sha256(release.read_bytes()).hexdigest())
