/* The command line: arguments into a command and a configuration. */
#pragma once

#include "ringtail/control/config.h"

enum cli_command {
    CLI_RUN,
    CLI_DONE, /* all was said (help, version, check, health, …): exit with `exit_code` */
};

struct cli {
    enum cli_command command;
    int exit_code;
    struct config config;
};

/** Parses, loads and checks; prints help to stdout and every problem to stderr. config is the
 * caller's to finish. */
void cli_parse(struct cli *cli, int argc, char **argv);
