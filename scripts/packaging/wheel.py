#!/usr/bin/env python3
"""Writes a wheel whose only content is the program, as the command `olive-rs`.

    wheel.py METADATA PROGRAM TAG EPOCH FOLDER LICENCE... --sbom FILE

METADATA is what `cargo metadata` prints, TAG the platform (manylinux_2_28_x86_64), EPOCH the time of every file in the wheel. The
description is README.md of the working folder. Prints the path of the wheel, which lies in FOLDER.

Not maturin: it names the command after cargo's target, which would have to be there a second time under the other name, and
would compile and link the program once more; this wheel has, byte for byte, the program of the other packages.

Formats: packaging.python.org/specifications, "Binary distribution format" and "Core metadata" 2.4; PEP 639 (licences), PEP 770
(bill of materials).
"""

import argparse
import base64
import hashlib
import json
import pathlib
import time
import zipfile

NAME, COMMAND = "olive-rs", "olive-rs"


def arguments():
    parser = argparse.ArgumentParser(description="Writes a wheel with the program.")
    parser.add_argument("metadata", type=pathlib.Path)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("tag")
    parser.add_argument("epoch", type=int)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("licences", type=pathlib.Path, nargs="+")
    parser.add_argument("--sbom", type=pathlib.Path, required=True)
    return parser.parse_args()


def core_metadata(package, licences):
    fields = [
        ("Metadata-Version", "2.4"),
        ("Name", NAME),
        ("Version", package["version"]),
        ("Summary", package["description"]),
        ("Keywords", "lora,qlora,onnx,quantization,fine-tuning"),
        ("License-Expression", package["license"]),
        *(("License-File", licence.name) for licence in licences),
        ("Classifier", "Environment :: Console"),
        ("Classifier", "Operating System :: POSIX :: Linux"),
        ("Classifier", "Programming Language :: Rust"),
        ("Classifier", "Topic :: Scientific/Engineering :: Artificial Intelligence"),
        ("Requires-Python", ">=3.8"),
        # Without it, the library alone is fetched when it is first needed.
        ("Provides-Extra", "onnxruntime"),
        ("Requires-Dist", "onnxruntime>=1.22; extra == 'onnxruntime'"),
        ("Description-Content-Type", "text/markdown"),
    ]
    description = pathlib.Path("README.md").read_text()
    return "".join(f"{name}: {value}\n" for name, value in fields) + "\n" + description


class Wheel:
    """A zip archive that notes what RECORD must say."""

    def __init__(self, path, epoch):
        self.archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9)
        # The format of zip begins with 1980.
        self.time = time.gmtime(max(epoch, 315532800))[:6]
        self.record = []

    def write(self, name, content, mode=0o644):
        entry = zipfile.ZipInfo(name, self.time)
        entry.external_attr = (0o100000 | mode) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        self.archive.writestr(entry, content)

    def add(self, name, content, mode=0o644):
        self.write(name, content, mode)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        self.record.append(f"{name},sha256={digest},{len(content)}\n")

    def close(self, record_name):
        self.record.append(f"{record_name},,\n")
        self.write(record_name, "".join(self.record))
        self.archive.close()


def main():
    given = arguments()
    metadata = json.loads(given.metadata.read_text())
    package = next(p for p in metadata["packages"] if p["id"] == metadata["resolve"]["root"])
    stem = f"{NAME.replace('-', '_')}-{package['version']}"
    info = f"{stem}.dist-info"
    path = given.folder / f"{stem}-py3-none-{given.tag}.whl"
    tags = f"Wheel-Version: 1.0\nGenerator: olive\nRoot-Is-Purelib: false\nTag: py3-none-{given.tag}\n"
    wheel = Wheel(path, given.epoch)
    wheel.add(f"{stem}.data/scripts/{COMMAND}", given.program.read_bytes(), 0o755)
    # As the specification recommends, what describes the wheel comes last.
    for licence in given.licences:
        wheel.add(f"{info}/licenses/{licence.name}", licence.read_bytes())
    wheel.add(f"{info}/sboms/{given.sbom.name}", given.sbom.read_bytes())
    wheel.add(f"{info}/METADATA", core_metadata(package, given.licences).encode())
    wheel.add(f"{info}/WHEEL", tags.encode())
    wheel.close(f"{info}/RECORD")
    print(path)


main()
