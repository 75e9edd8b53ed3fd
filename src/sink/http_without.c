/* include/ringtail/sink/http.h in a build without libcurl's headers: there are no transports. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "ringtail/sink/http.h"

struct http_client {
    struct ring *ring;
};

int http_client_create(struct ring *ring, struct http_client **ret)
{
    struct http_client *client = calloc(1, sizeof *client);

    if (!client)
        return -ENOMEM;
    client->ring = ring;
    *ret = client;
    return 0;
}

struct http_client *http_client_destroy(struct http_client *client)
{
    free(client);
    return NULL;
}

int http_transport_create(struct http_client *client, const struct http_transport_options *options,
                          struct transport **ret, char *why, size_t why_size)
{
    (void)snprintf(why, why_size, "this ringtail is built without HTTP sinks (-Dhttp=disabled)");
    return -EOPNOTSUPP;
}

int http_transport_reach(struct transport *transport, int64_t timeout_ms, char *why,
                         size_t why_size)
{
    (void)snprintf(why, why_size, "this ringtail is built without HTTP sinks (-Dhttp=disabled)");
    return -EOPNOTSUPP;
}

void http_transport_stats(const struct transport *t, struct http_transport_stats *ret)
{
    *ret = (struct http_transport_stats){0};
}
