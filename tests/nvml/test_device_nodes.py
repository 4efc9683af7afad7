"""Asking NVML changes nothing on the machine: no device node is left behind where there is no driver."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, stat, sys
from gpudoctor.probes.nvml_library import give_up_device_nodes
assert give_up_device_nodes()
try:
    os.mknod(sys.argv[1], 0o600 | stat.S_IFCHR, os.makedev(195, 255))
except PermissionError:
    print("refused")
"""


@pytest.mark.tier("root")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make device nodes")
def test_the_right_to_make_device_nodes_is_given_up(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path / "node"], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
    assert list(tmp_path.iterdir()) == []
