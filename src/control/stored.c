/* What src/control/stored.h's two commands share. */
#include "stored.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ringtail/base/clock.h"
#include "ringtail/control/daemon.h"
#include "ringtail/record/source.h"

void stored_complain(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    (void)fputs("ringtail: ", stderr);
    (void)vfprintf(stderr, format, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
}

bool stored_from_ns(const struct stored_query *query, int64_t *ret)
{
    bool is_now;

    *ret = INT64_MIN;
    if (!query->from || config_since_parse(query->from, clock_wall_ns(), ret, &is_now) == 0)
        return true;
    stored_complain("--from: \"%s\" is no time (a duration back such as 1h30m, or a timestamp)",
                    query->from);
    return false;
}

bool stored_is_wanted(const struct stored_query *query, int64_t from_ns, struct slice id,
                      struct slice name, int64_t ts_ns)
{
    struct slice wanted;

    if (ts_ns < from_ns)
        return false;
    if (!query->container)
        return true;
    wanted = slice_str(query->container);
    return slice_eq(wanted, name) || (wanted.len >= SOURCE_ID_SHORT_LEN && wanted.len <= id.len &&
                                      memcmp(wanted.data, id.data, wanted.len) == 0);
}

int stored_finish(int exit_code)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        stored_complain("the output can't be written");
        return EXIT_FAILED;
    }
    return exit_code;
}
