"""Runs inside a container, on whatever Python the image has (3.6 and newer, standard library only).

Its text is handed over by ``live_script``. Every fact is one line, written at once, so that a crash in the driver's
libraries keeps what came before. With ``try`` it also allocates a little memory on each GPU; with ``look`` it only
asks NVML.
"""

import ctypes
import json
import os
import sys

PATTERN_BYTES = 1 << 20


def say(**facts: object) -> None:
    """Write one line of facts."""
    os.write(1, ("\ngpudoctor-facts " + json.dumps(facts) + "\n").encode())


def load(name: str, prefix: str) -> "ctypes.CDLL | None":
    """Load a library of the driver, or say why it cannot be."""
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        say(**{prefix + "_error": str(error)[:300]})
        return None


def nvml() -> None:
    """List the GPUs as NVML does."""
    library = load("libnvidia-ml.so.1", "nvml")
    if library is None:
        return
    code = library.nvmlInit_v2()
    say(nvml_code=code)
    if code:
        return
    count = ctypes.c_uint()
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return
    say(nvml_count=count.value)
    uuids = []
    for index in range(min(count.value, 1024)):
        device, text = ctypes.c_void_p(), ctypes.create_string_buffer(96)
        failed = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device))
        if not failed and library.nvmlDeviceGetUUID(device, text, ctypes.c_uint(96)) == 0:
            uuids.append(text.value.decode("ascii", "replace"))
    say(uuids=uuids)


def cuda() -> None:
    """Start CUDA; on each GPU write a pattern to its memory and read it back."""
    library = load("libcuda.so.1", "cuda")
    if library is None:
        return
    code = library.cuInit(ctypes.c_uint(0))
    say(cuda_code=code)
    count = ctypes.c_int()
    if code or library.cuDeviceGetCount(ctypes.byref(count)):
        return
    say(cuda_count=count.value)
    gpus = []
    for ordinal in range(min(count.value, 1024)):
        gpus.append(pattern(library, ordinal))
        say(gpus=gpus)


def pattern(library: "ctypes.CDLL", ordinal: int) -> "dict[str, object]":
    """Test the memory of one GPU and let go of it."""
    device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    raw = (ctypes.c_ubyte * 16)()
    code = library.cuDeviceGet(ctypes.byref(device), ctypes.c_int(ordinal))
    if code:
        return {"ok": False, "step": "cuDeviceGet", "code": code}
    uuid = None
    if library.cuDeviceGetUuid(raw, device) == 0:
        digits = bytes(bytearray(raw)).hex()
        uuid = "GPU-" + "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])
    text = bytes(bytearray(range(251))) * (PATTERN_BYTES // 251 + 1)
    written = (ctypes.c_ubyte * PATTERN_BYTES).from_buffer_copy(text)
    read = (ctypes.c_ubyte * PATTERN_BYTES)()
    size = ctypes.c_size_t(PATTERN_BYTES)
    # What a step wrote, the next one takes: arguments are looked at when the call is made.
    steps = (
        ("cuDevicePrimaryCtxRetain", (ctypes.byref(context), device)),
        ("cuCtxSetCurrent", (context,)),
        ("cuMemAlloc_v2", (ctypes.byref(memory), size)),
        ("cuMemcpyHtoD_v2", (memory, written, size)),
        ("cuMemcpyDtoH_v2", (read, memory, size)),
    )
    for name, arguments in steps:
        code = getattr(library, name)(*arguments)
        if code:
            return {"uuid": uuid, "ok": False, "step": name, "code": code}
    same = bytes(bytearray(read)) == bytes(bytearray(written))
    library.cuMemFree_v2(memory)
    release = getattr(library, "cuDevicePrimaryCtxRelease_v2", None)
    if release is not None:
        release(device)
    return {"uuid": uuid, "ok": same, "step": None if same else "comparison", "code": None}


if __name__ == "__main__":
    nvml()
    if sys.argv[-1] == "try":
        cuda()
