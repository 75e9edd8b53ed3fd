/*
 * control/cli.h. What is set later wins: defaults, DOCKER_HOST, the file, then --set and its short
 * forms in the order of the command line.
 */
#include "ringtail/control/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/metric.h"
#include "ringtail/control/daemon.h"
#include "ringtail/io/ring_features.h"

#include "doctor.h"
#include "health.h"
#include "stored.h"

/* A health check of a container that takes longer counts as failed. */
#define HEALTH_TIMEOUT_MS 5000
/* Name servers and the Engine answer within that, or are found not to. */
#define DOCTOR_TIMEOUT_MS 10000

static const char usage[] =
    "Usage:\n"
    "  ringtail run     follow every container of a Docker Engine, one NDJSON record a line\n"
    "  ringtail check   check the configuration without running (exit code 2: it is wrong);\n"
    "                   --verbose prints all of it as it is in force, secrets as ***\n"
    "  ringtail health  ask the ringtail that runs with this configuration how it is (exit code "
    "0:\n"
    "                   all is well; 1: it is not, or does not answer; one line says why)\n"
    "  ringtail doctor  examine this host, and say for each finding what to do (--json; exit code "
    "1:\n"
    "                   there is a problem)\n"
    "  ringtail spool   look at what waits on disk, and replay it (see ringtail spool --help)\n"
    "  ringtail dlq     look at what receivers have refused, and replay it (ringtail dlq --help)\n"
    "  ringtail options print the table of options as Markdown (docs/configuration.md)\n"
    "  ringtail metrics print the table of metrics as Markdown (docs/metrics.md)\n"
    "  ringtail kernels print what of io_uring is used from which kernel on as Markdown\n"
    "                   (docs/kernels.md)\n"
    "\n"
    "  -c, --config FILE     YAML file with options\n"
    "  -s, --set KEY=VALUE   set one option; may be repeated\n"
    "  -e, --engine URL      the Engine's socket: unix:///path (else DOCKER_HOST, else\n"
    "                        unix:///var/run/docker.sock)\n"
    "  -o, --output WHERE    stdout, or a directory for one file per container\n"
    "      --since WHEN      now, all, a duration back (1h30m), or a timestamp: where to begin in "
    "a\n"
    "                        log at first contact\n"
    "      --backend NAME    auto, io_uring or epoll; auto: epoll where io_uring is refused\n"
    "  -h, --help            this text and all options\n"
    "      --version         print the version\n"
    "\n"
    "Exit codes: 0 ended by SIGTERM or SIGINT with everything written; 1 failed while running;\n"
    "2 wrong usage or configuration; 3 the kernel refuses the backend (or, with\n"
    "run.confine=strict, the confinement).\n"
    "\n"
    "Options (for --set, and for the file, where dots are nesting):\n\n";

static unsigned terminal_columns(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 60)
        return size.ws_col;
    return 100;
}

static int print_help(void)
{
    struct buf out = {0};
    int r = buf_append_str(&out, usage);

    if (r == 0)
        r = options_write_help(config_options(), &out, terminal_columns());
    if (r == 0)
        (void)fwrite(out.data, 1, out.len, stdout);
    buf_finish(&out);
    return r < 0 || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_CLEAN;
}

static int print_options(void)
{
    static const char title[] =
        "# Configuration\n"
        "\n"
        "Every option of ringtail, as `ringtail options` prints it. An option is set, later ones "
        "winning, by its\n"
        "default, by `DOCKER_HOST` (the Engine's socket alone), in the YAML file of `--config` "
        "(dots are nesting), and\n"
        "by `--set KEY=VALUE`, `--engine`, `--output`, `--since` and `--backend`. `ringtail check` "
        "finds\n"
        "everything that is wrong without running.\n"
        "\n";
    struct buf out = {0};
    int r = buf_append_str(&out, title);

    if (r == 0)
        r = options_write_markdown(config_options(), &out);

    if (r == 0)
        (void)fwrite(out.data, 1, out.len, stdout);
    buf_finish(&out);
    return r < 0 || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_CLEAN;
}

static int print_check(const struct config *c, bool verbose)
{
    struct buf out = {0};
    int r = buf_printf(&out, "%sThe configuration is good.\n", verbose ? "# " : "");

    if (r == 0 && verbose)
        r = options_write_values(config_options(), c, &out);
    if (r == 0)
        (void)fwrite(out.data, 1, out.len, stdout);
    buf_finish(&out);
    return r < 0 || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_CLEAN;
}

static int print_page(int (*write)(struct buf *out))
{
    struct buf out = {0};
    int r = write(&out);

    if (r == 0)
        (void)fwrite(out.data, 1, out.len, stdout);
    buf_finish(&out);
    return r < 0 || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_CLEAN;
}

