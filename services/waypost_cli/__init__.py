"""The command line. It talks to the API as any client does, and starts the services as processes; it imports none of them."""
