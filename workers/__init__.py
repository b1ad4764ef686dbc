"""What runs on model hosts: thin tasks around engines, and the messages they exchange with the web side."""
