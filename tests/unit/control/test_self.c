/* Finding out which container we run in, from what the kernel lists. */
#include "control/self.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

#define ID "5f0c6be7d7a8c1a6ad0d4b2e0d13f6a9c0b1d2e3f405162738495a6b7c8d9eaf"
#define OTHER "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static bool find(const char *text, char ret_id[REPLY_ID_LEN + 1])
{
    /* In memory of exactly its size, so that reading on is seen. */
    size_t len = strlen(text);
    char *copy = malloc(len + 1);
    bool found;

    assert_non_null(copy);
    memcpy(copy + 1, text, len);
    found = self_find_id(slice_of(copy + 1, len), ret_id);
    free(copy);
    return found;
}

static void test_our_own_id_is_found(void **state)
{
    static const char *const texts[] = {
        "602 593 254:1 /var/lib/docker/containers/" ID "/hostname /etc/hostname rw - ext4 /dev/vda1"
        " rw\n",
        "602 593 254:1 /containers/" ID "/resolv.conf /etc/resolv.conf rw - ext4 /dev/vdb rw\n",
        "1 2 0:3 / / rw - overlay overlay rw,upperdir=/var/lib/docker/overlay2/" OTHER "/diff\n"
        "602 593 254:1 /data/docker/containers/" ID "/hosts /etc/hosts rw - ext4 /dev/vda1 rw\n",
        /* Another container's directory is there to be seen, too. */
        "9 8 0:44 / /var/lib/docker/containers/" OTHER "/mounts/shm rw - tmpfs shm rw\n"
        "602 593 254:1 /var/lib/docker/containers/" ID "/hostname /etc/hostname rw - ext4 x rw\n",
        "12:pids:/docker/" ID "\n",
        "0::/docker/" ID,
        "0::/system.slice/docker-" ID ".scope\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        char id[REPLY_ID_LEN + 1] = "";

        if (!find(texts[i], id))
            fail_msg("not found in %s", texts[i]);
        assert_string_equal(ID, id);
    }
}

static void test_outside_of_containers_there_is_none(void **state)
{
    static const char *const texts[] = {
        "",
        "0::/init.scope\n",
        "0::/system.slice/ringtail.service\n",
        /* The host's own list, with the mounts of containers that it runs. */
        "9 8 0:44 / /var/lib/docker/containers/" ID "/mounts/shm rw - tmpfs shm rw\n",
        "9 8 0:45 / /var/lib/docker/overlay2/" ID "/merged rw - overlay overlay rw\n",
        "9 8 0:45 / /run/docker/netns/5f0c6be7d7a8 rw - nsfs nsfs rw\n",
        "0::/docker/not-an-id\n",
        "0::/docker/" ID "0\n", /* 65 digits */
        "0::/docker/5F0C6BE7D7A8C1A6AD0D4B2E0D13F6A9C0B1D2E3F405162738495A6B7C8D9EAF\n",
        "/containers/" ID, /* cut off where it was read */
        "/containers/" ID "/hostname",
        "docker-",
        "0::/docker/5f0c6be7d7a8c1a6",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        char id[REPLY_ID_LEN + 1] = "as it was";

        if (find(texts[i], id))
            fail_msg("found %s in %s", id, texts[i]);
        assert_string_equal("as it was", id);
    }
}

static void test_asking_the_kernel_answers_an_id_or_nothing(void **state)
{
    char id[REPLY_ID_LEN + 1] = "";

    if (self_container_id(id))
        assert_int_equal(REPLY_ID_LEN, strlen(id));
    else
        assert_string_equal("", id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_our_own_id_is_found),
        cmocka_unit_test(test_outside_of_containers_there_is_none),
        cmocka_unit_test(test_asking_the_kernel_answers_an_id_or_nothing),
    };

    return cmocka_run_group_tests_name("self", tests, NULL, NULL);
}
