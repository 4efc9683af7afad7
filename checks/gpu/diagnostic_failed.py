"""NVIDIA's own diagnostic (DCGM) failed a test on a GPU.

## Why it matters
`dcgmi diag` exercises memory, links, power and computing units as no engine does. A GPU that fails there computes
wrongly, slowly or not at all under load, even though it answers and serves.

## How to fix
Follow what the failed test says. Run the level again after a reset, on an idle machine: other programs on the GPU fail
tests, too. A GPU that fails twice is a case for the vendor, with this report.

## References
- https://docs.nvidia.com/datacenter/dcgm/latest/user-guide/dcgm-diagnostics.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.signatures import Signatures

SOURCE = "dcgmi diag"
AGAIN = step("Run it again on an idle machine, after a reset of the GPU.", "dcgmi diag -r 3 -j > diag.json",
             risk="keeps the GPUs busy for minutes")


@check()
def diagnostic_failed(signatures: Signatures) -> Iterator[Finding]:
    """Judge every test that failed or warned; one that was skipped shows nothing."""
    tests = signatures.diagnostics
    if not tests:
        yield skipped("host", "no report of dcgmi diag was pasted")
        return
    bad = [test for test in tests if test.status in ("fail", "warn")]
    for test in bad:
        seen = (saw(f"{test.name}", test.status, SOURCE), *(saw("it says", words, SOURCE) for words in test.words))
        subject = f"gpu:{test.gpu}" if test.gpu is not None else "host"
        if test.status == "fail":
            yield failed(subject, "the diagnostic test {test} failed: {why}", test=test.name,
                         why=test.words[0] if test.words else "it does not say why", evidence=seen, fix=AGAIN)
        else:
            yield warned(subject, "the diagnostic test {test} warns: {why}", test=test.name,
                         why=test.words[0] if test.words else "it does not say why", evidence=seen, fix=AGAIN)
    ran = sum(test.status == "pass" for test in tests)
    if not bad and ran:
        yield passed("host", "{ran} tests of NVIDIA's diagnostic passed", ran=ran, evidence=saw("passed", ran, SOURCE))
    elif not bad:
        yield skipped("host", "no test of NVIDIA's diagnostic ran to its end")
