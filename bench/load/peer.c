/* Sessions: the handshake, and checking what arrives. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "load.h"

#define MESSAGE 65536
#define READ (1 << 18)

static uint8_t shared[MESSAGE + READ];
static uint8_t *const area = shared + MESSAGE;   /* a message that is not whole goes in front of it */

static size_t size_of(const uint8_t *message) { return message[16] << 8 | message[17]; }

static void say_open(int fd, int hold_time, int index, enum variant variant) {
    uint32_t number = variant == AS2 ? 60000u + index : variant == INTERNAL ? 64999 : 4200000000u + index;
    uint16_t small = htons(number > 65535 ? 23456 : number);
    uint32_t as = htonl(number), identifier = htonl(0x0a000001 + index);
    uint8_t message[96], *at = message + 29;
    memset(message, 0xff, 16);
    message[18] = 1; message[19] = 4;
    memcpy(message + 20, &small, 2);
    message[22] = hold_time >> 8; message[23] = hold_time;
    memcpy(message + 24, &identifier, 4);
    memcpy(at, "\2\6\1\4\0\1\0\1", 8); at += 8;
    if (variant != AS2) { memcpy(at, "\2\6\101\4", 4); memcpy(at + 4, &as, 4); at += 8; }
    if (variant == ADD_PATH) { memcpy(at, "\2\6\105\4\0\1\1\1", 8); at += 8; }
    message[28] = at - message - 29;
    message[16] = 0; message[17] = at - message;
    memset(at, 0xff, 16);
    memcpy(at + 16, "\0\x13\4", 3);
    at += 19;
    if (write(fd, message, at - message) != at - message) fail("OPEN: %s", strerror(errno));
}

/* Connect from the loopback address of that index and say OPEN and KEEPALIVE. With `small`, what is in flight to it is
 * little, as on a real network: a receiver that stops reading is soon felt. */
void peer_dial(struct peer *peer, const char *address, int port, int hold_time, int index, int small) {
    struct sockaddr_in local = {.sin_family = AF_INET}, remote = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1, segment = 1460, window = 4096;
    local.sin_addr.s_addr = htonl(0x7f000100 + (index / 250) * 256 + index % 250 + 1);
    inet_pton(AF_INET, address, &remote.sin_addr);
    for (int tries = 0;; tries++) {
        peer->fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (small) {
            setsockopt(peer->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
            setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
        }
        if (bind(peer->fd, (void *)&local, sizeof local)) fail("bind: %s", strerror(errno));
        if (!connect(peer->fd, (void *)&remote, sizeof remote)) break;
        if (tries > 100) fail("connect: %s", strerror(errno));
        close(peer->fd);
        usleep(100000);
    }
    peer->rest = malloc(MESSAGE);
    peer->follows = 1;
    if (peer->class->variant == COPIER) peer->up = 1;
    else say_open(peer->fd, hold_time, index, peer->class->variant);
    fcntl(peer->fd, F_SETFL, O_NONBLOCK);
}

static void recheck(struct class *class) {
    struct timeline *line = &class->line;
    int equal = view_equal(&line->view, &class->want);
    if (equal && !line->complete) line->complete_at = line->parsed;
    line->complete = equal;
}

void class_recheck(struct class *class) { class->line.complete = 0; recheck(class); }

/* Its receivers are to hold what the file says; nothing if there is none. */
void class_want(struct class *class, const struct file *file) {
    view_new(&class->want);
    if (file) view_file(&class->want, file, class->variant, 0);
    if (!class->line.view.held) view_new(&class->line.view);
    class_recheck(class);
}

static void append(struct class *class, const uint8_t *data, size_t count) {
    struct timeline *line = &class->line;
    if (line->size + count > line->room) {
        line->room = 2 * (line->size + count) + READ;
        line->octets = realloc(line->octets, line->room);
        if (!line->octets) fail("no memory");
    }
    memcpy(line->octets + line->size, data, count);
    line->size += count;
    while (line->size - line->parsed >= 19) {
        const uint8_t *message = line->octets + line->parsed;
        size_t size = size_of(message);
        if (line->size - line->parsed < size) break;
        if (message[18] == 3) fail("NOTIFICATION %d/%d", message[19], message[20]);
        view_apply(&line->view, message, size, class->variant);
        line->parsed += size;
        recheck(class);
    }
}

/* From now on it has a table of its own: what the timeline said as far as it followed it. */
void peer_detach(struct peer *peer) {
    if (!peer->follows) return;
    struct timeline *line = &peer->class->line;
    size_t at = 0;
    view_new(&peer->own);
    if (peer->position == line->size) {
        /* the usual case when UPDATEs are to be timed: it is where the timeline is */
        memcpy(peer->own.held, line->view.held, (prefix_count() + 1) * sizeof *peer->own.held);
        peer->own.sum = line->view.sum;
        peer->own.count = line->view.count;
        at = line->parsed;
    }
    for (size_t size; peer->position - at >= 19 && peer->position - at >= (size = size_of(line->octets + at)); at += size)
        view_apply(&peer->own, line->octets + at, size, peer->class->variant);
    peer->fill = peer->position - at;
    if (peer->fill) memcpy(peer->rest, line->octets + at, peer->fill);
    peer->follows = 0;
}

/* Whole messages of what came after its rest; until it is up, up to the first KEEPALIVE. */
static size_t messages(struct peer *peer, uint8_t *data, size_t count) {
    size_t at = 0;
    while (count - at >= 19) {
        uint8_t *message = data + at;
        size_t size = size_of(message);
        if (count - at < size) break;
        at += size;
        if (message[18] == 3) fail("NOTIFICATION %d/%d", message[19], message[20]);
        if (!peer->up && message[18] == 4) { peer->up = 1; return at; }
        if (peer->up) view_apply(&peer->own, message, size, peer->class->variant);
    }
    return at;
}

/* Read what is there and account for it; how many octets. */
int peer_read(struct peer *peer) {
    ssize_t got = read(peer->fd, area, READ);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) fail("connection lost: %s", got ? strerror(errno) : "closed");
    uint8_t *data = area;
    size_t count = got;
    if (delays_wanted()) delays_now(peer->untimed ? 0 : now());
    if (!peer->up || !peer->follows) {
        data -= peer->fill;
        count += peer->fill;
        memcpy(data, peer->rest, peer->fill);
        size_t used = messages(peer, data, count);
        data += used;
        count -= used;
        if (!peer->up || !peer->follows) {
            memcpy(peer->rest, data, peer->fill = count);
            return got;
        }
        peer->fill = 0;
        if (!count) return got;
    }
    struct timeline *line = &peer->class->line;
    size_t known = line->size - peer->position, compare = count < known ? count : known;
    if (compare && memcmp(line->octets + peer->position, data, compare)) {
        peer_detach(peer);
        memmove(shared + peer->fill, data, count);
        memcpy(shared, peer->rest, peer->fill);
        count += peer->fill;
        size_t used = messages(peer, shared, count);
        memcpy(peer->rest, shared + used, peer->fill = count - used);
        return got;
    }
    if (count > compare) append(peer->class, data + compare, count - compare);
    peer->position += count;
    return got;
}

int peer_complete(const struct peer *peer) {
    if (!peer->up) return 0;
    if (peer->follows) return peer->class->line.complete && peer->position >= peer->class->line.complete_at;
    return view_equal(&peer->own, &peer->class->want);
}