static int print_health(const struct config *c)
{
    struct buf said = {0};
    bool well = health_ask(c, HEALTH_TIMEOUT_MS, &said);

    if (said.len > 0)
        (void)fwrite(said.data, 1, said.len, stdout);
    buf_finish(&said);
    return !well || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_CLEAN;
}

/* ---- arguments ---- */

enum arg_kind {
    ARG_HELP,
    ARG_VERSION,
    ARG_CONFIG,
    ARG_SET,
    ARG_ENGINE,
    ARG_OUTPUT,
    ARG_SINCE,
    ARG_BACKEND,
    ARG_VERBOSE,
    ARG_JSON,   /* of doctor, too */
    ARG_REMOVE, /* from here on those of spool and dlq */
    ARG_CONTAINER,
    ARG_SINK,
    ARG_FROM,
};

static const struct {
    enum arg_kind kind;
    const char *name;
    char letter;
    bool has_value;
} args[] = {
    {ARG_HELP, "--help", 'h', false},       {ARG_VERSION, "--version", '\0', false},
    {ARG_CONFIG, "--config", 'c', true},    {ARG_SET, "--set", 's', true},
    {ARG_ENGINE, "--engine", 'e', true},    {ARG_OUTPUT, "--output", 'o', true},
    {ARG_SINCE, "--since", '\0', true},     {ARG_BACKEND, "--backend", '\0', true},
    {ARG_VERBOSE, "--verbose", 'v', false}, {ARG_JSON, "--json", '\0', false},
    {ARG_REMOVE, "--remove", '\0', false},  {ARG_CONTAINER, "--container", '\0', true},
    {ARG_SINK, "--sink", '\0', true},       {ARG_FROM, "--from", '\0', true},
};

/* One argument as it stands on the command line, with its value. */
struct arg {
    enum arg_kind kind;
    const char *name;
    const char *value;
};

/*
 * Takes the argument at argv[*at] (and its value behind it, or behind an equals sign), moving *at
 * on. Returns 0, or -EINVAL with the problem added.
 */
static int take_arg(char **argv, int argc, int *at, struct arg *ret,
                    struct option_problems *problems)
{
    const char *text = argv[(*at)++];

    for (size_t i = 0; i < ARRAY_SIZE(args); i++) {
        size_t len = strlen(args[i].name);
        bool is_long =
            strncmp(text, args[i].name, len) == 0 && (text[len] == '\0' || text[len] == '=');
        bool is_short = args[i].letter && text[0] == '-' && text[1] == args[i].letter;

        if (!is_long && !is_short)
            continue;
        *ret = (struct arg){.kind = args[i].kind, .name = args[i].name};
        if (!args[i].has_value) {
            if (text[is_long ? len : 2] == '\0')
                return 0;
            break;
        }
        if (is_long && text[len] == '=')
            ret->value = text + len + 1;
        else if (is_short && text[2] != '\0')
            ret->value = text + 2;
        else if (*at < argc)
            ret->value = argv[(*at)++];
        if (ret->value)
            return 0;
        option_problems_add(problems, "%s: a value is missing", args[i].name);
        return -EINVAL;
    }
    option_problems_add(problems, "unknown argument \"%s\" (see ringtail --help)", text);
    return -EINVAL;
}

static void set_one(struct config *c, const char *where, const char *name, const char *value,
                    struct option_problems *problems)
{
    /* What else is wrong is in the list. */
    problems->out_of_memory |= options_set(config_options(), c, where, slice_str(name),
                                           slice_str(value), problems) == -ENOMEM;
}

static const char key_characters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";

static void apply_arg(struct config *c, const struct arg *arg, struct option_problems *problems)
{
    const char *equals;

    switch (arg->kind) {
    case ARG_SET:
        equals = strchr(arg->value, '=');
        if (equals)
            problems->out_of_memory |=
                options_set(config_options(), c, "--set",
                            slice_of(arg->value, (size_t)(equals - arg->value)),
                            slice_str(equals + 1), problems) == -ENOMEM;
        else /* what stands behind the key may be a secret */
            option_problems_add(problems, "--set %.*s: expected KEY=VALUE",
                                (int)strspn(arg->value, key_characters), arg->value);
        break;
    case ARG_ENGINE:
        set_one(c, arg->name, "engine.url", arg->value, problems);
        break;
    case ARG_OUTPUT:
        set_one(c, arg->name, "output.path", arg->value, problems);
        break;
    case ARG_SINCE:
        set_one(c, arg->name, "stream.since", arg->value, problems);
        break;
    case ARG_BACKEND:
        set_one(c, arg->name, "ring.backend", arg->value, problems);
        break;
    case ARG_HELP:
    case ARG_VERSION:
    case ARG_CONFIG:
    case ARG_VERBOSE:
    case ARG_JSON:
    case ARG_REMOVE:
    case ARG_CONTAINER:
    case ARG_SINK:
    case ARG_FROM:
        break;
    }
}

