"""The endpoints of `waypost.api.<noun>.<verb>`: small functions over the store (reads) and `Commands` (changes).

Owns the requests' checks and the answers' shape. Decides nothing about a run: that is the state machine's.
"""

from waypost_coordinator.api.ports import Api, Commands, Directory
from waypost_coordinator.api.table import SERVICE_DESCRIPTION, SERVICE_NAME, endpoints

__all__ = ["SERVICE_DESCRIPTION", "SERVICE_NAME", "Api", "Commands", "Directory", "endpoints"]
