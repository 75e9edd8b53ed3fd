/*
 * Cursors, and the saver that writes their file. The image of the file is kept in memory and
 * written as a whole; what a failed write was to change is changed in the same slot again, as the
 * other one is the last that is known to be good.
 *
 * The first cursor is our own: it has no name and says where the log ended, so that what is missing
 * at the end is counted, and no place is used twice.
 */
#include "cursors.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/crc32c.h"
#include "ringtail/base/macros.h"

#include "private.h"

#define SLOT_MAGIC UINT32_C(0x726f6373)
#define PAUSE_MS 1000

/*
 *   IDLE ─► PAUSING ─► WRITING ─► SYNCING
 *    ▲         ▲ ▲        │          │
 *    │         │ └────────┴──────────┤  failed, or changed again
 *    └─────────┴─────────────────────┘
 */
static const uint32_t saver_edges[SAVER_STATE_COUNT] = {
    [SAVER_IDLE] = BIT(SAVER_PAUSING) | BIT(SAVER_WRITING),
    [SAVER_PAUSING] = BIT(SAVER_IDLE),
    [SAVER_WRITING] = BIT(SAVER_SYNCING) | BIT(SAVER_IDLE),
    [SAVER_SYNCING] = BIT(SAVER_IDLE),
};

static void saver_enter(struct saver *v, enum saver_state next)
{
    assert(saver_edges[v->state] & BIT(next));
    assert(!op_in_flight(&v->op));
    v->state = next;
}

/* ---- the file ---- */

/** As it lies on disk: little-endian, with the CRC over what is behind it. */
struct slot_bytes {
    uint32_t magic, crc;
    uint64_t sequence, at, record;
    char name[CURSOR_SLOT_BYTES - 32]; /* ends with a NUL, and is filled up with them */
};

static uint32_t slot_crc(const struct slot_bytes *b)
{
    return crc32c(0, slice_from(slice_of(b, sizeof *b), offsetof(struct slot_bytes, sequence)));
}

void cursor_slot_put(char out[CURSOR_SLOT_BYTES], uint64_t sequence, struct spool_place place,
                     const char *name)
{
    struct slot_bytes b = {
        .magic = htole32(SLOT_MAGIC),
        .sequence = htole64(sequence),
        .at = htole64(place.at),
        .record = htole64(place.record),
    };

    static_assert(sizeof b == CURSOR_SLOT_BYTES, "a slot has no gaps");
    memcpy(b.name, name, strlen(name));
    b.crc = htole32(slot_crc(&b));
    memcpy(out, &b, sizeof b);
}

static bool slot_parse(const char *in, struct cursor_slot *ret)
{
    struct slot_bytes b;
    size_t len;

    memcpy(&b, in, sizeof b);
    len = strnlen(b.name, sizeof b.name);
    if (le32toh(b.magic) != SLOT_MAGIC || le32toh(b.crc) != slot_crc(&b) ||
        len > SPOOL_CURSOR_NAME_MAX)
        return false;
    ret->sequence = le64toh(b.sequence);
    ret->place = (struct spool_place){.at = le64toh(b.at), .record = le64toh(b.record)};
    memcpy(ret->name, b.name, len + 1);
    return true;
}

enum cursor_pair cursor_pair_parse(struct slice file, size_t index, struct cursor_slot *ret)
{
    char pair[CURSOR_PAIR_BYTES] = {0};
    struct slice rest = slice_from(file, MIN(index * CURSOR_PAIR_BYTES, file.len));
    struct cursor_slot slots[2];
    bool is_whole[2];
    static const char none[CURSOR_PAIR_BYTES];

    memcpy(pair, rest.data, MIN(rest.len, sizeof pair));
    if (memcmp(pair, none, sizeof pair) == 0)
        return CURSOR_PAIR_EMPTY;
    for (size_t i = 0; i < 2; i++)
        is_whole[i] = slot_parse(pair + i * CURSOR_SLOT_BYTES, &slots[i]);
    if (!is_whole[0] && !is_whole[1])
        return CURSOR_PAIR_DAMAGED;
    if (is_whole[0] && is_whole[1])
        *ret = slots[slots[1].sequence > slots[0].sequence];
    else
        *ret = slots[is_whole[1]];
    return CURSOR_PAIR_WHOLE;
}

/* ---- cursors ---- */

static struct spool_cursor *own_cursor(const struct spool *s)
{
    return container_of(s->saver.cursors.next, struct spool_cursor, link);
}

/** A pair that no cursor has. */
static unsigned free_index(const struct spool *s)
{
    unsigned index = 0;
    bool is_taken;

    do {
        is_taken = false;
        index++;
        LIST_FOR_EACH_ENTRY (c, &s->saver.cursors, struct spool_cursor, link) {
            is_taken = is_taken || c->index == index;
        }
    } while (is_taken);
    return index;
}

static char *pair_of(const struct spool *s, unsigned index)
{
    return s->saver.image + index * CURSOR_PAIR_BYTES;
}

