/*
 * record/splice against the model of an Engine: the input says what is written, cut, dropped and
 * asked, and whatever it is, what was delivered is the log. The first two bytes choose what may
 * happen.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/splice_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct choices choices = {.from_bytes = true};
    struct splice_model_options options = {.steps = 4096};
    struct splice_model_result result;

    if (size < 2)
        return 0;
    choices.bytes = data + 2;
    choices.left = size - 2;
    options.marks_max = 64u << (data[0] % 5);
    options.since = (enum splice_model_since)(data[0] / 5 % 3);
    options.engine_20_10 = data[1] & 2;
    /* What the Engines do not do, and what nobody could tell: a clock that is set back while
     * records are dropped, what 20.10's filter leaves of a line in equal parts that began before
     * the floor, and which of many lines of one nanosecond came behind a floor among them. */
    options.equal_lines = !options.engine_20_10 && (data[1] & 4);
    options.equal_parts =
        (data[1] & 1) && !(options.engine_20_10 && options.since != SPLICE_MODEL_ALL);
    options.clock_steps = (data[1] & 16) && data[1] % 16 == 0 && options.since == SPLICE_MODEL_ALL;
    options.drops = !options.clock_steps && (data[1] & 8);
    if (!options.engine_20_10 && !options.clock_steps && options.since != SPLICE_MODEL_NOW) {
        options.crowds = data[1] & 32;
        options.restarts = data[1] & 64;
    }
    splice_model_play(&choices, &options, &result);
    if (result.error[0]) {
        (void)fprintf(stderr, "%s\n", result.error);
        abort();
    }
    return 0;
}
