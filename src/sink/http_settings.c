/*
 * Options of an HTTP transport: checked once, then in the form in which libcurl takes them. Headers
 * are a list of our own, so that libcurl makes no copy of them that outlives ours.
 *
 * Any text may be a secret (an address has a token in its query, a header is an authorization), so
 * all are overwritten before they are freed, and no reason quotes one; file names apart.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"

#include "http_private.h"

#define USER_AGENT "ringtail/" RINGTAIL_VERSION
/* Content-Type, Content-Encoding, User-Agent, Expect, Authorization. */
#define OWN_HEADERS_MAX 5
#define HEADER_MAX 8192 /* what receivers take by default, nginx's large_client_header_buffers */

/** While options are read. */
struct reading {
    struct http_settings *s;
    const struct curl_calls *curl;
    const struct http_transport_options *options;
    char *why;
    size_t why_size;
};

static int refuse(const struct reading *in, const char *fmt, ...) RT_PRINTF(2, 3);

static int refuse(const struct reading *in, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(in->why, in->why_size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static bool is_set(const char *text)
{
    return text && text[0] != '\0';
}

static void secret_free(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void secret_freep(char **text)
{
    secret_free(*text);
}

/** Copies what is set. Returns 0 or -ENOMEM. */
static int copy(const char *text, char **ret)
{
    if (!is_set(text))
        return 0;
    *ret = strdup(text);
    return *ret ? 0 : -ENOMEM;
}

/* ---- headers ---- */

static bool is_token(struct slice name)
{
    /* RFC 9110, section 5.6.2. */
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c != '\0' && strchr("!#$%&'*+-.^_`|~", c))))
            return false;
    }
    return name.len > 0;
}

