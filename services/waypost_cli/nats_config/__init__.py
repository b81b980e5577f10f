"""`waypost nats-config`: accounts, users and permissions of a NATS server for Waypost."""

from waypost_cli.nats_config.accounts import accounts
from waypost_cli.nats_config.command import nats_config

__all__ = ["accounts", "nats_config"]