/* What comes first: which command it is, whether only help is wanted, and which file to load. */
struct overview {
    const char *command, *file;
    bool help, version, engine, verbose;
    bool misused; /* the command line, whatever the configuration is */
    struct stored_query stored;
    const char *stored_arg; /* the last one that is only for spool and dlq */
};

static const struct {
    const char *name, *verbs, *help;
    int (*run)(const struct config *config, const struct stored_query *query);
} stored_commands[] = {
    {"spool", " ls check cat replay ", stored_spool_help, stored_spool},
    {"dlq", " ls cat replay ", stored_letters_help, stored_letters},
};

/* Its place in stored_commands, or their number. */
static size_t find_stored(const char *command)
{
    size_t i = 0;

    while (command && i < ARRAY_SIZE(stored_commands) &&
           strcmp(stored_commands[i].name, command) != 0)
        i++;
    return command ? i : ARRAY_SIZE(stored_commands);
}

static bool is_stored(const struct overview *o)
{
    return find_stored(o->command) < ARRAY_SIZE(stored_commands);
}

static void take_word(struct overview *o, const char *word, struct option_problems *problems)
{
    if (!o->command)
        o->command = word;
    else if (is_stored(o) && !o->stored.verb)
        o->stored.verb = word;
    else if (is_stored(o) && !o->stored.path)
        o->stored.path = word;
    else
        option_problems_add(problems, "unexpected argument \"%s\" behind \"%s\"", word, o->command);
}

static void take_stored_arg(struct overview *o, const struct arg *arg)
{
    o->stored.json |= arg->kind == ARG_JSON;
    o->stored.remove |= arg->kind == ARG_REMOVE;
    if (arg->kind == ARG_CONTAINER)
        o->stored.container = arg->value;
    if (arg->kind == ARG_SINK)
        o->stored.sink = arg->value;
    if (arg->kind == ARG_FROM)
        o->stored.from = arg->value;
    if (arg->kind >= ARG_REMOVE || (arg->kind == ARG_JSON && !o->stored_arg))
        o->stored_arg = arg->name;
}

static void look_over(struct overview *o, int argc, char **argv, struct option_problems *problems)
{
    int at = 1;

    while (at < argc) {
        struct arg arg;

        if (argv[at][0] != '-') {
            take_word(o, argv[at++], problems);
        } else if (take_arg(argv, argc, &at, &arg, problems) == 0) {
            o->help |= arg.kind == ARG_HELP;
            o->version |= arg.kind == ARG_VERSION;
            o->engine |= arg.kind == ARG_ENGINE;
            o->verbose |= arg.kind == ARG_VERBOSE;
            take_stored_arg(o, &arg);
            if (arg.kind == ARG_CONFIG)
                o->file = arg.value;
        }
    }
}

static void configure(struct config *c, const struct overview *o, int argc, char **argv,
                      struct option_problems *problems)
{
    const char *docker_host = getenv("DOCKER_HOST");
    struct option_problems said_before = {0};
    int at = 1;

    if (docker_host && *docker_host && !o->engine)
        set_one(c, "DOCKER_HOST", "engine.url", docker_host, problems);
    if (o->file)
        problems->out_of_memory |=
            options_load_file(config_options(), c, o->file, problems) == -ENOMEM;
    while (at < argc) {
        struct arg arg;

        if (argv[at][0] != '-')
            at++;
        else if (take_arg(argv, argc, &at, &arg, &said_before) == 0)
            apply_arg(c, &arg, problems);
    }
    option_problems_finish(&said_before);
    (void)config_complete(c, problems); /* the same */
    if (!problems->out_of_memory)
        (void)config_check(c, problems); /* the same */
}

/* What is wrong, and what is to be thought of. Returns what ringtail ends with if it is wrong. */
static int tell_problems(const struct option_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        (void)fprintf(stderr, "ringtail: %s\n", problems->items[i].text);
    for (size_t i = 0; i < problems->warnings_count; i++)
        (void)fprintf(stderr, "ringtail: warning: %s\n", problems->warnings[i].text);
    if (problems->out_of_memory)
        (void)fprintf(stderr, "ringtail: out of memory\n");
    return EXIT_USAGE;
}

static enum cli_command done(struct cli *cli, int exit_code)
{
    cli->exit_code = exit_code;
    return CLI_DONE;
}

