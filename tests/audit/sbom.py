"""Writes a software bill of materials of each image, in CycloneDX 1.6: ``sbom.py FOLDER``.

It lists what pip installs from the image's lock file, with the sha256 of what it may be installed from, and
names the base image, whose own bill its publisher has.
"""

import sys
import tomllib
import uuid
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from locks import ROOT, Image, Package, images
from packageurl import PackageURL

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def bill(image: Image) -> str:
    """The image's bill of materials. Raises AssertionError if it is not as CycloneDX's schema has it."""
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"nerforge/{image.name}\n{image.lock.read_text()}")
    )
    bom.metadata.component = Component(
        name=f"nerforge/{image.name}", version=VERSION, type=ComponentType.CONTAINER, bom_ref=image.name
    )
    name, __, tag = image.base.rpartition(":")
    bom.components.add(Component(name=name, version=tag, type=ComponentType.CONTAINER, bom_ref=image.base))
    bom.components.update(map(_component, image.packages()))
    bom.register_dependency(bom.metadata.component, bom.components)
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert error is None, error
    return text


def _component(package: Package) -> Component:
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in package.hashes]
    purl = PackageURL("pypi", name=package.name, version=package.version)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        purl=purl,
        external_references=[
            ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(purl)), hashes=hashes)
        ],
    )


def main(folder: Path) -> None:
    """Write the bills."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in images():
        file = folder / f"{image.name}.cdx.json"
        file.write_text(bill(image) + "\n")
        print(f"{file}: {len(image.packages())} packages on {image.base}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
