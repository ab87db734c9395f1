/* The load for the benchmark: BGP speakers on loopback addresses that announce files of UPDATEs, and others that receive.
 *
 *     load ADDRESS PORT HOLD_TIME IDLE
 *
 * It is told what to do by lines on its input and answers each with a line `OK key=value ...`. At the first thing that is
 * not as it should be, or if nothing comes for IDLE seconds, it says `FAIL` and why, and ends. Peers are numbered in the
 * order in which they connect, files in the order in which they are loaded; WANT is the file that says what the new peers
 * are to hold, or -1 for nothing.
 *
 *     table FILE...                                messages to send or to compare with; once, before all else
 *     connect COUNT VARIANT WANT SMALL             sessions, until all are established
 *     send FILE:PEER...                            those files from those peers at once, until all hold what they are to
 *     join COUNT VARIANT WANT                      new sessions, until all hold what they are to
 *     churn PEER RATE SECONDS FROZEN               UPDATEs one by one, RATE a second; the last FROZEN peers do not read
 *     leave PEER WANT                              that peer ends; until all others hold WANT
 *     check                                        read what may still have come: all must still hold what they are to
 *
 * What a peer holds is followed message by message, except for those whose octets are the same as another's: of them the
 * octets are compared. Only what the benchmark needs is spoken: 4-octet AS numbers, IPv4 unicast, no KEEPALIVE after the
 * first. With the variants as2, add-path and internal a peer has no 4-octet AS numbers, takes path identifiers, or is in
 * the daemon's AS 64999; with copier no OPEN is said. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "load.h"

#define PEERS 2048
#define WRITE (1 << 18)
#define BLOCK 54   /* octets of an UPDATE of the churn before its prefix */

static const char *address;
static int port, hold_time, idle, poller, timer, count, files;
static struct peer peers[PEERS];
static struct file file[64];
static double begun, cpu_begun, last_octet, first_octet;

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("FAIL ");
    vprintf(format, arguments);
    printf("\n");
    exit(1);
}

double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }

static double cpu(void) { struct timespec t; clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); return t.tv_sec + t.tv_nsec / 1e9; }

static void done(void) {
    printf("OK wall=%.4f first=%.4f load_cpu=%.4f", now() - begun, first_octet ? first_octet - begun : 0, cpu() - cpu_begun);
}

static void watch(struct peer *peer, int how) {
    struct epoll_event event = {.events = how, .data.u32 = peer - peers};
    if (epoll_ctl(poller, peer->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, peer->fd, &event)) fail("epoll: %s", strerror(errno));
    peer->registered = 1;
}

/* Read and write what can be read and written, or wait so long for something. */
static int pump(int milliseconds) {
    struct epoll_event events[256];
    int some = epoll_wait(poller, events, 256, milliseconds), moved = 0;
    for (int n = 0; n < some; n++) {
        if (events[n].data.u32 == PEERS) {
            uint64_t ticks;
            if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) fail("timer");
            continue;
        }
        struct peer *peer = &peers[events[n].data.u32];
        if (events[n].events & EPOLLOUT) {
            ssize_t more = write(peer->fd, peer->out, peer->left > WRITE ? WRITE : peer->left);
            if (more < 0 && errno != EAGAIN) fail("peer %d cannot write: %s", (int)(peer - peers), strerror(errno));
            if (more > 0) { peer->out += more; peer->left -= more; moved = 1; }
            if (!peer->left) watch(peer, EPOLLIN);
        }
        if (events[n].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !peer->frozen && peer_read(peer)) {
            moved = 1;
            if (!first_octet) first_octet = now();
        }
    }
    if (moved) last_octet = now();
    return moved;
}

/* Read what has come so far, as End-of-RIB; what follows is measured. */
static void begin(void) {
    while (pump(0)) {}
    begun = last_octet = now();
    cpu_begun = cpu();
    first_octet = 0;
}

static struct peer *incomplete(void) {
    for (struct peer *peer = peers; peer < peers + count; peer++)
        if (peer->fd >= 0 && (peer->left || !peer_complete(peer))) return peer;
    return 0;
}

