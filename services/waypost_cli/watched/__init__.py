"""Runs as they happen: followed with their children, shown as a live tree, as lines, or as events.

board       what is known of the runs that are followed (pure)
following   the events of runs and of the children that they start, through lost connections
tree        the board as lines of a tree (pure)
screen      the tree on a terminal, plain lines elsewhere
"""

from waypost_cli.watched.board import Board
from waypost_cli.watched.following import Follower
from waypost_cli.watched.screen import LineScreen, Screen, TreeScreen
from waypost_cli.watched.tree import Line, lines_of

__all__ = ["Board", "Follower", "Line", "LineScreen", "Screen", "TreeScreen", "lines_of"]
