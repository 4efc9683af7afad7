"""One child of the deep probe: does CUDA start at all, with every GPU in sight?"""

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes.cuda_driver import CudaError, Driver, die_with, show_only
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("cuda",)
OPTIONS = ("parent",)


def probe(out: Reporter, root: Root, parent: int) -> None:
    """Send what ``cuInit`` returned, the driver's version, and the UUIDs in the order of the bus."""
    die_with(parent)
    show_only()
    if out.left_out("CUDA"):
        return
    out.start("CUDA", section="cuda")
    try:
        driver = Driver(out, "CUDA")
    except CudaError as error:
        out.set("cuda", init_code=Unavailable(str(error), "not-applicable"), init_error=str(error))
        return
    try:
        version: int | Unavailable = driver.number("cuDriverGetVersion")
    except CudaError as error:
        version = Unavailable(f"{error.step}: {error}", "error")
    try:
        driver.call("cuInit", 0)
        count = driver.number("cuDeviceGetCount")
        uuids = [driver.uuid(driver.number("cuDeviceGet", ordinal)) for ordinal in range(count)]
        out.set("cuda", init_code=0, driver_version=version, uuids=uuids)
    except CudaError as error:
        out.set("cuda", init_code=error.code if error.step == "cuInit" else 0, driver_version=version,
                init_error=f"{error.step}: {error}")