static struct spool_cursor *cursor_create(struct spool *s, const char *name, unsigned index)
{
    size_t size = strlen(name) + 1;
    struct spool_cursor *c;

    if (index > SPOOL_CURSORS_MAX)
        return NULL;
    c = calloc(1, sizeof *c + size);
    if (!c)
        return NULL;
    s->saver.image_len = MAX(s->saver.image_len, (index + 1) * CURSOR_PAIR_BYTES);
    memcpy(c->name, name, size);
    c->spool = s;
    c->index = index;
    list_append(&s->saver.cursors, &c->link);
    return c;
}

static struct spool_place oldest_place(const struct spool *s)
{
    if (list_is_empty(&s->segments))
        return s->end;
    return container_of(s->segments.next, struct spool_segment, link)->begin;
}

struct spool_cursor *spool_cursor_get(struct spool *s, const char *name)
{
    struct spool_cursor *c;

    LIST_FOR_EACH_ENTRY (known, &s->saver.cursors, struct spool_cursor, link) {
        if (*name && strcmp(known->name, name) == 0) {
            known->wanted = true;
            return known;
        }
    }
    if (!*name || strlen(name) > SPOOL_CURSOR_NAME_MAX)
        return NULL;
    c = cursor_create(s, name, free_index(s));
    if (!c)
        return NULL;
    c->wanted = c->changed = c->owed = true;
    c->place = s->saver.lost ? oldest_place(s) : SPOOL_NOTHING;
    s->saver.hurry = true;
    saver_go(s);
    return c;
}

void spool_cursor_set(struct spool_cursor *c, struct spool_place place)
{
    struct spool *s = c->spool;

    assert(spool_is_nothing(place) || spool_is_nothing(c->place) ||
           (place.at >= c->place.at && place.at <= s->end.at));
    if (place.at == c->place.at && place.record == c->place.record)
        return;
    if (spool_is_nothing(c->place))
        c->owed = s->saver.hurry = true;
    c->place = place;
    c->changed = true;
    saver_go(s);
    spool_drop(s);
}

uint16_t spool_cursor_bit(const struct spool_cursor *c)
{
    return (uint16_t)BIT(c->index - 1); /* the first pair is our own */
}

struct spool_place spool_cursor_place(const struct spool_cursor *c)
{
    return c->place;
}

void spool_forget_other_cursors(struct spool *s, spool_forgotten_fn fn, void *ctx)
{
    LIST_FOR_EACH_ENTRY (c, &s->saver.cursors, struct spool_cursor, link) {
        uint64_t behind = s->end.record - MIN(s->end.record, c->place.record);

        if (c->wanted)
            continue;
        s->stats.records_forgotten += behind;
        if (behind > 0)
            fn(ctx, c->name, behind);
        /* A write that is in flight may see this, and tears nothing that is needed. */
        memset(pair_of(s, c->index), 0, CURSOR_PAIR_BYTES);
        s->saver.image_changed = true;
        list_remove(&c->link);
        free(c);
    }
    saver_go(s);
    spool_drop(s);
}

bool saver_oldest(const struct spool *s, uint64_t *ret_at)
{
    bool has_any = false;

    *ret_at = s->end.at;
    LIST_FOR_EACH_ENTRY (c, &s->saver.cursors, struct spool_cursor, link) {
        if (c == own_cursor(s))
            continue;
        has_any = true; /* one for which nothing waits holds nothing back */
        *ret_at = MIN(*ret_at, c->place.at);
    }
    return has_any;
}

struct spool_place saver_furthest(const struct spool *s)
{
    struct spool_place furthest = {0};

    LIST_FOR_EACH_ENTRY (c, &s->saver.cursors, struct spool_cursor, link) {
        if (spool_is_nothing(c->place))
            continue;
        furthest.at = MAX(furthest.at, c->place.at);
        furthest.record = MAX(furthest.record, c->place.record);
    }
    return furthest;
}

bool saver_is_owed(const struct spool *s)
{
    LIST_FOR_EACH_ENTRY (c, &s->saver.cursors, struct spool_cursor, link) {
        if (c->owed && c != own_cursor(s))
            return true;
    }
    return false;
}

/* ---- saving ---- */

static bool is_changed(const struct spool *s)
{
    bool changed = s->saver.image_changed || own_cursor(s)->place.at != s->done.at;

    LIST_FOR_EACH_ENTRY (c, &s->saver.cursors, struct spool_cursor, link) {
        changed = changed || c->changed;
    }
    return changed;
}

static void begin_save(struct spool *s)
{
    struct saver *v = &s->saver;
    struct spool_cursor *own = own_cursor(s);

    v->hurry = v->image_changed = false;
    own->changed = own->changed || own->place.at != s->done.at;
    own->place = s->done;
    LIST_FOR_EACH_ENTRY (c, &v->cursors, struct spool_cursor, link) {
        uint64_t sequence = c->sequence + 1;

        if (!c->changed)
            continue;
        c->changed = false;
        c->saving = true;
        cursor_slot_put(pair_of(s, c->index) + sequence % 2 * CURSOR_SLOT_BYTES, sequence, c->place,
                        c->name);
    }
    v->saving_len = v->image_len;
    saver_enter(v, SAVER_WRITING);
    ring_write(s->ring, &v->op, v->fd, slice_of(v->image, v->image_len), 0);
}

