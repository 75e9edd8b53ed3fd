/* Compressed bodies, taken apart again by the libraries' own other half. */
#include "ringtail/codec/compress.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

static void gunzip(struct slice in, struct buf *out, size_t len)
{
    z_stream z = {0};

    assert_int_equal(Z_OK, inflateInit2(&z, 15 + 16));
    assert_int_equal(0, buf_reserve(out, len + 1));
    z.next_in = (Bytef *)(uintptr_t)in.data;
    z.avail_in = (uInt)in.len;
    z.next_out = (Bytef *)out->data;
    z.avail_out = (uInt)len + 1;
    assert_int_equal(Z_STREAM_END, inflate(&z, Z_FINISH));
    assert_int_equal(0, z.avail_in);
    out->len = z.total_out;
    assert_int_equal(Z_OK, inflateEnd(&z));
}

static void unpack(enum compression compression, struct slice in, struct buf *out, size_t len)
{
    switch (compression) {
    case COMPRESSION_NONE:
        assert_int_equal(0, buf_append_slice(out, in));
        break;
    case COMPRESSION_GZIP:
        gunzip(in, out, len);
        break;
    case COMPRESSION_ZSTD:
#ifdef HAVE_ZSTD
        assert_int_equal(len, ZSTD_getFrameContentSize(in.data, in.len));
        assert_int_equal(0, buf_reserve(out, len + 1));
        assert_int_equal(len, ZSTD_decompress(out->data, len + 1, in.data, in.len));
        out->len = len;
#endif
        break;
    }
}

static const enum compression all[] = {COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD};

static void check(enum compression compression, int level, struct slice in)
{
    struct buf packed = {0}, unpacked = {0};

    assert_int_equal(0, buf_append_str(&packed, "what was there before"));
    assert_int_equal(0, compress_buf(compression, level, in, &packed));
    unpack(compression, buf_slice(&packed), &unpacked, in.len);
    assert_int_equal(in.len, unpacked.len);
    if (in.len > 0)
        assert_memory_equal(in.data, unpacked.data, in.len);
    buf_finish(&packed);
    buf_finish(&unpacked);
}

static void test_what_is_compressed_comes_back(void **state)
{
    static const size_t lengths[] = {0, 1, 100, 65536, 3000000};
    size_t max = 3000000;
    char *text = malloc(max), *noise = malloc(max);
    struct random random;

    (void)state;
    assert_non_null(text);
    assert_non_null(noise);
    random_seed(&random, 3);
    for (size_t i = 0; i < max; i++) {
        text[i] = "a line of a log, as they are\n"[i % 29];
        noise[i] = (char)random_next(&random);
    }
    for (size_t c = 0; c < ARRAY_SIZE(all); c++) {
        if (!compression_is_available(all[c]))
            continue;
        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
            check(all[c], 0, slice_of(text, lengths[i]));
            check(all[c], 1, slice_of(noise, lengths[i]));
        }
        for (int level = -1; level < 40; level += 7)
            check(all[c], level, slice_of(text, 1000));
    }
    free(text);
    free(noise);
}

static void test_text_becomes_smaller(void **state)
{
    char text[10000];
    struct buf out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "abcabcabd"[i % 9];
    for (size_t c = 1; c < ARRAY_SIZE(all); c++) {
        if (!compression_is_available(all[c]))
            continue;
        assert_int_equal(0, compress_buf(all[c], 0, slice_of(text, sizeof text), &out));
        assert_true(out.len < sizeof text / 10);
    }
    buf_finish(&out);
}

static void test_what_this_build_lacks_is_refused(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_true(compression_is_available(COMPRESSION_NONE));
    assert_true(compression_is_available(COMPRESSION_GZIP));
#ifdef HAVE_ZSTD
    assert_true(compression_is_available(COMPRESSION_ZSTD));
#else
    assert_false(compression_is_available(COMPRESSION_ZSTD));
    assert_int_equal(-EOPNOTSUPP, compress_buf(COMPRESSION_ZSTD, 0, slice_str("x"), &out));
    assert_int_equal(0, out.len);
#endif
    assert_int_equal(-EINVAL, compress_buf((enum compression)9, 0, slice_str("x"), &out));
    /* Only its length is looked at. */
    assert_int_equal(-EMSGSIZE,
                     compress_buf(COMPRESSION_GZIP, 0, slice_of("", COMPRESS_INPUT_MAX + 1), &out));
    buf_finish(&out);
}

static void test_an_encoding_has_its_registered_name(void **state)
{
    (void)state;
    assert_null(compression_encoding(COMPRESSION_NONE));
    assert_string_equal("gzip", compression_encoding(COMPRESSION_GZIP));
    assert_string_equal("zstd", compression_encoding(COMPRESSION_ZSTD));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_compressed_comes_back),
        cmocka_unit_test(test_text_becomes_smaller),
        cmocka_unit_test(test_what_this_build_lacks_is_refused),
        cmocka_unit_test(test_an_encoding_has_its_registered_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
