/*
 * Loads librdkafka by the name that its ABI has had since 0.8. It is never unloaded: its threads
 * may outlive the transports (kafka.c).
 */
#include "rdkafka.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ringtail/base/macros.h"

#define SONAME "librdkafka.so.1"
/* What Debian 12 has; older ones do not check the name in a broker's certificate by themselves. */
#define VERSION_LEAST 0x02000000

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define RDKAFKA_NAME(name) {"rd_kafka_" #name, offsetof(struct rdkafka, name)},
    RDKAFKA_FUNCTIONS(RDKAFKA_NAME)
#undef RDKAFKA_NAME
};

int rdkafka_load(const struct rdkafka **ret, char *why, size_t why_size)
{
    static struct rdkafka lib;
    static bool loaded;
    void *handle;

    if (loaded) {
        *ret = &lib;
        return 0;
    }
    handle = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        (void)snprintf(why, why_size, "librdkafka can't be loaded: %s", dlerror());
        return -EOPNOTSUPP;
    }
    for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
        void *function = dlsym(handle, functions[i].name);

        if (!function) {
            (void)snprintf(why, why_size, SONAME " has no %s", functions[i].name);
            (void)dlclose(handle);
            return -EOPNOTSUPP;
        }
        memcpy((char *)&lib + functions[i].offset, &function, sizeof function);
    }
    if (lib.version() < VERSION_LEAST) {
        (void)snprintf(why, why_size, "librdkafka %s is too old: 2.0.0 is the least",
                       lib.version_str());
        (void)dlclose(handle);
        return -EOPNOTSUPP;
    }
    loaded = true;
    *ret = &lib;
    return 0;
}
