"""Does what nvidia-container-runtime does in its legacy mode: put the hook into the bundle, then be runc."""

import json
import os
import shutil
import sys
from pathlib import Path

FOLDER = Path(sys.argv[0]).parent
RUNC_PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def main() -> None:
    arguments = sys.argv[1:]
    if "create" in arguments and "--bundle" in arguments:
        place = Path(arguments[arguments.index("--bundle") + 1], "config.json")
        config = json.loads(place.read_text())
        hook = str(FOLDER / "nvidia-container-runtime-hook")
        hooks = config.setdefault("hooks", {}).setdefault("prestart", [])
        hooks.append({"path": hook, "args": [hook, "prestart", "--from-runtime"]})
        place.write_text(json.dumps(config))
    runc = shutil.which("runc", path=RUNC_PATH) or "runc"
    os.execv(runc, [runc, *arguments])


if __name__ == "__main__":
    main()
