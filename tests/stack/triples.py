"""Driver, GPU, release: what truly happens, and who says so. Written by hand from the sources, not from our code.

Truth words: ``runs``; ``driver`` (too old: the first CUDA call fails); ``gpu`` (no code for it, or PTX alone that this
driver cannot compile); ``cpu`` (leaves the GPU aside); ``cpu-build``; ``index`` (PyPI's torch has no code for the GPU,
PyTorch's own index has); ``compat`` (an image that runs at most with cuda-compat); ``limits`` (runs below what its
documents ask for); ``unknown`` (nobody told us).
"""

SOURCES = {
    "minor": "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html",
    "forward": "https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html",
    "notes": "https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/",
    "release": "https://github.com/pytorch/pytorch/blob/main/RELEASE.md",
    "wheel": "https://pypi.org/project/torch/#files",
    "volta": "https://dev-discuss.pytorch.org/t/3290",
    "binary": "https://docs.nvidia.com/cuda/cuda-c-programming-guide/#binary-compatibility",
    "blackwell": "https://github.com/vllm-project/vllm/issues/20748",
    "vllm": "https://docs.vllm.ai/en/stable/getting_started/installation/gpu.html",
    "vllm-wheel": "https://pypi.org/project/vllm/#files",
    "vllm-535": "https://github.com/vllm-project/vllm/issues/30633",
    "vllm-v100": "https://github.com/vllm-project/vllm/issues/19185",
    "sglang": "https://pypi.org/project/sglang/#files",
    "ollama": "https://github.com/ollama/ollama/blob/main/docs/gpu.mdx",
    "ollama-550": "https://github.com/ollama/ollama/issues/17290",
    "ollama-pascal": "https://github.com/ollama/ollama/issues/16415",
    "tgi": "https://github.com/huggingface/text-generation-inference/tree/v3.3.7",
    "none": "no source has this release",
}