static void until_complete(void) {
    struct peer *peer;
    while ((peer = incomplete())) {
        /* the same one is most often not complete yet */
        while (peer->left || !peer_complete(peer)) {
            pump(1000);
            if (now() - last_octet < idle) continue;
            const struct view *view = peer->follows ? &peer->class->line.view : &peer->own;
            fail("peer %d holds %zu routes, to hold are %zu%s, first at %s; %zu octets left to send; nothing comes any more",
                 (int)(peer - peers), view->count, peer->class->want.count,
                 view->count == peer->class->want.count ? ", with other attributes" : "",
                 first_difference(view, &peer->class->want), peer->left);
        }
    }
}

static const struct file *wanted(int number) {
    if (number >= files) fail("no file %d", number);
    return number < 0 ? 0 : &file[number];
}

static struct class *class_new(const char *name, int want) {
    static const char *names[] = {"plain", "as2", "add-path", "internal", "copier"};
    struct class *class = calloc(1, sizeof *class);
    while (strcmp(names[class->variant], name)) if (++class->variant > COPIER) fail("no variant %s", name);
    class_want(class, wanted(want));
    return class;
}

static void dial(int more, struct class *class, int small) {
    if (count + more > PEERS) fail("too many peers");
    for (; more--; count++) {
        peers[count].class = class;
        peer_dial(&peers[count], address, port, hold_time, count, small);
        watch(&peers[count], EPOLLIN);
    }
}

static void table(char *names) {
    size_t octets = 0;
    for (char *name = strtok(names, " \n"); name; name = strtok(0, " \n")) {
        FILE *from = fopen(name, "rb");
        if (!from || files == 64) fail("%s: %s", name, strerror(errno));
        fseek(from, 0, SEEK_END);
        struct file *into = &file[files++];
        into->size = ftell(from);
        into->data = malloc(into->size + 1);
        rewind(from);
        if (fread(into->data, 1, into->size, from) != into->size) fail("%s: %s", name, strerror(errno));
        fclose(from);
        octets += into->size;
    }
    prefix_table(octets / 4 + 16);   /* an IPv4 prefix has two octets or more, mostly four: the table is at most half full */
    for (int i = 0; i < files; i++) {
        struct view view = {0};
        view_new(&view);
        view_file(&view, &file[i], PLAIN, 1);
        free(view.held);
    }
    printf("OK prefixes=%d\n", prefix_count());
}

static void churn(int sender, int rate, double seconds, int frozen) {
    size_t updates = rate * seconds, next = 0;
    uint8_t message[128] = {[16] = 0, [18] = 2};
    struct class *last = 0;
    double late = 0;
    if ((size_t)prefix_count() < updates) fail("fewer prefixes than UPDATEs");
    memset(message, 0xff, 16);
    memcpy(message + 21, "\0\x1f\x40\1\1\0\x40\2\x0a\2\2\0\0\0\0\0\0\0\7\x40\3\4\xc0\0\2\1\x80\4\4", 29);
    uint32_t as = 4200000000u + sender;
    for (int i = 0; i < 4; i++) message[32 + i] = as >> (24 - 8 * i);
    for (int i = 0; i < count; i++) {
        if (peers[i].fd < 0 || i == sender) continue;
        peer_detach(&peers[i]);
        peers[i].frozen = i >= count - frozen;
        if (peers[i].frozen) epoll_ctl(poller, EPOLL_CTL_DEL, peers[i].fd, 0), peers[i].registered = 0;
    }
    peers[sender].untimed = 1;
    delays_start(updates, count - 1 - frozen);
    struct itimerspec ticks = {.it_interval.tv_nsec = 1000000000L / rate, .it_value.tv_nsec = 1};
    timerfd_settime(timer, 0, &ticks, 0);
    begin();
    while (next < updates) {
        pump(100);
        for (double due; next < updates && (due = begun + (double)next / rate) <= now(); next++) {
            uint32_t sequence = 0x40000000 + next;
            for (int i = 0; i < 4; i++) message[50 + i] = sequence >> (24 - 8 * i);
            size_t size = BLOCK + prefix_octets((uint64_t)next * 7919 % prefix_count(), message + BLOCK);
            message[17] = size;
            delays_now(0);
            for (int i = 0; i < count; last = peers[i++].class)
                /* a sender that holds something gets its own routes back */
                if ((i != sender || peers[i].class->want.count) && peers[i].fd >= 0 && peers[i].class != last)
                    view_apply(&peers[i].class->want, message, size, PLAIN);
            double when = now();
            if (when - due > late) late = when - due;
            delay_sent(next, when);
            while (write(peers[sender].fd, message, size) < 0) {
                if (errno != EAGAIN) fail("churn: %s", strerror(errno));
                pump(1);
            }
        }
    }
    memset(&ticks, 0, sizeof ticks);
    timerfd_settime(timer, 0, &ticks, 0);
    for (int i = 0; i < count - frozen; i++)
        while (peers[i].fd >= 0 && !peer_complete(&peers[i])) {
            pump(1000);
            if (now() - last_octet > idle) fail("after the churn peer %d does not hold what it is to", i);
        }
    done();
    delays_say();
    printf(" late_ms=%.3f updates=%zu\n", 1e3 * late, updates);
    for (int i = count - frozen; i < count; i++) {
        peers[i].frozen = 0;
        watch(&peers[i], EPOLLIN);
    }
    last_octet = now();
    until_complete();
}