static bool has_control(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

static bool is_name(struct slice name, const char *other)
{
    return name.len == strlen(other) && strncasecmp(name.data, other, name.len) == 0;
}

/** What a request is made of, and what others than the user decide. */
static bool is_forbidden(struct slice name)
{
    static const char *const names[] = {
        "Host",
        "Content-Length",
        "Content-Type",
        "Content-Encoding",
        "Connection",
        "Keep-Alive",
        "Transfer-Encoding",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Accept-Encoding",
        "HTTP2-Settings",
        "Content-Range",
        "Proxy-Connection",
        "Proxy-Authorization",
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (is_name(name, names[i]))
            return true;
    }
    return false;
}

/** Takes the text, also when it fails. */
static int add_header(struct http_settings *s, char *text)
{
    struct curl_slist *node = &s->headers[s->headers_count];

    if (!text)
        return -ENOMEM;
    *node = (struct curl_slist){.data = text};
    if (s->headers_count > 0)
        node[-1].next = node;
    s->headers_count++;
    return 0;
}

/** `before` and the value, which is NUL-terminated. */
static int add_header_text(struct http_settings *s, const char *before, const char *value)
{
    size_t size = strlen(before) + strlen(value) + 1;
    char *text = malloc(size);

    if (text)
        (void)snprintf(text, size, "%s%s", before, value);
    return add_header(s, text);
}

static int add_basic(struct http_settings *s, const char *user, const char *password)
{
    static const char before[] = "Authorization: Basic ";
    RT_CLEANUP(secret_freep) char *pair = NULL;
    size_t len = strlen(user) + 1 + strlen(password);
    char *text, *end;

    pair = malloc(len + 1);
    if (!pair)
        return -ENOMEM;
    (void)snprintf(pair, len + 1, "%s:%s", user, password);
    text = malloc(sizeof before + BASE64_LEN(len));
    if (!text)
        return -ENOMEM;
    memcpy(text, before, sizeof before - 1);
    end = base64_encode(text + sizeof before - 1, slice_of(pair, len));
    *end = '\0';
    return add_header(s, text);
}

/** Credentials go into one line of a header: no control characters, and not too long. */
static bool is_credential(const char *text)
{
    return strlen(text) < HEADER_MAX && !has_control(slice_str(text));
}

static int read_authorization(const struct reading *in)
{
    const struct http_transport_options *o = in->options;
    const char *password = is_set(o->password) ? o->password : "";

    if (!is_set(o->user) && !is_set(o->bearer_token))
        return is_set(o->password) ? refuse(in, "a password without a user: name the user") : 0;
    if (is_set(o->user) && is_set(o->bearer_token))
        return refuse(in, "both a user and a bearer token: choose one of them");
    if (is_set(o->user)) {
        if (!is_credential(o->user) || strchr(o->user, ':'))
            return refuse(in, "a user's name has no colon and no control characters");
        if (!is_credential(password))
            return refuse(in, "the password has control characters (a newline at its end?)");
        return add_basic(in->s, o->user, password);
    }
    if (!is_credential(o->bearer_token) || strchr(o->bearer_token, ' '))
        return refuse(in, "the bearer token has blanks or control characters (a newline at its "
                          "end?)");
    return add_header_text(in->s, "Authorization: Bearer ", o->bearer_token);
}

static int read_header(const struct reading *in, const char *header)
{
    const char *colon = header ? strchr(header, ':') : NULL;
    struct slice name, value;
    size_t size;
    char *text;

    if (!colon)
        return refuse(in, "a header is written \"Name: value\"");
    name = slice_of(header, (size_t)(colon - header));
    if (!is_token(name))
        return refuse(in, "a header's name has letters, digits and dashes only, and no blank "
                          "before its colon");
    if (is_forbidden(name))
        return refuse(in, "header %.*s is not yours to set", (int)MIN(name.len, 64), name.data);
    if (is_name(name, "Authorization") &&
        (is_set(in->options->user) || is_set(in->options->bearer_token)))
        return refuse(in, "header Authorization beside a user or a bearer token: choose one");
    value = slice_str(colon + 1 + strspn(colon + 1, " \t"));
    if (has_control(value))
        return refuse(in, "header %.*s has control characters in its value", (int)MIN(name.len, 64),
                      name.data);
    if (name.len + value.len > HEADER_MAX)
        return refuse(in, "header %.*s is longer than %d bytes", (int)MIN(name.len, 64), name.data,
                      HEADER_MAX);
    size = name.len + value.len + 3;
    text = malloc(size);
    /* libcurl takes "Name:" as "without that header", and "Name;" as one without a value
     * (CURLOPT_HTTPHEADER(3)). */
    if (text)
        (void)snprintf(text, size, "%.*s%s%s", (int)name.len, name.data, value.len > 0 ? ": " : ";",
                       value.data);
    return add_header(in->s, text);
}

static int read_headers(const struct reading *in, const struct codec *codec)
{
    const struct http_transport_options *o = in->options;
    const char *encoding = compression_encoding(o->compression);
    bool own_agent = false;
    int r;

    if (o->headers_count > HTTP_HEADERS_MAX)
        return refuse(in, "more than %d headers", HTTP_HEADERS_MAX);
    in->s->headers = calloc(o->headers_count + OWN_HEADERS_MAX, sizeof *in->s->headers);
    if (!in->s->headers)
        return -ENOMEM;
    r = add_header_text(in->s, "Content-Type: ", codec_content_type(codec));
    if (r == 0 && encoding)
        r = add_header_text(in->s, "Content-Encoding: ", encoding);
    /* Without it libcurl waits for "100 Continue" before bodies of more than a megabyte. */
    if (r == 0)
        r = add_header_text(in->s, "Expect:", "");
    if (r == 0)
        r = read_authorization(in);
    for (size_t i = 0; i < o->headers_count && r == 0; i++) {
        r = read_header(in, o->headers[i]);
        own_agent |= r == 0 && strncasecmp(o->headers[i], "User-Agent:", 11) == 0;
    }
    if (r == 0 && !own_agent)
        r = add_header_text(in->s, "User-Agent: ", USER_AGENT);
    return r;
}

/* ---- addresses ---- */

static int get_part(const struct reading *in, CURLU *url, CURLUPart part, unsigned flags,
                    char **ret)
{
    CURLUcode code = in->curl->url_get(url, part, ret, flags);

    if (code == CURLUE_OUT_OF_MEMORY)
        return -ENOMEM;
    return code == CURLUE_OK ? 1 : 0;
}

static bool part_is(const struct reading *in, CURLU *url, CURLUPart part, const char *text)
{
    char *value = NULL;
    bool same = get_part(in, url, part, 0, &value) > 0 && strcmp(value, text) == 0;

    in->curl->free(value);
    return same;
}

static bool has_part(const struct reading *in, CURLU *url, CURLUPart part)
{
    char *value = NULL;
    bool has = get_part(in, url, part, 0, &value) > 0;

    in->curl->free(value);
    return has;
}

static int set_part(const struct reading *in, CURLU *url, CURLUPart part, const char *value)
{
    CURLUcode code = in->curl->url_set(url, part, value, 0);

    if (code == CURLUE_OUT_OF_MEMORY)
        return -ENOMEM;
    return code == CURLUE_OK ? 0 : -EINVAL;
}

/** The codec's own path and query. */
static int set_usual_path(const struct reading *in, CURLU *url, const char *path)
{
    const char *query = strchr(path, '?');
    RT_CLEANUP(freep) char *alone = strndup(path, query ? (size_t)(query - path) : strlen(path));
    int r;

    if (!alone)
        return -ENOMEM;
    r = set_part(in, url, CURLUPART_PATH, alone);
    if (r == 0 && query)
        r = set_part(in, url, CURLUPART_QUERY, query + 1);
    return r;
}

/** Puts tls.server_name into the address; the connection goes where it went before. */
static int set_server_name(const struct reading *in, CURLU *url)
{
    char *host = NULL, *port = NULL;
    int r = get_part(in, url, CURLUPART_HOST, 0, &host);

    if (r > 0)
        r = get_part(in, url, CURLUPART_PORT, CURLU_DEFAULT_PORT, &port);
    if (r > 0) {
        r = set_part(in, url, CURLUPART_HOST, in->options->tls.server_name);
        if (r == -EINVAL)
            r = refuse(in, "server_name is not the name of a host");
        if (r == 0) {
            /* No host and port in front: whatever they are (CURLOPT_CONNECT_TO(3)). */
            size_t size = strlen(host) + strlen(port) + sizeof "::" + 1;

            in->s->connect_to = malloc(size);
            if (in->s->connect_to)
                (void)snprintf(in->s->connect_to, size, "::%s:%s", host, port);
            else
                r = -ENOMEM;
        }
    } else if (r == 0) {
        r = refuse(in, "the address names no host");
    }
    in->curl->free(host);
    in->curl->free(port);
    return r;
}

static int read_url(const struct reading *in, CURLU *url, const struct codec *codec)
{
    const struct http_transport_options *o = in->options;
    char *whole = NULL;
    int r;

    if (!is_set(o->url))
        return refuse(in, "there is no address: write http://host:port or https://host:port");
    r = set_part(in, url, CURLUPART_URL, o->url);
    if (r == -EINVAL || (r == 0 && !part_is(in, url, CURLUPART_SCHEME, "http") &&
                         !part_is(in, url, CURLUPART_SCHEME, "https")))
        return refuse(in, "the address is not one: write http://host:port or https://host:port");
    if (r < 0)
        return r;
    if (has_part(in, url, CURLUPART_USER) || has_part(in, url, CURLUPART_PASSWORD))
        return refuse(in, "the address has credentials in it: give user and password apart");
    if (part_is(in, url, CURLUPART_PATH, "/") && !has_part(in, url, CURLUPART_QUERY))
        r = set_usual_path(in, url, codec_path(codec));
    if (r == 0 && is_set(o->tls.server_name))
        r = set_server_name(in, url);
    if (r < 0)
        return r;
    r = get_part(in, url, CURLUPART_URL, 0, &whole);
    if (r <= 0)
        return r < 0 ? r : refuse(in, "the address cannot be used");
    r = copy(whole, &in->s->url);
    explicit_bzero(whole, strlen(whole));
    in->curl->free(whole);
    return r;
}

static int read_proxy(const struct reading *in, CURLU *url)
{
    static const char *const schemes[] = {"http", "https", "socks5", "socks5h"};
    CURLUcode code =
        in->curl->url_set(url, CURLUPART_URL, in->options->proxy, CURLU_NON_SUPPORT_SCHEME);

    if (code == CURLUE_OUT_OF_MEMORY)
        return -ENOMEM;
    for (size_t i = 0; i < ARRAY_SIZE(schemes) && code == CURLUE_OK; i++) {
        if (part_is(in, url, CURLUPART_SCHEME, schemes[i]))
            return copy(in->options->proxy, &in->s->proxy);
    }
    return refuse(in, "the proxy's address is not one: write http://host:port (or https, socks5, "
                      "socks5h)");
}

static int read_addresses(const struct reading *in, const struct codec *codec)
{
    CURLU *url = in->curl->url();
    int r = url ? read_url(in, url, codec) : -ENOMEM;

    in->curl->url_cleanup(url);
    if (r < 0 || !is_set(in->options->proxy))
        return r;
    url = in->curl->url();
    r = url ? read_proxy(in, url) : -ENOMEM;
    in->curl->url_cleanup(url);
    return r;
}

/* ---- the rest ---- */

static int read_file(const struct reading *in, const char *name, const char *path, char **ret)
{
    if (!is_set(path))
        return 0;
    if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0)
        return refuse(in, "%s cannot be read: %s: %s", name, path, strerror(errno));
    return copy(path, ret);
}

