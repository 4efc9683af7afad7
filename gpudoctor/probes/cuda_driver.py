"""The CUDA driver library by ctypes: the few calls of the deep probe, each announced before it is made."""

import ctypes
import os
import signal
from typing import Any

from gpudoctor.probes.nvml_library import preload
from gpudoctor.probes.reporter import Reporter

LIBRARY = "libcuda.so.1"
_PR_SET_PDEATHSIG = 1
_SIZE, _ADDRESS, _HANDLE = ctypes.c_size_t, ctypes.c_uint64, ctypes.c_void_p
#: Argument types; without them ctypes would cut addresses to 32 bits. "_v2" names are the ABI since CUDA 3.2.
_CALLS: dict[str, tuple[Any, ...]] = {
    "cuInit": (ctypes.c_uint,),
    "cuDriverGetVersion": (_HANDLE,),
    "cuDeviceGetCount": (_HANDLE,),
    "cuDeviceGet": (_HANDLE, ctypes.c_int),
    "cuDeviceGetUuid": (_HANDLE, ctypes.c_int),
    "cuDevicePrimaryCtxRetain": (_HANDLE, ctypes.c_int),
    "cuCtxSetCurrent": (_HANDLE,),
    "cuCtxSynchronize": (),
    "cuMemAlloc_v2": (_HANDLE, _SIZE),
    "cuMemAllocHost_v2": (_HANDLE, _SIZE),
    "cuMemsetD8_v2": (_ADDRESS, ctypes.c_ubyte, _SIZE),
    "cuMemcpyHtoD_v2": (_ADDRESS, _HANDLE, _SIZE),
    "cuMemcpyDtoH_v2": (_HANDLE, _ADDRESS, _SIZE),
    "cuMemcpyDtoD_v2": (_ADDRESS, _ADDRESS, _SIZE),
    "cuDeviceCanAccessPeer": (_HANDLE, ctypes.c_int, ctypes.c_int),
    "cuCtxEnablePeerAccess": (_HANDLE, ctypes.c_uint),
    "cuMemcpyPeer": (_ADDRESS, _HANDLE, _ADDRESS, _HANDLE, _SIZE),
}


class CudaError(Exception):
    """A call that did not succeed. ``step`` is its name, ``code`` its CUresult; None when there is no such call."""

    def __init__(self, step: str, code: int | None, text: str) -> None:
        super().__init__(text)
        self.step = step
        self.code = code


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent goes, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def show_only(*uuids: str) -> None:
    """Choose the GPUs that CUDA shall see in this process, in this order; none given means all, in bus order.

    The user's own choice is not a property of the hardware, and a GPU that is not chosen is not touched.
    """
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if uuids:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(uuids)


class Driver:
    """libcuda.so.1, loaded into this process."""

    def __init__(self, out: Reporter, item: str) -> None:
        self.out = out
        self.item = item
        out.start(item, doing="loading libcuda.so.1")
        library = preload(LIBRARY)
        if library is None:
            raise CudaError("load", None, "libcuda.so.1 cannot be loaded")
        self._library = library

    def call(self, name: str, *arguments: Any) -> None:
        """Make one call.

        Raises:
            CudaError: It returned another code than 0.
        """
        self.out.start(self.item, doing=name)
        function = getattr(self._library, name, None)
        if function is None:
            raise CudaError(name, None, "this driver has no such call")
        function.argtypes = _CALLS[name]
        code = function(*arguments)
        if code != 0:
            raise CudaError(name, code, self._name(code))

    def number(self, name: str, *arguments: Any) -> int:
        """Make a call that writes a C int to its first argument, and return that."""
        value = ctypes.c_int()
        self.call(name, ctypes.byref(value), *arguments)
        return value.value

    def handle(self, name: str, *arguments: Any) -> int:
        """Make a call that writes a pointer or an address to its first argument, and return that."""
        value = ctypes.c_uint64()
        self.call(name, ctypes.byref(value), *arguments)
        return value.value

    def uuid(self, device: int) -> str:
        """Return a device's UUID as NVML writes it."""
        raw = (ctypes.c_ubyte * 16)()
        self.call("cuDeviceGetUuid", raw, device)
        digits = bytes(raw).hex()
        return f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def _name(self, code: int) -> str:
        text = ctypes.c_char_p()
        function = getattr(self._library, "cuGetErrorName", None)
        if function is None or function(code, ctypes.byref(text)) != 0 or not text.value:
            return f"CUDA error {code}"
        return text.value.decode("ascii", "replace")
