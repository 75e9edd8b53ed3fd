/*
 * Calls of libcurl and librdkafka that fail when whoever is linked with tests/unit/sink/failing_*.c
 * and -Wl,--wrap=curl_calls_load or --wrap=rdkafka_load says so. Of their functions those are taken
 * that have a way to fail.
 */
#pragma once

#include <stdbool.h>

/** The user's: whether the call that is being made has to fail. Any thread. */
bool failing_curl_must_fail(void);
bool failing_kafka_must_fail(void);

/** Called for curl_global_init; NULL: itself is. */
extern int (*failing_curl_global_init)(long flags);
