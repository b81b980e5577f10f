"""Events of runs to HTTP endpoints of others, signed as Standard Webhooks has it, at least once.

subscriptions  who gets which events, by a file
sending        one request: what is in it, how it is signed, what it may reach
opening        both by the settings
courier        from the stream to the endpoint: retries, giving up
"""

__all__: list[str] = []
