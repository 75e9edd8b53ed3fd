/* See socket_proxy.h. */
#include "support/socket_proxy.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/child.h"

#define TRIES 6000
#define PAUSE_US 5000

bool socket_proxy_is_there(void)
{
    bool found = access(NGINX, X_OK) == 0;

    if (!found)
        puts("no nginx");
    return found;
}

static bool write_config(const struct socket_proxy *p, const char *dir, const char *engine_socket,
                         const char *allowed)
{
    FILE *file = fopen(p->config, "we");

    if (!file)
        return false;
    fprintf(file,
            "daemon off; master_process off; pid %s/nginx.pid; error_log stderr emerg;\n"
            "events { worker_connections 512; }\n"
            "http {\n"
            "  access_log off;\n"
            "  client_body_temp_path %s/nginx-body; proxy_temp_path %s/nginx-proxy;\n"
            "  fastcgi_temp_path %s/nginx-1; uwsgi_temp_path %s/nginx-2; scgi_temp_path "
            "%s/nginx-3;\n"
            "  server {\n"
            "    listen unix:%s;\n"
            "    location / { return 403; }\n"
            "    location ~ ^/(v[0-9.]+/)?(%s)$ {\n"
            "      limit_except GET { deny all; }\n"
            "      proxy_pass http://unix:%s:;\n"
            "      proxy_http_version 1.1;\n"
            "      proxy_set_header Connection \"\";\n"
            "      proxy_buffering off;\n"
            "      proxy_read_timeout 1h;\n"
            "    }\n"
            "  }\n"
            "}\n",
            dir, dir, dir, dir, dir, dir, p->socket, allowed, engine_socket);
    return fclose(file) == 0;
}

static bool is_listening(const struct socket_proxy *p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good;

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", p->socket);
    good = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        (void)close(fd);
    return good;
}

bool socket_proxy_start(struct socket_proxy *p, const char *dir, const char *engine_socket,
                        const char *allowed)
{
    const char *const argv[] = {NGINX, "-p", dir, "-c", p->config, "-e", "stderr", NULL};

    (void)snprintf(p->config, sizeof p->config, "%s/nginx.conf", dir);
    (void)snprintf(p->socket, sizeof p->socket, "%s/proxy.sock", dir);
    (void)snprintf(p->url, sizeof p->url, "unix://%s", p->socket);
    (void)unlink(p->socket); /* of the one before */
    if (!write_config(p, dir, engine_socket, allowed))
        return false;
    p->pid = child_start(argv, NULL, NULL);
    for (unsigned i = 0; p->pid > 0 && i < TRIES; i++) {
        if (is_listening(p))
            return true;
        (void)usleep(PAUSE_US);
    }
    return false;
}

void socket_proxy_stop(struct socket_proxy *p, int signal)
{
    if (p->pid > 0)
        (void)child_end(p->pid, signal);
    p->pid = 0;
}