/* What is wrong with the words that only some commands have. */
static void check_words(const struct overview *o, struct option_problems *problems)
{
    const struct stored_query *q = &o->stored;
    size_t i = find_stored(o->command);
    char verb[16] = "";
    bool selects;

    if (o->verbose && (!o->command || strcmp(o->command, "check") != 0))
        option_problems_add(problems, "--verbose is for ringtail check");
    if (!is_stored(o)) {
        bool is_doctors = o->command && strcmp(o->command, "doctor") == 0 && o->stored_arg &&
                          strcmp(o->stored_arg, "--json") == 0;

        if (o->stored_arg && !is_doctors)
            option_problems_add(problems, "%s is for ringtail %sspool and ringtail dlq",
                                o->stored_arg,
                                strcmp(o->stored_arg, "--json") == 0 ? "doctor, ringtail " : "");
        return;
    }
    (void)snprintf(verb, sizeof verb, " %s ", q->verb ? q->verb : "");
    if (!q->verb || !strstr(stored_commands[i].verbs, verb)) {
        option_problems_add(problems, "ringtail %s: expected one of%s(see ringtail %s --help)",
                            o->command, stored_commands[i].verbs, o->command);
        return;
    }
    selects = strcmp(q->verb, "cat") == 0 || strcmp(q->verb, "replay") == 0;
    if (q->json && strcmp(q->verb, "ls") != 0)
        option_problems_add(problems, "--json is for ls");
    if (!selects && (q->from || q->container || q->sink || q->remove))
        option_problems_add(problems, "%s is not for %s", o->stored_arg, q->verb);
}

static const char *const commands[] = {"run", "check",   "health",  "doctor", "spool",
                                       "dlq", "options", "metrics", "kernels"};

static bool is_known(const char *command)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (strcmp(command, commands[i]) == 0)
            return true;
    return false;
}

static int tell_commands(const char *command)
{
    if (*command)
        (void)fprintf(stderr, "ringtail: unknown command \"%s\" (", command);
    else
        (void)fputs("ringtail: a command is missing (", stderr);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        (void)fprintf(stderr, "%s%s",
                      i == 0                         ? ""
                      : i + 1 < ARRAY_SIZE(commands) ? ", "
                                                     : " or ",
                      commands[i]);
    (void)fputs("; see ringtail --help)\n", stderr);
    return EXIT_USAGE;
}

static enum cli_command decide(struct cli *cli, const struct overview *o,
                               const struct option_problems *problems)
{
    const char *command = o->command ? o->command : "";

    if (o->help && is_stored(o)) {
        (void)fputs(stored_commands[find_stored(o->command)].help, stdout);
        return done(cli, stored_finish(EXIT_CLEAN));
    }
    if (o->help)
        return done(cli, print_help());
    if (o->version) {
        (void)printf("ringtail %s\n", RINGTAIL_VERSION);
        return done(cli, fflush(stdout) != 0 ? EXIT_FAILED : EXIT_CLEAN);
    }
    if (!is_known(command))
        return done(cli, tell_commands(command));
    /* A wrong configuration is a finding like any other. */
    if (strcmp(command, "doctor") == 0 && !o->misused && !problems->out_of_memory)
        return done(cli, doctor_run(&cli->config, problems, o->stored.json, DOCTOR_TIMEOUT_MS));
    if (problems->count > 0 || problems->out_of_memory)
        return done(cli, tell_problems(problems));
    (void)tell_problems(problems);
    if (strcmp(command, "options") == 0)
        return done(cli, print_options());
    if (strcmp(command, "metrics") == 0)
        return done(cli, print_page(metrics_write_markdown));
    if (strcmp(command, "kernels") == 0)
        return done(cli, print_page(ring_features_write_markdown));
    if (strcmp(command, "health") == 0)
        return done(cli, print_health(&cli->config));
    if (is_stored(o))
        return done(cli, stored_commands[find_stored(command)].run(&cli->config, &o->stored));
    if (strcmp(command, "run") == 0)
        return CLI_RUN;
    return done(cli, print_check(&cli->config, o->verbose));
}

void cli_parse(struct cli *cli, int argc, char **argv)
{
    struct option_problems problems = {0};
    struct overview o = {0};

    *cli = (struct cli){0};
    if (config_init(&cli->config) < 0)
        problems.out_of_memory = true;
    look_over(&o, argc, argv, &problems);
    check_words(&o, &problems);
    o.misused = problems.count > 0;
    configure(&cli->config, &o, argc, argv, &problems);
    cli->command = decide(cli, &o, &problems);
    option_problems_finish(&problems);
}