_TABLE = """
450.80.02   A100-SXM4-40GB  torch==2.0.1          runs       minor
450.51.06   A100-SXM4-40GB  torch==2.0.1          driver     notes
470.256.02  A100-SXM4-80GB  torch==2.1.2          driver     minor
470.256.02  A100-SXM4-80GB  torch==2.1.2+cu118    runs       minor
470.256.02  RTX 3090        torch==2.5.1          driver     minor
470.256.02  RTX 3090        torch==2.5.1+cu118    runs       minor
470.256.02  Tesla T4        torch==1.13.1         runs       minor
470.256.02  V100-SXM2-16GB  torch==2.0.1+cu118    runs       minor
525.60.13   A100-SXM4-80GB  torch==2.5.1          runs       minor
525.60.13   A100-SXM4-80GB  torch==2.8.0          runs       minor
525.60.13   A100-SXM4-80GB  torch==2.10.0         runs       minor
525.60.13   A100-SXM4-80GB  torch==2.11.0         driver     minor
525.147.05  RTX 4090        torch==2.4.1          runs       binary
525.85.12   H100 80GB HBM3  torch==2.0.1+cu118    runs       release
535.104.05  L40S            torch==2.3.1          runs       binary
535.247.01  RTX 4090        torch==2.10.0         runs       minor
535.247.01  RTX 4090        torch==2.14.0         driver     minor
535.247.01  RTX 4090        torch==2.14.0+cu126   runs       release
535.247.01  Quadro RTX 8000 torch==2.10.0         runs       wheel
535.247.01  Quadro RTX 8000 torch==2.15.0         driver     minor
535.247.01  H100 80GB HBM3  torch==2.6.0          runs       wheel
535.247.01  H100 80GB HBM3  torch==2.0.1          gpu        wheel
535.247.01  V100-SXM2-32GB  torch==2.10.0         runs       wheel
535.247.01  V100-SXM2-32GB  torch==2.7.1          runs       wheel
535.247.01  V100-SXM2-32GB  torch==2.14.0         gpu+driver release
580.95.05   V100-SXM2-32GB  torch==2.11.0         gpu        volta
580.95.05   V100-SXM2-32GB  torch==2.11.0+cu126   runs       release
580.95.05   V100-SXM2-32GB  torch==2.11.0+cu128   gpu        volta
580.95.05   V100-SXM2-32GB  torch==2.9.1+cu130    gpu        notes
550.163.01  V100-SXM2-32GB  torch==2.7.0+cu128    gpu        release
580.95.05   Tesla P40       torch==2.7.1          runs       binary
580.95.05   Tesla P40       torch==2.8.0          gpu        wheel
580.95.05   Tesla P40       torch==2.8.0+cu126    runs       release
580.95.05   GTX 1080 Ti     torch==2.14.0+cu126   runs       release
580.95.05   GTX 1080 Ti     torch==2.10.0         gpu        wheel
570.195.03  Tesla P100-SXM2-16GB torch==2.6.0     runs       wheel
570.195.03  RTX 5090        torch==2.6.0          gpu        blackwell
570.195.03  RTX 5090        torch==2.7.0          gpu        wheel
570.195.03  RTX 5090        torch==2.7.0+cu128    runs       release
570.195.03  RTX 5090        torch==2.8.0          runs       wheel
570.195.03  RTX 5090        torch==2.10.0         runs       wheel
570.195.03  RTX 5090        torch==2.11.0         driver     minor
580.95.05   RTX 5090        torch==2.11.0         runs       wheel
580.95.05   RTX 5090        torch==2.15.0         runs       minor
580.95.05   RTX 5090        torch==2.14.0+cu132   runs       minor
580.95.05   RTX 5090        torch==2.5.1          gpu        wheel
580.95.05   B200            torch==2.7.1          gpu        wheel
580.95.05   B200            torch==2.7.1+cu128    runs       release
570.195.03  B200            torch==2.8.0          runs       wheel
580.95.05   B300 SXM6 AC    torch==2.9.0          runs       binary
580.119.02  GB10@aarch64    torch==2.14.0         runs       binary
580.119.02  GB10@aarch64    torch==2.10.0         cpu-build  wheel
580.95.05   GH200 480GB@aarch64 torch==2.11.0     runs       wheel
580.95.05   GH200 480GB@aarch64 torch==2.9.1      cpu-build  wheel
550.163.01  L4              torch==2.8.0          runs       minor
550.163.01  L40S            torch==2.7.1          runs       minor
550.163.01  Tesla T4        torch==2.12.0         driver     minor
550.163.01  Tesla T4        torch==2.12.0+cu126   runs       release
580.95.05   Tesla T4        torch==2.12.0         runs       wheel
580.95.05   Tesla T4        torch==2.15.0         runs       minor
595.58.03   A100-SXM4-80GB  torch==1.13.1         runs       minor
595.58.03   H100 80GB HBM3  torch==1.13.1         gpu        wheel
595.58.03   RTX 4090        torch==1.13.1         runs       binary
595.58.03   RTX 4090        torch==2.15.0         runs       wheel
610.43.02   H200            torch==2.15.0         runs       wheel
550.90.07   H200            torch==2.5.1          runs       wheel
580.95.05   RTX A6000       torch==2.8.0+cu129    runs       release
560.35.05   RTX A6000       torch==2.8.0+cu129    runs       minor
575.57.08   RTX PRO 6000 Blackwell Workstation Edition torch==2.8.0 runs wheel
575.57.08   RTX PRO 6000 Blackwell Workstation Edition torch==2.6.0+cu118 gpu release
580.95.05   RTX 2080 Ti     torch==2.14.0         runs       wheel
550.163.01  RTX 2080 Ti     torch==2.7.0+cu128    runs       release
580.95.05   A10             torch==2.0.1          runs       wheel
580.95.05   A100-SXM4-80GB  torch==2.9.9          unknown    none
580.95.05   A100-SXM4-80GB  torch==3.0.0          unknown    none
535.247.01  Quadro RTX 8000 vllm==0.10.2          runs       vllm-535
535.247.01  Quadro RTX 8000 vllm==0.11.0          runs       vllm-535
535.247.01  Quadro RTX 8000 vllm==0.19.1          runs       vllm-wheel
535.247.01  Quadro RTX 8000 vllm==0.20.0          driver     vllm-wheel
535.247.01  Quadro RTX 8000 vllm==0.33.0          driver     vllm-wheel
580.95.05   Quadro RTX 8000 vllm==0.33.0          runs       vllm
535.247.01  V100-SXM2-32GB  vllm==0.19.1          runs       vllm-wheel
580.95.05   V100-SXM2-32GB  vllm==0.20.0          gpu        vllm
580.95.05   V100-SXM2-32GB  vllm==0.33.0          gpu        vllm
550.163.01  V100-SXM2-32GB  vllm==0.9.2           runs       vllm-v100
535.247.01  Tesla T4        vllm==0.6.6           runs       vllm-wheel
535.247.01  A100-SXM4-80GB  vllm==0.8.5.post1     runs       vllm-wheel
535.247.01  A100-SXM4-80GB  vllm==0.12.0          runs       vllm-535
525.60.13   A100-SXM4-80GB  vllm==0.19.1          runs       minor
525.60.13   A100-SXM4-80GB  vllm==0.21.0          driver     minor
470.256.02  A100-SXM4-80GB  vllm==0.6.6           driver     minor
550.163.01  A100-SXM4-80GB  vllm==0.27.0          driver     minor
580.65.06   A100-SXM4-80GB  vllm==0.27.0          runs       minor
580.65.06   A100-SXM4-80GB  vllm==0.33.0          runs       minor
580.65.06   H100 80GB HBM3  vllm==0.20.2          runs       minor
575.57.08   H100 80GB HBM3  vllm==0.20.2          driver     minor
535.247.01  H100 80GB HBM3  vllm==0.6.2           runs       vllm-wheel
550.163.01  H100 80GB HBM3  vllm==0.17.1          runs       vllm-wheel
570.195.03  RTX 5090        vllm==0.8.5           gpu        blackwell
570.195.03  RTX 5090        vllm==0.9.0           index      vllm
570.195.03  RTX 5090        vllm==0.9.2           index      vllm
570.195.03  RTX 5090        vllm==0.10.2          runs       vllm-wheel
570.195.03  RTX 5090        vllm==0.19.1          runs       vllm-wheel
570.195.03  RTX 5090        vllm==0.20.0          driver     minor
580.95.05   RTX 5090        vllm==0.20.0          runs       vllm-wheel
580.95.05   RTX 5090        vllm==0.33.0          runs       vllm-wheel
580.95.05   RTX PRO 6000 Blackwell Server Edition vllm==0.11.2 runs vllm-wheel
580.95.05   B200            vllm==0.9.2           index      vllm
580.95.05   B200            vllm==0.11.0          runs       vllm-wheel
580.119.02  GB10@aarch64    vllm==0.33.0          runs       binary
535.247.01  L4              vllm==0.10.1.1        runs       vllm-wheel
535.247.01  RTX 3090        vllm==0.13.0          runs       vllm-535
535.247.01  RTX 3090        vllm==0.24.0          driver     minor
580.95.05   Tesla P40       vllm==0.6.6           gpu        vllm
580.95.05   GTX 1080 Ti     vllm==0.33.0          gpu        vllm
580.95.05   Tesla P100-SXM2-16GB vllm==0.10.2     gpu        vllm
550.163.01  RTX 4090        vllm==0.7.3           runs       vllm-wheel
550.163.01  RTX 4090        vllm==0.9.1           runs       binary
550.163.01  RTX 4090        vllm==0.33.0          driver     minor
580.95.05   RTX 4090        vllm==9.9.9           unknown    none
535.247.01  A100-SXM4-80GB  vllm/vllm-openai:v0.10.2 runs    vllm-535
535.247.01  Quadro RTX 8000 vllm/vllm-openai:v0.33.0-cu129 unknown none
550.163.01  RTX 4090        vllm/vllm-openai:v0.33.0 driver  forward
550.163.01  H100 80GB HBM3  vllm/vllm-openai:v0.33.0 compat  forward
535.247.01  A100-SXM4-80GB  vllm/vllm-openai:v0.20.0 compat  forward
470.256.02  A100-SXM4-80GB  vllm/vllm-openai:v0.33.0 driver  forward
550.163.01  RTX A6000       vllm/vllm-openai:v0.33.0 compat  forward
580.95.05   L4              vllm/vllm-openai:latest  unknown none
535.247.01  A100-SXM4-80GB  sglang==0.5.8         runs       sglang
550.163.01  H100 80GB HBM3  sglang==0.5.8         runs       sglang
550.163.01  H100 80GB HBM3  sglang==0.5.23        driver     sglang
580.95.05   H100 80GB HBM3  sglang==0.5.23        runs       sglang
580.95.05   V100-SXM2-32GB  sglang==0.5.8         gpu        sglang
580.95.05   Tesla T4        sglang==0.5.23        runs       sglang
570.195.03  RTX 5090        sglang==0.5.3         runs       sglang
570.195.03  RTX 5090        sglang==0.5.11        driver     sglang
580.95.05   RTX 5090        sglang==0.5.21        runs       sglang
580.95.05   A100-SXM4-80GB  sglang==0.3.6         unknown    none
580.95.05   L4              sglang==0.5.9         unknown    none
535.247.01  RTX 4090        sglang==0.4.9         runs       sglang
535.247.01  Quadro RTX 8000 ollama==0.11.10       runs       ollama
535.247.01  Quadro RTX 8000 ollama==0.30.10       runs       ollama
535.247.01  Quadro RTX 8000 ollama==0.30.11       cpu        ollama-550
535.247.01  Quadro RTX 8000 ollama==0.32.15       cpu        ollama-550
550.163.01  Quadro RTX 8000 ollama==0.32.15       runs       ollama
535.247.01  Tesla P40       ollama==0.24.0        runs       ollama
535.247.01  Tesla P40       ollama==0.30.0        gpu        ollama-pascal
550.163.01  Tesla P40       ollama==0.32.15       cpu        ollama
570.195.03  Tesla P40       ollama==0.32.15       runs       ollama
580.95.05   GTX 1080 Ti     ollama==0.32.15       runs       ollama
570.195.03  RTX 5090        ollama==0.6.0         runs       ollama
570.195.03  RTX 5090        ollama==0.5.12        runs       binary
580.119.02  GB10@aarch64    ollama==0.32.15       runs       ollama
580.95.05   A100-SXM4-80GB  ollama==0.32.15       runs       ollama
580.95.05   H100 80GB HBM3  ollama==0.11.10       runs       ollama
470.256.02  A100-SXM4-80GB  ollama==0.9.2         runs       minor
470.256.02  A100-SXM4-80GB  ollama==0.12.0        cpu        minor
530.30.02   RTX 3090        ollama==0.11.10       limits     ollama
580.95.05   V100-SXM2-32GB  ollama==0.32.15       runs       ollama
580.95.05   L4              ollama==0.99.0        unknown    none
550.163.01  A100-SXM4-80GB  tgi==3.3.7            runs       tgi
550.163.01  Tesla T4        tgi==3.3.7            limits     tgi
535.54.03   A100-SXM4-80GB  tgi==3.3.7            runs       tgi
525.60.13   A100-SXM4-80GB  tgi==3.3.7            limits     tgi
550.163.01  RTX 4090        tgi==3.3.7            runs       binary
580.95.05   RTX 5090        tgi==3.3.7            runs       binary
580.95.05   A100-SXM4-80GB  tgi==3.0.0            unknown    none
535.247.01  RTX 4090        nvidia/cuda:12.9.1-devel-ubuntu22.04 runs   minor
550.163.01  RTX 4090        nvidia/cuda:13.0.1-devel-ubuntu22.04 driver forward
535.247.01  A100-SXM4-80GB  nvidia/cuda:13.0.1-base-ubuntu22.04  compat forward
"""


def rows() -> list[tuple[str, str, str, str, str]]:
    """Return (driver, GPU, requirement, truth, source)."""
    found = []
    for line in _TABLE.strip().splitlines():
        driver, rest = line.split(maxsplit=1)
        card, requirement, truth, source = rest.rsplit(maxsplit=3)
        found.append((driver, card.strip(), requirement, truth, source))
    return found
