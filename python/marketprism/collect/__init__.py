"""From a venue's sockets to JetStream, and the journals that record what came."""
