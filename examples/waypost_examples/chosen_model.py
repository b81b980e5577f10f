"""The model of an example: a script where no key is set, so that it runs offline and always says the same; a provider's where one is.

OPENAI_API_KEY=…      (extra waypost[openai])          WAYPOST_EXAMPLES_MODEL names another model than the usual one
ANTHROPIC_API_KEY=…   (extra waypost[anthropic])
"""

from __future__ import annotations

import os

from waypost.models import Model
from waypost.models.scripted import Script, ScriptedModel

OPENAI_MODEL = "gpt-5-mini"
ANTHROPIC_MODEL = "claude-sonnet-4-5"


def chosen_model(script: Script, name: str) -> Model:
    """The model that a key is set for, or the script under `name`. Read once, where the example's module is imported."""
    if os.environ.get("WAYPOST_EXAMPLES_OFFLINE", "") not in ("", "0"):
        return ScriptedModel(script, name=name)
    wanted = os.environ.get("WAYPOST_EXAMPLES_MODEL", "")
    if os.environ.get("OPENAI_API_KEY"):
        from waypost.models.openai import OpenAIModel

        return OpenAIModel(wanted or OPENAI_MODEL)
    if os.environ.get("ANTHROPIC_API_KEY"):
        from waypost.models.anthropic import AnthropicModel

        return AnthropicModel(wanted or ANTHROPIC_MODEL)
    return ScriptedModel(script, name=name)


__all__ = ["chosen_model"]
