"""Stands in for a Docker engine: engine.py LOG version|build|push ARGUMENT...

It writes each call into the file LOG; `build` wants a context, and `push` puts a manifest into the registry.
"""

import json
import sys
import urllib.request
from pathlib import Path

MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
DIGEST = f"sha256:{0:064}"

log, command, *arguments = sys.argv[1:]
with Path(log).open("a") as file:
    print(command, *arguments, file=file)

if command == "version":
    print("1.0")
elif command == "build":
    context = Path(arguments[-1])
    missing = [name for name in ("Dockerfile", "requirements.txt", "app") if not (context / name).exists()]
    if missing:
        sys.exit(f"{context} lacks {', '.join(missing)}")
    print("built", context)
elif command == "push":
    registry, __, rest = arguments[0].partition("/")
    repository, __, tag = rest.partition(":")
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": DIGEST}
    manifest = {"schemaVersion": 2, "mediaType": MEDIA_TYPE, "config": config, "layers": [], "tag": tag}
    url = f"http://{registry}/v2/{repository}/manifests/{tag}"
    body, headers = json.dumps(manifest).encode(), {"Content-Type": MEDIA_TYPE}
    urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT"), timeout=30)
    print("pushed", url)
