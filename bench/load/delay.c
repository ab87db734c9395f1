/* How long UPDATEs take from being written by the sender to being read by a receiver. */
#include <stdio.h>
#include <stdlib.h>
#include "load.h"

static double *sent, arrived;
static float *delays;
static size_t updates, taken, room;

void delays_start(size_t count, size_t receivers) {
    updates = count;
    room = count * receivers;
    taken = 0;
    sent = calloc(count, sizeof *sent);
    delays = calloc(room + 1, sizeof *delays);
}

int delays_wanted(void) { return sent != 0; }

void delay_sent(uint32_t sequence, double when) { sent[sequence] = when; }

/* When what is parsed now was read. */
void delays_now(double when) { arrived = when; }

/* The UPDATE with that MULTI_EXIT_DISC has come. Those of the table before carry others: they are not timed. */
void delay_seen(uint32_t sequence) {
    sequence -= 0x40000000;
    if (sequence < updates && sent[sequence] > 0 && arrived > 0 && taken < room) delays[taken++] = arrived - sent[sequence];
}

static int compare(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

/* Milliseconds, and how many of all that were to come did. */
void delays_say(void) {
    qsort(delays, taken, sizeof *delays, compare);
    if (!taken) fail("no UPDATE arrived");
    printf(" p50_ms=%.3f p99_ms=%.3f max_ms=%.3f timed=%zu of=%zu", 1e3 * delays[taken / 2],
           1e3 * delays[taken * 99 / 100], 1e3 * delays[taken - 1], taken, room);
    free(sent);
    free(delays);
    sent = 0;
}
