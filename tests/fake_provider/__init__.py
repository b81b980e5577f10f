"""A model provider over HTTP that says what a test tells it to, in the words of OpenAI and of Anthropic, streams and errors included."""

from tests.fake_provider.replies import Reply, Tool
from tests.fake_provider.server import FakeProvider, Heard

__all__ = ["FakeProvider", "Heard", "Reply", "Tool"]
