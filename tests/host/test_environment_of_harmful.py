"""What env.harmful judges is what the probe records."""

import ast
from pathlib import Path

from gpudoctor.probes.environment import allowed

CHECK = Path(__file__).parents[2] / "checks" / "env" / "harmful.py"


def test_every_variable_that_the_check_names_reaches_it() -> None:
    tree = ast.parse(CHECK.read_text(encoding="utf-8"))
    named = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        and node.value.isupper() and node.value.startswith(("CUDA_", "NCCL_", "VLLM_", "OLLAMA_", "NSIGHT_"))
    }
    assert len(named) > 10
    assert set(allowed(dict.fromkeys(named, "1"))) == named
