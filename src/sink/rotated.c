/* sink/rotated.h. */
#include "ringtail/sink/rotated.h"

#include <stdio.h>
#include <string.h>

static const char *const form_ends[ROTATED_FORM_COUNT] = {
    [ROTATED_PLAIN] = "",
    [ROTATED_GZIP] = ".gz",
    [ROTATED_ZSTD] = ".zst",
    [ROTATED_TEMPORARY] = ".tmp",
};

/** Parses `.123` at the end of the first `len` bytes: a number as we write it. */
static bool parse_number(const char *name, size_t len, struct rotated_name *ret)
{
    size_t digits = len;
    uint64_t number = 0;

    while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9')
        digits--;
    if (digits == len || len - digits > 10 || name[digits] == '0' || digits < 2 ||
        name[digits - 1] != '.' || name[digits - 2] == '/')
        return false;
    for (size_t i = digits; i < len; i++)
        number = number * 10 + (uint64_t)(name[i] - '0');
    if (number > UINT32_MAX)
        return false;
    ret->base_len = digits - 1;
    ret->number = (uint32_t)number;
    return true;
}

bool rotated_parse(const char *name, struct rotated_name *ret)
{
    size_t len = strlen(name);

    for (enum rotated_form form = ROTATED_PLAIN; form < ROTATED_FORM_COUNT; form++) {
        size_t end_len = strlen(form_ends[form]);

        if (len < end_len || strcmp(name + len - end_len, form_ends[form]) != 0)
            continue;
        ret->form = form;
        if (parse_number(name, len - end_len, ret))
            return true;
    }
    return false;
}

void rotated_print(char *out, size_t out_size, const char *base, uint32_t number,
                   enum rotated_form form)
{
    if (number == 0)
        (void)snprintf(out, out_size, "%s", base);
    else
        (void)snprintf(out, out_size, "%s.%u%s", base, number, form_ends[form]);
}
