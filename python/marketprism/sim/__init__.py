"""A venue on loopback: real WebSocket and REST servers over a synthetic market or journals."""
