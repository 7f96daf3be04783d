"""The two pages for people, and the files that the documentation is drawn with.

Neither page fetches anything from elsewhere, and all their links are relative: a load balancer may have put
the server under a prefix.
"""

import importlib.util
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).parent
# Swagger UI as the package offapi has it: https://github.com/swagger-api/swagger-ui
_SWAGGER = {"style": "swagger_style.css", "script": "swagger_bundle.js"}
_MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


class Page(NamedTuple):
    """An HTML page and the content security policy that it can live with."""

    content: bytes
    policy: str


class Asset(NamedTuple):
    """A file that never changes under its name, which ends in its content's hash."""

    content: bytes
    media_type: str
    etag: str


@cache
def page() -> Page:
    """The page to try the server on: its own script and style, by their hashes, and nothing else."""
    content = (_HERE / "page.html").read_bytes()
    script, style = _hashes(content)
    return Page(
        content, _policy(f"script-src {script}; style-src {style}; connect-src 'self'; img-src data:")
    )


@cache
def docs() -> tuple[Page, dict[str, Asset]]:
    """The page that shows the OpenAPI document, and its files by name."""
    # Importing the package would read all that it holds.
    package: Any = importlib.util.find_spec("offapi")
    [folder] = package.submodule_search_locations
    content = (_HERE / "docs.html").read_text()
    assets = {}
    for role, file in _SWAGGER.items():
        asset = _asset(Path(folder, file))
        name = f"{role}-{asset.etag[:16]}{Path(file).suffix}"
        content = content.replace(f"docs/{{{role}}}", f"docs/{name}")
        assets[name] = asset
    script, style = _hashes(content.encode())
    policy = _policy(
        f"script-src 'self' {script}; style-src 'self' {style}; connect-src 'self'; img-src 'self' data:"
    )
    return Page(content.encode(), policy), assets


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(content, _MEDIA_TYPES[path.suffix], sha256(content).hexdigest()[:32])


def _hashes(page: bytes) -> tuple[str, str]:
    """Of the page's own script and style, as a content security policy names them."""
    script, style = (
        b64encode(sha256(re.findall(rb"<%s>(.*?)</%s>" % (tag, tag), page, re.DOTALL)[0]).digest()).decode()
        for tag in (b"script", b"style")
    )
    return f"'sha256-{script}'", f"'sha256-{style}'"


def _policy(allowed: str) -> str:
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
