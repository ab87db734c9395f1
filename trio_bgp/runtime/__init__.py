"""Tasks, sockets and channels: the only room (with the commands in `cli`) that imports trio."""
