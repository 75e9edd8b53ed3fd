/* tests/support/failing_libraries.h. */
#include "support/failing_libraries.h"

#include <stdarg.h>
#include <stddef.h>

#include "sink/http_curl.h"

int __real_curl_calls_load(struct curl_calls *ret, char *why, size_t why_size);
int __wrap_curl_calls_load(struct curl_calls *ret, char *why, size_t why_size);

int (*failing_curl_global_init)(long flags);

static struct curl_calls real;

static CURLcode failing_global_init(long flags)
{
    if (failing_curl_must_fail())
        return CURLE_FAILED_INIT;
    return failing_curl_global_init ? (CURLcode)failing_curl_global_init(flags)
                                    : real.global_init(flags);
}

static CURLU *failing_url(void)
{
    return failing_curl_must_fail() ? NULL : real.url();
}

/* Whether the address is const depends on libcurl's release. */
static CURLUcode failing_url_get(CURLU *url, CURLUPart part, char **ret, unsigned flags)
{
    return failing_curl_must_fail() ? CURLUE_OUT_OF_MEMORY : real.url_get(url, part, ret, flags);
}

static CURLUcode failing_url_set(CURLU *url, CURLUPart part, const char *text, unsigned flags)
{
    return failing_curl_must_fail() ? CURLUE_OUT_OF_MEMORY : real.url_set(url, part, text, flags);
}

static CURL *failing_easy_init(void)
{
    return failing_curl_must_fail() ? NULL : real.easy_init();
}

/** Numbers, pointers and offsets are told apart by the option's range (curl.h, CURLOPTTYPE_*). */
static CURLcode failing_easy_setopt(CURL *easy, CURLoption option, ...)
{
    CURLcode code;
    va_list ap;

    if (failing_curl_must_fail())
        return CURLE_OUT_OF_MEMORY;
    va_start(ap, option);
    if ((int)option < CURLOPTTYPE_OBJECTPOINT)
        code = real.easy_setopt(easy, option, va_arg(ap, long));
    else if ((int)option < CURLOPTTYPE_FUNCTIONPOINT || (int)option >= CURLOPTTYPE_BLOB)
        code = real.easy_setopt(easy, option, va_arg(ap, void *));
    else if ((int)option < CURLOPTTYPE_OFF_T)
        code = real.easy_setopt(easy, option, va_arg(ap, curl_write_callback));
    else
        code = real.easy_setopt(easy, option, va_arg(ap, curl_off_t));
    va_end(ap);
    return code;
}

static CURLcode failing_easy_getinfo(CURL *easy, CURLINFO info, ...)
{
    CURLcode code;
    va_list ap;

    if (failing_curl_must_fail())
        return CURLE_BAD_FUNCTION_ARGUMENT;
    va_start(ap, info);
    code = real.easy_getinfo(easy, info, va_arg(ap, long *));
    va_end(ap);
    return code;
}

static CURLM *failing_multi_init(void)
{
    return failing_curl_must_fail() ? NULL : real.multi_init();
}

static CURLMcode failing_multi_add_handle(CURLM *multi, CURL *easy)
{
    return failing_curl_must_fail() ? CURLM_OUT_OF_MEMORY : real.multi_add_handle(multi, easy);
}

static CURLMcode failing_multi_remove_handle(CURLM *multi, CURL *easy)
{
    return failing_curl_must_fail() ? CURLM_INTERNAL_ERROR : real.multi_remove_handle(multi, easy);
}

static CURLMcode failing_multi_perform(CURLM *multi, int *running)
{
    return failing_curl_must_fail() ? CURLM_OUT_OF_MEMORY : real.multi_perform(multi, running);
}

static CURLMcode failing_multi_poll(CURLM *multi, struct curl_waitfd *more, unsigned count,
                                    int timeout_ms, int *ready)
{
    return failing_curl_must_fail() ? CURLM_OUT_OF_MEMORY
                                    : real.multi_poll(multi, more, count, timeout_ms, ready);
}

static CURLMcode failing_multi_wakeup(CURLM *multi)
{
    return failing_curl_must_fail() ? CURLM_WAKEUP_FAILURE : real.multi_wakeup(multi);
}

static CURLMsg *failing_multi_info_read(CURLM *multi, int *left)
{
    return failing_curl_must_fail() ? NULL : real.multi_info_read(multi, left);
}

int __wrap_curl_calls_load(struct curl_calls *calls, char *why, size_t why_size)
{
    int r = __real_curl_calls_load(&real, why, why_size);

    if (r < 0)
        return r;
    *calls = real;
    calls->global_init = failing_global_init;
    calls->url = failing_url;
    calls->url_get = (__typeof__(calls->url_get))(void *)failing_url_get;
    calls->url_set = failing_url_set;
    calls->easy_init = failing_easy_init;
    calls->easy_setopt = failing_easy_setopt;
    calls->easy_getinfo = failing_easy_getinfo;
    calls->multi_init = failing_multi_init;
    calls->multi_add_handle = failing_multi_add_handle;
    calls->multi_remove_handle = failing_multi_remove_handle;
    calls->multi_perform = failing_multi_perform;
    calls->multi_poll = failing_multi_poll;
    calls->multi_wakeup = failing_multi_wakeup;
    calls->multi_info_read = failing_multi_info_read;
    return 0;
}
