#!/usr/bin/env python3
"""Writes the bill of materials of the program: every crate that is compiled into it, in CycloneDX 1.5.

    sbom.py METADATA TREE LOCK COMMIT EPOCH > FILE

METADATA is what `cargo metadata --filter-platform TARGET` prints, with the crates of all features that a member of the workspace asks
for; TREE what `cargo tree --edges normal --prefix none` prints of the program, which says what is compiled into it. LOCK is the
Cargo.lock of the same checkout, EPOCH the time that the document names. The same input gives the same bytes, and nothing in them is of the machine: crates are referred to by package
URLs, where cargo-cyclonedx (0.5.9) writes folders of the machine.
"""

import datetime
import json
import os
import re
import sys
import tomllib
import uuid


def compiled_in(metadata, tree):
    """What the program is made of, by id, and what each crate uses of it."""
    listed = {tuple(line.split()[:2]) for line in tree if line.strip()}
    packages = {package["id"] for package in metadata["packages"] if (package["name"], f"v{package['version']}") in listed}
    return {
        node["id"]: [
            dep["pkg"]
            for dep in node["deps"]
            if dep["pkg"] in packages and any(kind["kind"] is None for kind in dep["dep_kinds"])
        ]
        for node in metadata["resolve"]["nodes"]
        if node["id"] in packages
    }


def component(package, checksums, root):
    name, version = package["name"], package["version"]
    described = {"type": "library", "bom-ref": reference(package), "name": name, "version": version}
    if package["source"]:
        described["purl"] = reference(package)
    else:
        # Of this project, or a copy that it has changed, which no registry has.
        folder = os.path.relpath(os.path.dirname(package["manifest_path"]), root)
        described["properties"] = [{"name": "folder", "value": folder}]
    # Macros run in the compiler.
    is_macro = any("proc-macro" in target["kind"] for target in package["targets"])
    described["scope"] = "excluded" if is_macro else "required"
    if package["license"]:
        # Older crates separate alternatives so.
        described["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    checksum = checksums.get((name, version))
    if checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        described["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return described


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def main():
    metadata_file, tree_file, lock_file, commit, epoch = sys.argv[1:]
    with open(metadata_file) as file:
        metadata = json.load(file)
    with open(lock_file, "rb") as file:
        locked = tomllib.load(file)["package"]
    with open(tree_file) as file:
        uses = compiled_in(metadata, file)
    checksums = {(p["name"], p["version"]): p["checksum"] for p in locked if "checksum" in p}
    packages = {package["id"]: package for package in metadata["packages"]}
    root = packages[metadata["resolve"]["root"]]
    folder = metadata["workspace_root"]
    components = [component(packages[crate], checksums, folder) for crate in uses if packages[crate] is not root]
    dependencies = [
        {"ref": reference(packages[crate]), "dependsOn": sorted(reference(packages[used]) for used in crates)}
        for crate, crates in uses.items()
    ]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"{reference(root)}#{commit}").urn,
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).isoformat(),
            "component": {
                "type": "application",
                "bom-ref": reference(root),
                "name": root["name"],
                "version": root["version"],
                "description": root["description"],
                "licenses": [{"expression": root["license"]}],
                "properties": [{"name": "commit", "value": commit}],
            },
        },
        "components": sorted(components, key=lambda crate: crate["bom-ref"]),
        "dependencies": sorted(dependencies, key=lambda crate: crate["ref"]),
    }
    json.dump(document, sys.stdout, indent=1)
    print()


main()
