/* copier PORT CLIENTS: accept CLIENTS connections, then copy whatever the first says to all others. The floor of the
 * benchmark: what the kernel's work alone costs. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, clients = atoi(argv[2]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 512)) return 1;
    int *fds = calloc(clients, sizeof *fds);
    for (int i = 0; i < clients; i++) fds[i] = accept(listener, 0, 0);
    static char buffer[1 << 18];
    ssize_t count;
    while ((count = read(fds[0], buffer, sizeof buffer)) > 0)
        for (int i = 1; i < clients; i++)
            for (ssize_t at = 0, more; at < count; at += more)
                if ((more = write(fds[i], buffer + at, count - at)) <= 0) return 1;
    pause();
    return 0;
}
