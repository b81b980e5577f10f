"""Crash tests: real processes, real servers, real kill -9."""
