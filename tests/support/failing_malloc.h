/*
 * Allocations that fail when a test says so: for programs that are linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc. While they are counted, `until_failure` go well
 * and then `failures` of them fail.
 */
#pragma once

#include <stdbool.h>

struct failing_malloc {
    bool counting;
    unsigned until_failure, failures;
    unsigned failed; /* so far; the test sets it back */
};

extern struct failing_malloc failing_malloc;
