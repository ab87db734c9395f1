"""One session over one connection: sockets, reading, writing, timers, and the peer that keeps it."""
