"""CUDA and the NVIDIA driver: floors, bundled drivers, branches and their end. Source: `cuda_driver.toml`.

Versions are Linux driver versions unless a name says Windows.
"""

import datetime
from functools import cache
from typing import Literal

import msgspec

from gpudoctor.matrices.table import Confidence, Table, load
from gpudoctor.matrices.versions import version_tuple

Flavour = Literal["proprietary", "either", "open"]


class CudaFloor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The oldest driver that runs any program built with one CUDA major version.

    PTX newer than the driver is not covered. `min_compute_capability` is None where CUDA's own floor is not recorded.
    """

    cuda_major: int
    min_driver: str
    confidence: Confidence
    source: str
    min_driver_windows: str | None = None
    min_compute_capability: tuple[int, int] | None = None
    note: str | None = None


class Toolkit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One CUDA toolkit release. `update` is 0 for the first release of a minor version.

    `bundled_driver` came in the same package and is no floor; `min_driver` is the floor, None before CUDA 11.
    """

    cuda: str
    update: int
    branch: int
    bundled_driver: str
    confidence: Confidence
    source: str
    bundled_driver_windows: str | None = None
    min_driver: str | None = None
    note: str | None = None


class DriverBranch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One driver branch, R535 being 535.

    `eol` is the last day of the month NVIDIA names, None where none is known; `ended` is what the sources said when
    they were read.
    """

    branch: int
    max_cuda: str
    kind: Literal["long-term", "production", "new-feature", "unknown"]
    ended: bool
    confidence: Confidence
    source: str
    eol: datetime.date | None = None
    last_for: tuple[str, ...] = ()
    note: str | None = None

    def ended_on(self, day: datetime.date) -> bool | None:
        """Tell whether NVIDIA had stopped maintaining the branch on `day`; None when that is not known."""
        if self.eol is not None:
            return day > self.eol
        return True if self.ended else None


class ModuleFlavour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which kernel modules an architecture works with. Grace platforms need `open` in any case."""

    architecture: str
    flavour: Flavour
    confidence: Confidence
    source: str


class ModuleDefaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Driver branches at which packaging of the kernel modules changed."""

    first_open_branch: int
    open_by_default_from: int
    unversioned_ubuntu_packages_from: int


class ForwardCompatibility(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the `cuda-compat` libraries carry a newer CUDA major version than the driver's.

    The three tuples hold values of `NvidiaGpu.kind`; the errors are CUDA error codes.
    """

    package: str
    supported_on: tuple[str, ...]
    sometimes_on: tuple[str, ...]
    never_on: tuple[str, ...]
    error_unsupported_gpu: int
    error_wrong_driver: int
    cuda13_base: tuple[int, ...]
    vllm_switch: str
    confidence: Confidence
    source: str

    def works_on(self, kind: str) -> bool | None:
        """Tell whether GPUs of this kind may use it; None when only some of them may, or the kind is unknown."""
        if kind in self.supported_on:
            return True
        return False if kind in self.never_on else None


class CudaDriverTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `cuda_driver.toml`."""

    floors: tuple[CudaFloor, ...]
    toolkits: tuple[Toolkit, ...]
    branches: tuple[DriverBranch, ...]
    modules: tuple[ModuleFlavour, ...]
    module_defaults: ModuleDefaults
    forward_compatibility: ForwardCompatibility


@cache
def table() -> CudaDriverTable:
    """Return the whole table with its sources, parsed once."""
    return load("cuda_driver", CudaDriverTable)


def floor_for_cuda(major: int) -> CudaFloor | None:
    """Return the floor of a CUDA major version, None for one the table does not know."""
    return next((row for row in table().floors if row.cuda_major == major), None)


def toolkit(cuda: str) -> Toolkit | None:
    """Return a toolkit release: `"12.9"` or `"12.9.0"` is the first one, `"12.9.1"` its Update 1.

    None for a release the table does not know, the version of a component (`12.4.131`) included.
    """
    parts = _parts(cuda)
    if parts is None or len(parts) not in (2, 3):
        return None
    wanted = f"{parts[0]}.{parts[1]}"
    update = parts[2] if len(parts) == 3 else 0
    return next((row for row in table().toolkits if (row.cuda, row.update) == (wanted, update)), None)


def branch_of(driver_version: str) -> int | None:
    """Return 535 for `"535.247.01"`; None for what is no version. The branch need not be in the table."""
    parts = _parts(driver_version)
    return parts[0] if parts else None


def branch(number: int) -> DriverBranch | None:
    """Return what is known of a driver branch, None for one the table does not know."""
    return next((row for row in table().branches if row.branch == number), None)


def max_cuda(driver_version: str) -> str | None:
    """Return the highest CUDA version that this driver runs without compatibility libraries (`"12.2"` for 535).

    None for a branch that neither the branch table nor the toolkits know.
    """
    number = branch_of(driver_version)
    known = None if number is None else branch(number)
    if known is not None:
        return known.max_cuda
    shipped = [row.cuda for row in table().toolkits if row.branch == number]
    return max(shipped, key=version_tuple, default=None)


def module_flavour(architecture: str) -> Flavour | None:
    """Return which kernel modules an architecture needs, None for one the table does not know.

    For a GPU found in the GPU table prefer its own `open_kernel_modules`, which knows Grace platforms.
    """
    return next((row.flavour for row in table().modules if row.architecture == architecture), None)


def forward_compatibility() -> ForwardCompatibility:
    """Return the facts about running a newer CUDA major version than the driver's."""
    return table().forward_compatibility


def _parts(version: str) -> tuple[int, ...] | None:
    try:
        return version_tuple(version)
    except ValueError:
        return None
