/*
 * An nginx between ringtail and an Engine, on a unix socket of its own, that lets only GET of some
 * paths through, as docker-socket-proxy does.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/** What ringtail needs: a pattern for what stands behind the version. */
#define SOCKET_PROXY_ENOUGH "_ping|version|events|containers/.*"

struct socket_proxy {
    pid_t pid; /* 0: it does not run */
    char config[128], socket[100], url[128];
};

/** Whether there is an nginx. Says so if not. */
bool socket_proxy_is_there(void);

/** Starts it in the directory, and waits until it listens. It may have run there before. False: it
 * does not start. */
bool socket_proxy_start(struct socket_proxy *p, const char *dir, const char *engine_socket,
                        const char *allowed);

/** Ends it by this signal, if it runs. */
void socket_proxy_stop(struct socket_proxy *p, int signal);
