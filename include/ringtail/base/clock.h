/* The two clocks. Monotonic time schedules; wall-clock time is only ever data. */
#pragma once

#include <stdint.h>

/** CLOCK_MONOTONIC in nanoseconds. Any thread. */
int64_t clock_mono_ns(void);

/** CLOCK_REALTIME in nanoseconds since 1970. Any thread. */
int64_t clock_wall_ns(void);
