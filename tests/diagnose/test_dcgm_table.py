"""The table of dcgmi diag says which test failed on which GPU, and in which words."""

import io

from gpudoctor.evidence.paste import Paste
from gpudoctor.facts.signatures import Diagnostic, Signatures

TABLE = """\
+---------------------------+------------------------------------------------+
| Diagnostic                | Result                                         |
+===========================+================================================+
| DCGM Version              | 3.3.5                                          |
|-----  Deployment  --------+------------------------------------------------|
| Denylist                  | Pass                                           |
| Page Retirement/Row Remap | Fail                                           |
| Warning                   | GPU 2 had uncorrectable memory errors and row r|
|                           | emapping failed.                               |
| PCIe                      | Pass - All                                     |
| GPU Memory                | Fail - GPUs: 2, 3                              |
|                           | Pass - GPUs: 0, 1                              |
| Targeted Stress           | Skip - All                                     |
+---------------------------+------------------------------------------------+
"""


def test_every_result_is_read() -> None:
    paste = Paste()
    paste.feed(io.BytesIO(f"$ dcgmi diag -r 2\n{TABLE}done\n".encode()), "diag.txt")
    log = paste.snapshot().signatures
    assert isinstance(log, Signatures)
    assert log.diagnostics == (
        Diagnostic(name="Denylist", status="pass"),
        Diagnostic(name="Page Retirement/Row Remap", status="fail",
                   words=("GPU 2 had uncorrectable memory errors and row remapping failed.",)),
        Diagnostic(name="PCIe", status="pass"),
        Diagnostic(name="GPU Memory", status="fail", gpu=2),
        Diagnostic(name="GPU Memory", status="fail", gpu=3),
        Diagnostic(name="GPU Memory", status="pass"),
        Diagnostic(name="Targeted Stress", status="skip"),
    )  # fmt: skip
