"""The core idea: received octets are shared by everybody who may have them, and rewritten at most once."""
