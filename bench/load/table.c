/* Prefixes by number, and tables of routes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "load.h"

static uint64_t *keys;      /* open addressing; 0 is free */
static uint32_t *numbers;
static uint64_t *by_number;
static size_t slots;
static uint32_t known;

static uint64_t mix(uint64_t h) {
    h ^= h >> 33; h *= 0xff51afd7ed558ccdULL; h ^= h >> 33; h *= 0xc4ceb9fe1a85ec53ULL;
    return h ^ (h >> 33);
}

static uint64_t hash(const uint8_t *data, size_t size, uint64_t h) {
    uint64_t word;
    for (; size >= 8; data += 8, size -= 8) { memcpy(&word, data, 8); h = mix(h ^ word); }
    word = size;
    for (size_t i = 0; i < size; i++) word = word << 8 | data[i];
    return mix(h ^ word);
}

/* Make room for that many prefixes; called once. */
void prefix_table(size_t prefixes) {
    for (slots = 1024; slots < 2 * prefixes; slots *= 2) {}
    keys = calloc(slots, sizeof *keys);
    numbers = calloc(slots, sizeof *numbers);
    by_number = calloc(prefixes + 2, sizeof *by_number);
}

int prefix_count(void) { return known; }

/* The number of a prefix. Prefixes mostly come in the order in which they were learned, or in the opposite one, so the
 * neighbours of the one before are tried first. */
static uint32_t number_of(const uint8_t *nlri, int learn) {
    static uint32_t last;
    uint64_t key = 1;
    if (nlri[0] > 32) fail("a prefix of %d bits", nlri[0]);
    for (size_t i = 0, octets = 1 + (nlri[0] + 7) / 8; i < octets; i++) key = key << 8 | nlri[i];
    if (last + 1 < known && by_number[last + 1] == key) return ++last;
    if (last && by_number[last - 1] == key) return --last;
    size_t slot = mix(key) & (slots - 1);
    while (keys[slot] && keys[slot] != key) slot = (slot + 1) & (slots - 1);
    if (!keys[slot]) {
        if (!learn) fail("a prefix that nobody announced: %d.%d.%d.%d/%d", nlri[1], nlri[0] > 8 ? nlri[2] : 0,
                         nlri[0] > 16 ? nlri[3] : 0, nlri[0] > 24 ? nlri[4] : 0, nlri[0]);
        keys[slot] = key;
        numbers[slot] = known;
        by_number[known++] = key;
    }
    return last = numbers[slot];
}

/* Write prefix `number` as NLRI; how many octets. */
size_t prefix_octets(uint32_t number, uint8_t *into) {
    uint64_t key = by_number[number];
    size_t octets = 0;
    while (key >> (8 * octets) > 1) octets++;
    for (size_t i = 0; i < octets; i++) into[i] = key >> (8 * (octets - 1 - i));
    return octets;
}

/* Values of a list attribute, in whatever order and however often they come: daemons sort communities. */
static uint64_t unordered(const uint8_t *data, size_t size, size_t each, uint64_t seed) {
    uint64_t sum = seed;
    for (size_t at = 0; at + each <= size; at += each) {
        size_t before = 0;
        while (before < at && memcmp(data + before, data + at, each)) before += each;
        if (before == at) sum += hash(data + at, each, seed);
    }
    return mix(sum);
}

/* Attributes are summed, so that their order does not matter; of the flags, extended length and partial do not. What a
 * daemon has to change for a kind of receiver does not count: AS_PATH and its kin for old AS numbers, LOCAL_PREF,
 * ORIGINATOR_ID and CLUSTER_LIST for internal ones. */
static uint32_t digest(const uint8_t *data, const uint8_t *end, enum variant variant) {
    static const uint64_t ignored[] = {[AS2] = 1 << 2 | 1 << 7 | 1 << 17 | 1 << 18, [INTERNAL] = 1 << 5 | 1 << 9 | 1 << 10,
                                       [COPIER] = 0};
    uint64_t sum = 1;
    while (data + 3 <= end) {
        size_t header = data[0] & 0x10 ? 4 : 3, size = header == 4 ? data[2] << 8 | data[3] : data[2];
        uint8_t type = data[1];
        uint64_t seed = type * 0x9e3779b97f4a7c15ULL + 1;
        size_t each = type == 8 ? 4 : type == 16 ? 8 : type == 32 ? 12 : 0;
        if (type == 4 && delays_wanted()) delay_seen((uint32_t)data[3] << 24 | data[4] << 16 | data[5] << 8 | data[6]);
        if (type > 63 || !(ignored[variant] >> type & 1))
            sum += each ? unordered(data + header, size, each, seed) : hash(data + header, size, seed);
        data += header + size;
    }
    uint32_t folded = sum ^ sum >> 32;
    return folded ? folded : 1;
}

static void set(struct view *view, uint32_t number, uint32_t to) {
    uint32_t had = view->held[number];
    if (had) { view->sum -= mix((uint64_t)number << 32 | had); view->count--; }
    if (to) { view->sum += mix((uint64_t)number << 32 | to); view->count++; }
    view->held[number] = to;
}

void view_new(struct view *view) {
    free(view->held);
    *view = (struct view){.held = calloc(slots / 2 + 2, sizeof *view->held)};
}

static void apply(struct view *view, const uint8_t *message, size_t size, enum variant variant, int learn) {
    if (message[18] != 2) return;
    const uint8_t *end = message + size, *data = message + 21, *stop = data + (message[19] << 8 | message[20]);
    size_t identifier = variant == ADD_PATH ? 4 : 0;
    for (; data < stop; data += 1 + (data[0] + 7) / 8) {
        data += identifier;
        set(view, number_of(data, learn), 0);
    }
    stop = data + 2 + (data[0] << 8 | data[1]);
    if (stop > end) fail("a malformed UPDATE");
    data += 2;
    if (stop == end) return;
    uint32_t attributes = digest(data, stop, variant);
    for (data = stop; data < end; data += 1 + (data[0] + 7) / 8) {
        data += identifier;
        set(view, number_of(data, learn), attributes);
    }
}

void view_apply(struct view *view, const uint8_t *message, size_t size, enum variant variant) {
    apply(view, message, size, variant, 0);
}

/* All messages of a file, none of which has path identifiers. */
void view_file(struct view *view, const struct file *file, enum variant variant, int learn) {
    for (size_t at = 0, size; at < file->size; at += size) {
        size = file->data[at + 16] << 8 | file->data[at + 17];
        apply(view, file->data + at, size, variant == ADD_PATH ? PLAIN : variant, learn);
    }
}

int view_equal(const struct view *one, const struct view *other) {
    return one->sum == other->sum && one->count == other->count;
}

/* The prefix with the least number of which they have different routes, as text. */
const char *first_difference(const struct view *one, const struct view *other) {
    static char text[32];
    uint32_t number = 0;
    uint8_t nlri[8] = {0};
    while (number < known && one->held[number] == other->held[number]) number++;
    if (number == known) return "none";
    prefix_octets(number, nlri);
    snprintf(text, sizeof text, "%d.%d.%d.%d/%d", nlri[1], nlri[2], nlri[3], nlri[4], nlri[0]);
    return text;
}