static bool is_given_up(const struct spool *s)
{
    return s->aborted && s->saver.failed;
}

void saver_go(struct spool *s)
{
    struct saver *v = &s->saver;
    bool now = (v->hurry || s->finishing) && !v->failed;

    if (v->state == SAVER_PAUSING && (now || s->aborted))
        ring_cancel(s->ring, &v->op);
    if (v->state != SAVER_IDLE || !is_changed(s) || is_given_up(s))
        return;
    if (now) {
        begin_save(s);
        return;
    }
    saver_enter(v, SAVER_PAUSING);
    ring_timer(s->ring, &v->op, PAUSE_MS);
}

static void saved(struct spool *s, int res)
{
    struct saver *v = &s->saver;

    saver_enter(v, SAVER_IDLE);
    spool_note(s, PART_SAVER, res);
    v->failed = res < 0;
    v->image_changed = v->image_changed || v->failed;
    LIST_FOR_EACH_ENTRY (c, &v->cursors, struct spool_cursor, link) {
        if (c->saving && res >= 0) {
            c->sequence++;
            c->owed = c->owed && c->changed;
        }
        c->changed = c->changed || (c->saving && res < 0);
        c->saving = false;
    }
    writer_tell(s);
    saver_go(s);
}

static void on_op(struct op *op, int res)
{
    struct saver *v = container_of(op, struct saver, op);
    struct spool *s = container_of(v, struct spool, saver);

    switch (v->state) {
    case SAVER_PAUSING:
        saver_enter(v, SAVER_IDLE);
        if (is_given_up(s))
            writer_tell(s); /* what waits for a cursor to be saved waits for ever */
        else if (is_changed(s))
            begin_save(s);
        break;
    case SAVER_WRITING:
        if (res >= 0 && (size_t)res < v->saving_len)
            res = -EIO; /* all of it is written again */
        if (res < 0 || !spool_is_synced(s)) {
            saved(s, res);
            return;
        }
        saver_enter(v, SAVER_SYNCING);
        ring_fsync(s->ring, op, v->fd, true);
        break;
    case SAVER_SYNCING:
        saved(s, res == -EINVAL ? 0 : MIN(res, 0)); /* -EINVAL: it can't be synced there */
        break;
    case SAVER_IDLE:
    case SAVER_STATE_COUNT:
        assert(false); /* nothing is in flight in these */
    }
}

bool saver_is_idle(const struct spool *s)
{
    return s->saver.state == SAVER_IDLE && (!is_changed(s) || is_given_up(s));
}

/* ---- opening and ending ---- */

static int load(struct spool *s, size_t len)
{
    struct saver *v = &s->saver;
    struct cursor_slot slot;

    for (unsigned i = 0; i * CURSOR_PAIR_BYTES < len; i++) {
        enum cursor_pair pair = cursor_pair_parse(slice_of(v->image, len), i, &slot);
        struct spool_cursor *c;

        if (pair == CURSOR_PAIR_DAMAGED)
            v->lost = true;
        if (pair != CURSOR_PAIR_WHOLE || (i == 0) != (slot.name[0] == '\0'))
            continue;
        c = i == 0 ? own_cursor(s) : cursor_create(s, slot.name, i);
        if (!c)
            return -ENOMEM;
        c->place = slot.place;
        c->sequence = slot.sequence;
    }
    return 0;
}

int saver_open(struct spool *s, bool has_segments)
{
    struct saver *v = &s->saver;
    ssize_t n;

    v->op.done = on_op;
    v->image = calloc(1 + SPOOL_CURSORS_MAX, CURSOR_PAIR_BYTES);
    if (!v->image)
        return -ENOMEM;
    if (!cursor_create(s, "", 0))
        return -ENOMEM;
    own_cursor(s)->wanted = true;
    v->fd = openat(s->dir_fd, CURSORS_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
    if (v->fd < 0 && errno == ENOENT) {
        v->lost = has_segments;
        v->fd = openat(s->dir_fd, CURSORS_FILE,
                       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, SPOOL_FILE_MODE);
    }
    if (v->fd < 0)
        return -errno;
    n = pread(v->fd, v->image, (1 + SPOOL_CURSORS_MAX) * CURSOR_PAIR_BYTES, 0);
    return n < 0 ? -errno : load(s, (size_t)n);
}

void saver_close(struct spool *s)
{
    struct saver *v = &s->saver;

    LIST_FOR_EACH_ENTRY (c, &v->cursors, struct spool_cursor, link) {
        free(c);
    }
    if (v->fd >= 0)
        (void)close(v->fd); /* what could not be written was counted */
    free(v->image);
}
