/* How the tables of config.c and config_sinks.c are written, and what the files of the
 * configuration share. OPT_STRUCT and OPT_GROUP are the table's; what comes behind the text are
 * further fields. */
#pragma once

#include "ringtail/control/config.h"

#define OPT_(opt_name, opt_type, field, lo, hi, dflt, names, text, ...)                            \
    {                                                                                              \
        .name = (opt_name), .type = (opt_type), .offset = offsetof(OPT_STRUCT, field),             \
        .least = (lo), .most = (hi), .def = (dflt), .choices = (names), .help = (text),            \
        .group = OPT_GROUP, __VA_ARGS__                                                            \
    }
#define OPT_DURATION(name, field, lo, hi, dflt, text, ...)                                         \
    OPT_(name, OPTION_DURATION, field, lo, hi, dflt, NULL, text, __VA_ARGS__)
#define OPT_SIZE(name, field, lo, hi, dflt, text, ...)                                             \
    OPT_(name, OPTION_SIZE, field, lo, hi, dflt, NULL, text, __VA_ARGS__)
#define OPT_INT(name, field, lo, hi, dflt, text, ...)                                              \
    OPT_(name, OPTION_INT, field, lo, hi, dflt, NULL, text, __VA_ARGS__)
#define OPT_BOOL(name, field, dflt, text, ...)                                                     \
    OPT_(name, OPTION_BOOL, field, NULL, NULL, dflt, NULL, text, __VA_ARGS__)
#define OPT_STRING(name, field, lo, hi, dflt, text, ...)                                           \
    OPT_(name, OPTION_STRING, field, lo, hi, dflt, NULL, text, __VA_ARGS__)
#define OPT_SECRET(name, field, text, ...)                                                         \
    OPT_(name, OPTION_SECRET, field, NULL, NULL, NULL, NULL, text, __VA_ARGS__)
#define OPT_LIST(name, field, text, ...)                                                           \
    OPT_(name, OPTION_LIST, field, NULL, NULL, NULL, NULL, text, __VA_ARGS__)
#define OPT_ENUM(name, field, dflt, names, text, ...)                                              \
    OPT_(name, OPTION_ENUM, field, NULL, NULL, dflt, names, text, __VA_ARGS__)

/* The values' order is that of the enums; each ends in NULL. */
extern const char *const config_output_syncs[];
extern const char *const config_compressions[];

/** The table of a sink's options, for struct sink_config. */
extern const struct option_table config_sink_table;

/** The checks of config_check that are about sinks, and the output beside them. */
void config_check_sinks(const struct config *c, struct option_problems *problems);
