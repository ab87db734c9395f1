/* What the files of the load generator share. See main.c for what it does. */
#ifndef LOAD_H
#define LOAD_H
#include <stddef.h>
#include <stdint.h>

enum variant { PLAIN, AS2, ADD_PATH, INTERNAL, COPIER };

/* A routing table: for each prefix number a digest of its route's attributes, 0 if there is none. The sum says in 64 bits
 * what is in it, whatever way it came about. */
struct view { uint32_t *held; uint64_t sum; size_t count; };

/* The octets that the receivers of a class got after their first KEEPALIVE, as the first of them to get that far got
 * them, and what they amount to. A receiver whose octets are the same needs no table of its own. */
struct timeline { uint8_t *octets; size_t size, room, parsed; struct view view; int complete; size_t complete_at; };

/* Receivers that negotiated the same, joined in the same phase, and are to hold the same. */
struct class { enum variant variant; struct view want; struct timeline line; };

struct peer {
    int fd, up, frozen, registered, untimed;
    struct class *class;
    int follows;            /* its octets so far are the first `position` of the timeline */
    size_t position;
    struct view own;        /* if it does not follow */
    uint8_t *rest;          /* the beginning of a message */
    size_t fill;
    const uint8_t *out;     /* what it has to say */
    size_t left;
};

struct file { uint8_t *data; size_t size, messages, prefixes; };

/* table.c */
void prefix_table(size_t prefixes);
void view_new(struct view *view);
void view_file(struct view *view, const struct file *file, enum variant variant, int learn);
void view_apply(struct view *view, const uint8_t *message, size_t size, enum variant variant);
int view_equal(const struct view *one, const struct view *other);
const char *first_difference(const struct view *one, const struct view *other);
int prefix_count(void);
size_t prefix_octets(uint32_t number, uint8_t *into);

/* delay.c */
void delays_start(size_t updates, size_t receivers);
void delay_sent(uint32_t sequence, double when);
void delay_seen(uint32_t sequence);
void delays_now(double when);
int delays_wanted(void);
void delays_say(void);

/* peer.c */
void peer_dial(struct peer *peer, const char *address, int port, int hold_time, int index, int small);
int peer_read(struct peer *peer);
int peer_complete(const struct peer *peer);
void peer_detach(struct peer *peer);
void class_want(struct class *class, const struct file *file);
void class_recheck(struct class *class);

/* main.c */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
double now(void);
#endif