static int read_tls(const struct reading *in)
{
    const struct http_tls_options *tls = &in->options->tls;
    int r;

    if (is_set(tls->key_file) && !is_set(tls->cert_file))
        return refuse(in, "key_file without cert_file: name the certificate that it belongs to");
    if (is_set(tls->key_password) && !is_set(tls->cert_file))
        return refuse(in, "key_password without cert_file: there is no key for it");
    if (tls->unverified && (is_set(tls->ca_file) || is_set(tls->ca_path)))
        return refuse(in, "authorities are named, and certificates are not to be verified: remove "
                          "one of them");
    r = read_file(in, "ca_file", tls->ca_file, &in->s->ca_file);
    if (r == 0)
        r = read_file(in, "ca_path", tls->ca_path, &in->s->ca_path);
    if (r == 0)
        r = read_file(in, "cert_file", tls->cert_file, &in->s->cert_file);
    if (r == 0)
        r = read_file(in, "key_file", tls->key_file, &in->s->key_file);
    if (r == 0)
        r = copy(tls->key_password, &in->s->key_password);
    in->s->unverified = tls->unverified;
    return r;
}

static int read_limits(const struct reading *in)
{
    const struct http_transport_options *o = in->options;

    if (o->timeout_ms < 1 || o->timeout_ms > INT_MAX || o->connect_timeout_ms < 1 ||
        o->connect_timeout_ms > INT_MAX)
        return refuse(in, "a timeout is at least a millisecond, and at most %d", INT_MAX);
    if (o->connections_max < 1 || o->connections_max > HTTP_CONNECTIONS_MAX)
        return refuse(in, "connections are 1 to %d", HTTP_CONNECTIONS_MAX);
    if (!compression_is_available(o->compression))
        return refuse(in, "this ringtail is built without %s: choose gzip or none",
                      compression_encoding(o->compression));
    in->s->timeout_ms = (long)o->timeout_ms;
    in->s->connect_timeout_ms = (long)o->connect_timeout_ms;
    in->s->compression = o->compression;
    in->s->compression_level = o->compression_level;
    in->s->version = o->version;
    return 0;
}

int http_settings_init(struct http_settings *s, const struct curl_calls *curl,
                       const struct http_transport_options *options, const struct codec *codec,
                       char *why, size_t why_size)
{
    const struct reading in = {s, curl, options, why, why_size};
    int r;

    *s = (struct http_settings){0};
    r = read_limits(&in);
    if (r == 0)
        r = read_addresses(&in, codec);
    if (r == 0)
        r = read_tls(&in);
    if (r == 0)
        r = read_headers(&in, codec);
    if (r < 0) {
        http_settings_finish(s);
        return r;
    }
    s->connect_to_node.data = s->connect_to;
    return 0;
}

void http_settings_finish(struct http_settings *s)
{
    secret_free(s->url);
    secret_free(s->connect_to);
    secret_free(s->proxy);
    free(s->ca_file);
    free(s->ca_path);
    free(s->cert_file);
    free(s->key_file);
    secret_free(s->key_password);
    for (size_t i = 0; i < s->headers_count; i++)
        secret_free(s->headers[i].data);
    free(s->headers);
    *s = (struct http_settings){0};
}
