/* The load for the benchmark: one BGP speaker that announces a file of UPDATEs, N that receive, on loopback addresses.
 *
 * generator PORT ADDRESS FILE RECEIVERS [copier | as2 | add-path | internal]
 *
 * Speaks only what the benchmark needs: 4-octet AS numbers, IPv4 unicast, no KEEPALIVEs after the first (hold time 0).
 * Says READY when all sessions are up, starts at a line on its input, says DONE with what every receiver got, and keeps
 * the sessions until its input ends. With as2, add-path or internal the second half of the receivers have no 4-octet AS
 * numbers, take path identifiers, or are in the daemon's AS 64999; of their routes only the prefixes are compared. Each receiver's routes are summed up in a digest that does not depend on the order
 * of messages, of prefixes, or of attributes within a message; DONE comes when all digests equal that of the file, FAIL
 * when nothing arrives any more and they do not. With `copier` no BGP is spoken: octets are counted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUFFER (1 << 20)
#define IDLE_SECONDS 20

struct digest { uint64_t sum, plain, prefixes, octets; };
struct peer { int fd, up, variant; size_t fill; uint8_t *buffer; struct digest got; double finished; };

enum { NONE, AS2, ADD_PATH, INTERNAL };
static int copier;

static void fail(const char *what) { printf("FAIL %s: %s\n", what, strerror(errno)); exit(1); }

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }

static uint64_t mix(uint64_t h) {
    h ^= h >> 33; h *= 0xff51afd7ed558ccdULL; h ^= h >> 33; h *= 0xc4ceb9fe1a85ec53ULL; return h ^ (h >> 33);
}

static uint64_t hash(const uint8_t *data, size_t size, uint64_t h) {
    uint64_t word;
    for (; size >= 8; data += 8, size -= 8) { memcpy(&word, data, 8); h = mix(h ^ word); }
    word = size;
    for (size_t i = 0; i < size; i++) word = word << 8 | data[i];
    return mix(h ^ word);
}

/* Attributes are summed, so that their order does not matter; of the flags, extended length and partial do not. */
static uint64_t attributes(const uint8_t *data, const uint8_t *end) {
    uint64_t sum = 0;
    while (data + 3 <= end) {
        size_t header = data[0] & 0x10 ? 4 : 3;
        size_t size = header == 4 ? data[2] << 8 | data[3] : data[2];
        sum += hash(data + header, size, data[1] * 0x9e3779b97f4a7c15ULL + 1);
        data += header + size;
    }
    return sum;
}

static void take(struct digest *into, const uint8_t *message, size_t size, int variant) {
    if (message[18] != 2 || size == 23) return;
    const uint8_t *end = message + size, *data = message + 19;
    size_t length = data[0] << 8 | data[1];
    const uint8_t *withdrawn = data + 2;
    data += 2 + length;
    length = data[0] << 8 | data[1];
    uint64_t block = length ? attributes(data + 2, data + 2 + length) : 0;
    for (; withdrawn < data; ) {
        size_t octets = 1 + (withdrawn[0] + 7) / 8;
        into->sum -= 1, into->plain -= 1;  /* a withdrawal was not asked for: no digest will match */
        withdrawn += octets;
    }
    data += 2 + length;
    while (data < end) {
        if (variant == ADD_PATH) data += 4;
        size_t octets = 1 + (data[0] + 7) / 8;
        into->sum += hash(data, octets, block);
        into->plain += hash(data, octets, 0);
        into->prefixes++;
        data += octets;
    }
    into->octets += size;
}

static int dial(const char *address, int port, int index) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in local = {.sin_family = AF_INET}, remote = {.sin_family = AF_INET, .sin_port = htons(port)};
    local.sin_addr.s_addr = htonl(0x7f000100 + (index / 250) * 256 + index % 250 + 1);
    inet_pton(AF_INET, address, &remote.sin_addr);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (void *)&local, sizeof local)) fail("bind");
    for (int tries = 0; connect(fd, (void *)&remote, sizeof remote); tries++) {
        if (tries > 100) fail("connect");
        usleep(100000);
    }
    return fd;
}

static void say_open(int fd, int index, int variant) {
    uint32_t number = variant == AS2 ? 60000 + index : variant == INTERNAL ? 64999 : 4200000000u + index;
    uint16_t small = htons(number > 65535 ? 23456 : number);
    uint32_t as = htonl(number), identifier = htonl(0x0a000001 + index);
    uint8_t message[96], *at = message + 29;
    memset(message, 0xff, 16);
    message[18] = 1; message[19] = 4;
    memcpy(message + 20, &small, 2);
    message[22] = message[23] = 0;
    memcpy(message + 24, &identifier, 4);
    memcpy(at, "\2\6\1\4\0\1\0\1", 8); at += 8;
    if (variant != AS2) { memcpy(at, "\2\6\101\4", 4); memcpy(at + 4, &as, 4); at += 8; }
    if (variant == ADD_PATH) { memcpy(at, "\2\6\105\4\0\1\1\1", 8); at += 8; }
    message[28] = at - message - 29;
    message[16] = 0; message[17] = at - message;
    memset(at, 0xff, 16);
    memcpy(at + 16, "\0\x13\4", 3);
    at += 19;
    if (write(fd, message, at - message) != at - message) fail("write");
}

