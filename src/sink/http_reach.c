/* http_transport_reach: a connection like those of the requests, for its own sake. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

#include "http_private.h"

#define POLL_MS 100

/* Until it is there, has failed, or the time is over. */
static CURLcode connect_now(const struct curl_calls *curl, CURLM *multi, int64_t deadline_ns)
{
    int running = 1, left;
    const CURLMsg *message;

    while (running > 0 && clock_mono_ns() < deadline_ns) {
        if (curl->multi_perform(multi, &running) != CURLM_OK)
            return CURLE_FAILED_INIT;
        /* -1: it comes back early, and looks again. */
        if (running > 0)
            (void)curl->multi_poll(multi, NULL, 0, POLL_MS, NULL);
    }
    message = curl->multi_info_read(multi, &left);
    return message && message->msg == CURLMSG_DONE ? message->data.result
                                                   : CURLE_OPERATION_TIMEDOUT;
}

int http_transport_reach(struct transport *transport, int64_t timeout_ms, char *why,
                         size_t why_size)
{
    struct http_transport *t = container_of(transport, struct http_transport, transport);
    const struct curl_calls *curl = &t->client->curl;
    struct http_slot slot = {.transport = t};
    int64_t deadline_ns = clock_mono_ns() + timeout_ms * NSEC_PER_MSEC;
    CURLM *multi = curl->multi_init();
    CURLcode code = CURLE_OUT_OF_MEMORY;
    int r = multi ? http_slot_open(&slot, why, why_size) : -ENOMEM;

    if (r == 0 && curl->easy_setopt(slot.easy, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK &&
        curl->multi_add_handle(multi, slot.easy) == CURLM_OK) {
        code = connect_now(curl, multi, deadline_ns);
        (void)curl->multi_remove_handle(multi, slot.easy);
    }
    if (r == 0 && code != CURLE_OK) {
        (void)snprintf(why, why_size, "%s", slot.error[0] ? slot.error : curl->easy_strerror(code));
        r = code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EHOSTUNREACH;
    }
    http_slot_finish(&slot);
    if (multi)
        (void)curl->multi_cleanup(multi);
    return r;
}
