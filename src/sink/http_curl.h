/*
 * libcurl, loaded while running. Linked in the usual way it costs 6 MB of resident memory before
 * the first call to it, for its own libraries and their relocations, also where no sink uses HTTP.
 *
 * The functions are in a struct, by their own types; tests put others in their place.
 */
#pragma once

#include <stddef.h>

#include <curl/curl.h>

#define CURL_CALLS(X)                                                                              \
    X(global_init)                                                                                 \
    X(global_cleanup)                                                                              \
    X(free)                                                                                        \
    X(url)                                                                                         \
    X(url_cleanup)                                                                                 \
    X(url_get)                                                                                     \
    X(url_set)                                                                                     \
    X(easy_init)                                                                                   \
    X(easy_cleanup)                                                                                \
    X(easy_setopt)                                                                                 \
    X(easy_getinfo)                                                                                \
    X(easy_strerror)                                                                               \
    X(multi_init)                                                                                  \
    X(multi_cleanup)                                                                               \
    X(multi_add_handle)                                                                            \
    X(multi_remove_handle)                                                                         \
    X(multi_perform)                                                                               \
    X(multi_poll)                                                                                  \
    X(multi_wakeup)                                                                                \
    X(multi_info_read)                                                                             \
    X(multi_strerror)

struct curl_calls {
#define CURL_CALL_MEMBER(name) __typeof__(curl_##name) *name;
    CURL_CALLS(CURL_CALL_MEMBER)
#undef CURL_CALL_MEMBER
};

/**
 * Loads the library, which stays loaded. Any thread. returns: 0; -EOPNOTSUPP with the reason in
 * `why`.
 */
int curl_calls_load(struct curl_calls *ret, char *why, size_t why_size);
