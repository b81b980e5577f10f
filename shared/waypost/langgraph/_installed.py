"""Says what to install when LangGraph is not there. Imported first."""

from __future__ import annotations

try:
    import langgraph.graph  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("LangGraph is not installed: pip install 'waypost[langgraph]'", name=error.name) from error
