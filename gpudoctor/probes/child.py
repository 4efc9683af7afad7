"""What runs in a probe's child process: isolated, quiet, streaming.

Started as a script by ``runner`` with ``python -I -S``, which keeps the current directory, PYTHON* variables and
user packages out; it then takes the module path from its parent.
"""

import importlib
import json
import os
import signal
import sys


def main(config: str) -> int:
    """Run the modules named in ``config`` (JSON: path, modules, root, left_out, options)."""
    told = json.loads(config)
    answer = os.dup(1)
    os.dup2(2, 1)
    os.set_inheritable(answer, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path[:] = [*sys.path, *told["path"]]

    from gpudoctor.probes.reporter import Reporter
    from gpudoctor.probes.root import Root

    out = Reporter(answer, told["left_out"])
    root = Root(told["root"])
    for module in told["modules"]:
        try:
            probe = importlib.import_module(f"gpudoctor.probes.{module}")
        except Exception as error:
            out.broken(f"could not load {module}: {type(error).__name__}: {error}"[:300])
            continue
        try:
            probe.probe(out, root, **{k: v for k, v in told["options"].items() if k in probe.OPTIONS})
        except PermissionError as error:
            for section in probe.SECTIONS:
                out.unavailable(section, f"no permission to read {error.filename or 'it'}", "no-permission")
        except Exception as error:
            for section in probe.SECTIONS:
                out.unavailable(section, f"{type(error).__name__}: {error}"[:300], "crashed")
    out.done()
    os.close(answer)
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1])
    # A driver's library may hang or crash in its exit handlers; nothing that matters is left to do.
    os._exit(code)
