#include "ringtail/spool/spool.h"
#include <errno.h>
int spool_append_batch(struct spool *s, struct spool_append *a, struct batch *batch, uint32_t sinks) { return -ENOSPC; }
uint64_t spool_end(const struct spool *s) { return 0; }
struct spool_cursor *spool_cursor_get(struct spool *s, const char *name) { return NULL; }
unsigned spool_cursor_number(const struct spool_cursor *c) { return 0; }
void spool_cursor_set(struct spool_cursor *c, uint64_t place) {}
uint64_t spool_cursor_place(const struct spool_cursor *c) { return 0; }
void spool_read_from(struct spool *s, struct spool_read *r, const struct spool_cursor *c, uint64_t place, size_t bytes_max) {}
const struct spool_stats *spool_stats_get(const struct spool *s) { return NULL; }