/* Whole messages of the buffer; 1 when the session came up. */
static void drain(struct peer *peer) {
    size_t at = 0;
    while (peer->fill - at >= 19) {
        uint8_t *message = peer->buffer + at;
        size_t size = message[16] << 8 | message[17];
        if (peer->fill - at < size) break;
        if (message[18] == 4) peer->up = 1;
        else if (message[18] == 3) { printf("FAIL NOTIFICATION %d/%d\n", message[19], message[20]); exit(1); }
        else take(&peer->got, message, size, peer->variant);
        at += size;
    }
    memmove(peer->buffer, peer->buffer + at, peer->fill - at);
    peer->fill -= at;
}

static ssize_t receive(struct peer *peer) {
    ssize_t count = read(peer->fd, peer->buffer + peer->fill, BUFFER - peer->fill);
    if (count > 0 && copier) peer->got.octets += count;
    else if (count > 0) { peer->fill += count; drain(peer); }
    return count;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    int port = atoi(argv[1]), receivers = atoi(argv[4]), done = 0;
    const char *mode = argc > 5 ? argv[5] : "";
    int variant = !strcmp(mode, "as2") ? AS2 : !strcmp(mode, "add-path") ? ADD_PATH : !strcmp(mode, "internal") ? INTERNAL : NONE;
    copier = !strcmp(mode, "copier");
    setvbuf(stdout, 0, _IOLBF, 0);
    int file = open(argv[3], O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status)) fail(argv[3]);
    size_t size = status.st_size, sent = 0;
    uint8_t *data = malloc(size);
    if (read(file, data, size) != (ssize_t)size) fail("read");
    struct digest want = {0};
    for (size_t at = 0; at < size; at += data[at + 16] << 8 | data[at + 17]) take(&want, data + at, data[at + 16] << 8 | data[at + 17], NONE);
    if (copier) want.octets = size;

    struct peer *peers = calloc(receivers + 1, sizeof *peers);
    int poller = epoll_create1(0);
    for (int i = 0; i <= receivers; i++) {
        peers[i].fd = dial(argv[2], port, i);
        peers[i].buffer = malloc(BUFFER);
        peers[i].variant = i > (receivers + 1) / 2 ? variant : NONE;
        if (!copier) say_open(peers[i].fd, i, peers[i].variant);
    }
    for (int i = 0; i <= receivers && !copier; i++)
        while (!peers[i].up) if (receive(&peers[i]) <= 0) fail("session not established");
    for (int i = 0; i <= receivers; i++) {
        fcntl(peers[i].fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(poller, EPOLL_CTL_ADD, peers[i].fd, &event);
    }
    printf("READY\n");
    char line[16];
    if (!fgets(line, sizeof line, stdin)) return 1;

    double start = now(), last = start, first = 0;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u32 = 0};
    epoll_ctl(poller, EPOLL_CTL_MOD, peers[0].fd, &event);
    while (done < receivers) {
        struct epoll_event events[64];
        int count = epoll_wait(poller, events, 64, 1000);
        if (now() - last > IDLE_SECONDS) break;
        for (int n = 0; n < count; n++) {
            struct peer *peer = &peers[events[n].data.u32];
            if (peer == peers && events[n].events & EPOLLOUT) {
                ssize_t more = write(peer->fd, data + sent, size - sent > 1 << 18 ? 1 << 18 : size - sent);
                if (more > 0) { sent += more; last = now(); }
                if (sent == size) {
                    event.events = EPOLLIN;
                    epoll_ctl(poller, EPOLL_CTL_MOD, peer->fd, &event);
                }
            }
            if (events[n].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                ssize_t more = receive(peer);
                if (more == 0 || (more < 0 && errno != EAGAIN)) fail("connection lost");
                last = now();
                if (!first && peer != peers) first = last;
                int equal = copier ? peer->got.octets >= want.octets
                                   : peer->got.prefixes == want.prefixes && (peer->variant ? peer->got.plain == want.plain : peer->got.sum == want.sum);
                if (peer != peers && !peer->finished && equal) { peer->finished = last; done++; }
            }
        }
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    uint64_t least = UINT64_MAX;
    for (int i = 1; i <= receivers; i++) if (peers[i].got.prefixes < least) least = peers[i].got.prefixes;
    printf("%s wall=%.4f first=%.4f receivers=%d complete=%d prefixes=%lu least=%lu generator_cpu=%.3f\n",
           done == receivers ? "DONE" : "FAIL", now() - start, first - start, receivers, done,
           (unsigned long)want.prefixes, (unsigned long)(copier ? 0 : least),
           usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    while (fgets(line, sizeof line, stdin)) {}
    return done == receivers ? 0 : 1;
}
