/* See books.h. */
#include "books.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "support/metrics_page.h"

#include "admin_peer.h"

#define PREFIX "log_capturer_"
#define LABELS_MAX 400

static double sum_of(const struct buf *page, const char *name, const char *labels)
{
    char beginning[LABELS_MAX + 80];
    double sum;

    snprintf(beginning, sizeof beginning, PREFIX "%s{%s", name, labels);
    sum = metrics_page_sum(page, beginning);
    return isnan(sum) ? 0 : sum;
}

/* `labels` begin those of the sink's series, and are closed by the brace or by the reason. */
static bool adds_up(const struct buf *page, const char *of, double read, const char *labels,
                    char *why, size_t why_size)
{
    static const char *const accounts[] = {"found_total", "settled_total", "queued", "spooled",
                                           "lost_total"};
    double value[ARRAY_SIZE(accounts)], sum = 0;
    char name[80];

    for (size_t i = 0; i < ARRAY_SIZE(accounts); i++) {
        snprintf(name, sizeof name, "%s%s", of, accounts[i]);
        value[i] = sum_of(page, name, labels);
        sum += i > 0 ? value[i] : 0;
    }
    if (read + value[0] == sum)
        return true;
    snprintf(why, why_size,
             "%s: read %.0f + found %.0f is not settled %.0f + queued %.0f + "
             "spooled %.0f + lost %.0f",
             labels, read, value[0], value[1], value[2], value[3], value[4]);
    return false;
}

/* The labels of a series, as they stand between its braces. */
static const char *labels_of(struct slice line, char labels[static LABELS_MAX])
{
    const char *from = memchr(line.data, '{', line.len), *to = memrchr(line.data, '}', line.len);

    labels[0] = '\0';
    if (from && to)
        snprintf(labels, LABELS_MAX, "%.*s", (int)(to - from - 1), from + 1);
    return labels;
}

bool books_add_up(const struct buf *page, char *why, size_t why_size)
{
    struct slice rest = buf_slice(page), line;
    char labels[LABELS_MAX];
    double settled, read = metrics_page_value(page, PREFIX "records_read_total ");

    while (metrics_page_next(&rest, PREFIX "records_settled_total{", &line, &settled))
        if (!adds_up(page, "records_", read, labels_of(line, labels), why, why_size))
            return false;
    rest = buf_slice(page);
    while (metrics_page_next(&rest, PREFIX "container_records_settled_total{", &line, &settled)) {
        char *sink;

        labels_of(line, labels);
        sink = strstr(labels, ",sink=\"");
        assert_non_null(sink);
        *sink = '\0';
        read = sum_of(page, "container_lines_total", labels);
        *sink = ',';
        if (!adds_up(page, "container_records_", read, labels, why, why_size))
            return false;
    }
    return true;
}

void books_check(struct world *w)
{
    struct buf page = {0};
    char why[1024] = "";
    int64_t port;

    if (ringtail_proc_poll(&w->ringtail))
        return;
    port = ringtail_proc_log_number(&w->ringtail, "Admin endpoint", "port");
    if (port > 0 && admin_peer_get((uint16_t)port, &page) && !books_add_up(&page, why, sizeof why))
        world_fail(w, "the books do not add up: %s", why);
    buf_finish(&page);
}

double books_sum(struct world *w, const char *beginning)
{
    struct buf page = {0};
    char why[1024] = "", name[160];
    double sum;

    if (!admin_peer_get(admin_peer_port(w), &page))
        world_fail(w, "no answer from /metrics");
    if (!books_add_up(&page, why, sizeof why))
        world_fail(w, "the books do not add up: %s", why);
    snprintf(name, sizeof name, PREFIX "%s", beginning);
    sum = metrics_page_sum(&page, name);
    buf_finish(&page);
    return isnan(sum) ? 0 : sum;
}
