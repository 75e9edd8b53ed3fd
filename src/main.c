/* The program: arguments in, exit code out. Nothing else ends the process. */
#include "ringtail/control/cli.h"
#include "ringtail/control/daemon.h"

int main(int argc, char **argv)
{
    struct cli cli;
    int exit_code;

    cli_parse(&cli, argc, argv);
    exit_code = cli.command == CLI_RUN ? daemon_run(&cli.config) : cli.exit_code;
    config_finish(&cli.config);
    return exit_code;
}
