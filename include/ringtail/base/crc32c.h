/*
 * CRC32C (Castagnoli), the checksum of what lies on disk: the processor's instruction where it has
 * one (SSE 4.2, ARMv8), a table elsewhere. Both give the same values, which a test pins.
 */
#pragma once

#include <stdint.h>

#include "ringtail/base/slice.h"

/** Goes on from `crc`, which is 0 at the beginning: any cut of the bytes gives the same. Any
 * thread. */
uint32_t crc32c(uint32_t crc, struct slice in);
