"""What was tried, and how often: sums up the tallies that the simulation, the storms and the random programs append to files."""
