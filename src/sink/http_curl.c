/* Loading libcurl. It is never unloaded: libraries below it leave things behind for the exit. */
#include "http_curl.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

#include "ringtail/base/macros.h"

/* The name has been the same since 2006 (curl's docs/INTERNALS "ABI"); the second is Debian's for a
 * libcurl with GnuTLS. */
static const char *const library_names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};

static void *find(void *library, const char *name, char *why, size_t why_size)
{
    void *found = dlsym(library, name);

    if (!found)
        (void)snprintf(why, why_size, "libcurl has no %s: it is older than 7.68", name);
    return found;
}

int curl_calls_load(struct curl_calls *ret, char *why, size_t why_size)
{
    struct curl_calls calls;
    void *library = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(library_names) && !library; i++) {
        library = dlopen(library_names[i], RTLD_NOW | RTLD_LOCAL);
        if (!library && i == 0)
            (void)snprintf(why, why_size, "libcurl is missing (Debian's package libcurl4): %s",
                           dlerror());
    }
    if (!library)
        return -EOPNOTSUPP;
#define CURL_CALL_FIND(name)                                                                       \
    calls.name = (__typeof__(calls.name))find(library, "curl_" #name, why, why_size);              \
    if (!calls.name)                                                                               \
        return -EOPNOTSUPP;
    CURL_CALLS(CURL_CALL_FIND)
#undef CURL_CALL_FIND
    *ret = calls;
    return 0;
}