static void leave(int sender, int want) {
    static const char cease[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\x15\3\6\3";
    struct class *last = 0;
    for (int i = 0; i < count; last = peers[i++].class)
        if (i != sender && peers[i].class != last) class_want(peers[i].class, wanted(want));
    begin();
    if (write(peers[sender].fd, cease, 21) != 21) fail("NOTIFICATION: %s", strerror(errno));
    close(peers[sender].fd);
    peers[sender].fd = -1;
    until_complete();
}

int main(int argc, char **argv) {
    static char line[1 << 16];
    int number, want, rate, small, used;
    double seconds;
    char variant[16];
    if (argc < 5) return 2;
    address = argv[1];
    port = atoi(argv[2]);
    hold_time = atoi(argv[3]);
    idle = atoi(argv[4]);
    setvbuf(stdout, 0, _IOLBF, 0);
    poller = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = PEERS};
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
    while (fgets(line, sizeof line, stdin)) {
        if (!strncmp(line, "table ", 6)) table(line + 6);
        else if (sscanf(line, "connect %d %15s %d %d", &number, variant, &want, &small) == 4) {
            begin();
            dial(number, class_new(variant, want), small);
            for (int i = 0; i < count; i++)
                while (peers[i].fd >= 0 && !peers[i].up) {
                    pump(1000);
                    if (now() - last_octet > idle) fail("session %d is not established", i);
                }
            done();
            printf("\n");
        } else if (!strncmp(line, "send", 4)) {
            begin();
            for (char *at = line + 4; sscanf(at, " %d:%d%n", &want, &number, &used) == 2; at += used) {
                peers[number].out = wanted(want)->data;
                peers[number].left = wanted(want)->size;
                watch(&peers[number], EPOLLIN | EPOLLOUT);
            }
            until_complete();
            done();
            printf("\n");
        } else if (sscanf(line, "join %d %15s %d", &number, variant, &want) == 3) {
            struct class *class = class_new(variant, want);
            begin();
            dial(number, class, 0);
            until_complete();
            done();
            printf("\n");
        } else if (sscanf(line, "churn %d %d %lf %d", &number, &rate, &seconds, &small) == 4) churn(number, rate, seconds, small);
        else if (sscanf(line, "leave %d %d", &number, &want) == 2) {
            leave(number, want);
            done();
            printf("\n");
        } else if (!strncmp(line, "check", 5)) {
            while (pump(50)) {}
            struct peer *peer = incomplete();
            if (peer) fail("peer %d no longer holds what it is to", (int)(peer - peers));
            printf("OK\n");
        } else fail("no such command: %s", line);
    }
    return 0;
}
