"""Under WSL the loader knows libcuda.so.1 but not libcuda.so, which some programs ask for.

## Why it matters
Windows puts three copies of the library into `/usr/lib/wsl/lib` where Linux has one file and links, so `ldconfig` keeps
`libcuda.so.1` only. Programs that link or load `libcuda.so` (Triton's compiler, older bitsandbytes, some Rust and
Python bindings) then say that CUDA is missing, while `nvidia-smi` works.

## How to fix
Add a link of that name in a folder of the loader's path and run `ldconfig`. `/usr/lib/wsl/lib` itself is Windows'
own and is written anew at every start.

## References
- https://github.com/microsoft/WSL/issues/8587
- https://github.com/microsoft/WSL/issues/5548
- https://github.com/triton-lang/triton/pull/1981
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, need, passed, saw, skipped, step, warned
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.host import Host


@check()
def wsl_libcuda_missing(host: Host, driver: Driver) -> Iterator[Finding]:
    """Ask the loader's cache for the name without number."""
    if not host.wsl:
        yield skipped("host", "not under WSL")
        return
    plain = need(driver.wsl_libcuda)
    need(driver.libraries)
    copies = driver.library("libcuda.so.1")
    seen = (saw("libcuda.so in the loader's cache", plain, "/etc/ld.so.cache"),
            saw("copies of libcuda.so.1", tuple(lib.path for lib in copies), "/etc/ld.so.cache, /usr/lib/wsl/lib"))
    if plain:
        yield passed("host", "the loader knows libcuda.so", evidence=seen)
    elif copies:
        yield warned(
            "host",
            "the loader knows {path}, but not libcuda.so",
            path=copies[0].path, evidence=seen,
            fix=step("Add a link of that name.",
                     "sudo ln -s {path} /usr/local/lib/libcuda.so && sudo ldconfig", path=copies[0].path))
    else:
        yield skipped("host", "there is no libcuda at all; driver.nvml-unusable says what is missing", evidence=seen)
