/* Escaping, UTF-8 and base64, each against a reference that does it the slow way. */
#include "ringtail/base/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

enum { LEN_MOST = 180, ALIGNMENTS = 16 }; /* more than two windows of the encoder */

static size_t reference_escape(char *out, const char *in, size_t len)
{
    char *start = out;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)in[i];
        const char *letter = c ? strchr("\bb\tt\nn\ff\rr\"\"\\\\", c) : NULL;

        if (c < 0x20 || c == '"' || c == '\\') {
            if (letter)
                out += sprintf(out, "\\%c", letter[1]);
            else
                out += sprintf(out, "\\u%04x", c);
        } else {
            *out++ = (char)c;
        }
    }
    return (size_t)(out - start);
}

/** Escapes a copy that ends where its memory ends, into exactly the room that is asked for. */
static void assert_escapes(const char *bytes, size_t len, size_t shift)
{
    char expected[JSON_ESCAPED_MAX(LEN_MOST) + 1];
    char *in = malloc(shift + len + (shift + len == 0));
    char *out = malloc(JSON_ESCAPED_MAX(len) + 16);
    size_t expected_len = reference_escape(expected, bytes, len);
    char *end;

    assert_non_null(in);
    assert_non_null(out);
    memcpy(in + shift, bytes, len);
    assert_int_equal(expected_len, json_escape(out, slice_of(in + shift, len)) - out);
    assert_memory_equal(expected, out, expected_len);
    end = json_escape_utf8(out, slice_of(in + shift, len));
    if (utf8_is_valid(slice_of(in + shift, len))) {
        assert_int_equal(expected_len, end - out);
        assert_memory_equal(expected, out, expected_len);
    } else {
        assert_null(end);
    }
    free(in);
    free(out);
}

static void test_every_byte_at_every_length_and_alignment_is_escaped_right(void **state)
{
    char bytes[LEN_MOST];

    (void)state;
    for (size_t len = 0; len <= LEN_MOST; len++) {
        for (size_t shift = 0; shift < ALIGNMENTS; shift++) {
            for (size_t c = 0; c < 256; c++) {
                memset(bytes, 'x', sizeof bytes);
                if (len > 0)
                    bytes[(c * 7 + shift) % len] = (char)c;
                assert_escapes(bytes, len, shift);
            }
        }
    }
}

static void test_an_escape_at_every_place_is_found(void **state)
{
    static const char special[] = "\"\\\n\x1f\x7f\x80";
    char bytes[LEN_MOST];

    (void)state;
    for (size_t len = 1; len <= LEN_MOST; len++) {
        for (size_t at = 0; at < len; at++) {
            for (size_t k = 0; k < sizeof special; k++) {
                memset(bytes, 'x', sizeof bytes);
                bytes[at] = special[k];
                assert_escapes(bytes, len, 0);
            }
        }
    }
}

static void test_dense_and_random_bytes_are_escaped_right(void **state)
{
    struct random random;
    char bytes[LEN_MOST];

    (void)state;
    random_seed(&random, 1);
    for (int c = 0; c < 256; c++) {
        memset(bytes, c, sizeof bytes);
        for (size_t len = 0; len <= LEN_MOST; len++)
            assert_escapes(bytes, len, (size_t)c % ALIGNMENTS);
    }
    for (int round = 0; round < 50000; round++) {
        uint64_t most = round % 2 ? 256 : 64;

        for (size_t i = 0; i < LEN_MOST; i++)
            bytes[i] = (char)random_below(&random, most);
        assert_escapes(bytes, random_below(&random, LEN_MOST + 1),
                       random_below(&random, ALIGNMENTS));
    }
}

static void test_text_with_and_without_escapes_is_escaped_right(void **state)
{
    static const char *const pieces[] = {
        "plain text of some length", "x", "\"", "\\", "\x1b[0m", "\xc3\xa9", "\xe2\x82\xac",
        "\xf0\x9f\x90\xb3"};
    struct random random;
    char bytes[LEN_MOST + 32];

    (void)state;
    random_seed(&random, 2);
    for (int round = 0; round < 50000; round++) {
        /* Some texts are without quotes, some without what is not ASCII, some cut a character. */
        size_t kinds = 2 + random_below(&random, ARRAY_SIZE(pieces) - 1), len = 0;

        while (len < LEN_MOST) {
            const char *piece = pieces[random_below(&random, kinds)];

            memcpy(bytes + len, piece, strlen(piece));
            len += strlen(piece);
        }
        assert_escapes(bytes, random_below(&random, LEN_MOST + 1),
                       random_below(&random, ALIGNMENTS));
    }
}

static void test_escapes_are_the_short_forms_where_json_has_them(void **state)
{
    static const char in[] = "a\b\t\n\f\r\"\\/\x01\x1f\x7f\xc3\xa9";
    char out[JSON_ESCAPED_MAX(sizeof in) + 16];

    (void)state;
    *json_escape(out, slice_str(in)) = '\0';
    assert_string_equal("a\\b\\t\\n\\f\\r\\\"\\\\/\\u0001\\u001f\x7f\xc3\xa9", out);
}

static void assert_string(const char *expected, struct slice in)
{
    struct buf b = {0};

    assert_int_equal(0, json_append_string(&b, in));
    assert_string_equal(expected, buf_cstr(&b));
    buf_finish(&b);
}

static void test_a_string_has_replacements_for_what_is_not_utf8(void **state)
{
#define R "\xef\xbf\xbd"
    (void)state;
    assert_string("\"\"", slice_of(NULL, 0));
    assert_string("\"a\\\"b\"", slice_str("a\"b"));
    assert_string("\"caf\xc3\xa9\"", slice_str("caf\xc3\xa9"));
    assert_string("\"" R "\"", slice_str("\xff"));
    assert_string("\"a" R "b\"", slice_str("a\xc3"
                                           "b"));
    assert_string("\"" R R "\"", slice_str("\xc0\x80"));
    assert_string("\"" R "x\"", slice_str("\xf0\x9f\x98x"));
    assert_string("\"" R "\"", slice_str("\xe2\x82"));
    assert_string("\"" R R R "\"", slice_str("\xed\xa0\x80"));
    assert_string("\"\\u0000" R "\\n\"", slice_of("\0\x80\n", 3));
#undef R
}

static void assert_text(const char *expected, struct slice in)
{
    struct buf b = {0};

    assert_int_equal(0, buf_append_char(&b, '<'));
    assert_int_equal(0, utf8_append(&b, in));
    assert_string_equal(expected, buf_cstr(&b));
    buf_finish(&b);
}

static void test_text_has_replacements_and_no_escapes(void **state)
{
#define R "\xef\xbf\xbd"
    (void)state;
    assert_text("<", slice_of(NULL, 0));
    assert_text("<a\"\\\n", slice_str("a\"\\\n"));
    assert_text("<" R, slice_str("\xff"));
    assert_text("<caf\xc3\xa9" R "b", slice_str("caf\xc3\xa9\xc3"
                                                "b"));
    assert_text("<" R R R "\xf0\x9f\x90\xb3", slice_str("\xed\xa0\x80\xf0\x9f\x90\xb3"));
#undef R
}

static void test_a_string_of_random_bytes_is_always_utf8(void **state)
{
    struct random random;

    (void)state;
    random_seed(&random, 2);
    for (int round = 0; round < 20000; round++) {
        struct buf b = {0};
        char bytes[24];
        size_t len = random_below(&random, sizeof bytes + 1);

        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)(random_next(&random) | (round % 2 ? 0x80 : 0));
        assert_int_equal(0, json_append_string(&b, slice_of(bytes, len)));
        assert_true(utf8_is_valid(buf_slice(&b)));
        buf_reset(&b);
        assert_int_equal(0, utf8_append(&b, slice_of(bytes, len)));
        assert_true(utf8_is_valid(buf_slice(&b)));
        assert_true(b.len >= len);
        buf_finish(&b);
    }
}

/** Decodes code point by code point and compares with the shortest form. */
static bool reference_utf8(const uint8_t *p, size_t len)
{
    while (len > 0) {
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        size_t n = *p < 0x80 ? 1 : (*p & 0xe0) == 0xc0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : 4;
        uint32_t code = n == 1 ? *p : *p & (0x7fu >> n);

        if ((n == 4 && (*p & 0xf8) != 0xf0) || n > len)
            return false;
        for (size_t i = 1; i < n; i++) {
            if ((p[i] & 0xc0) != 0x80)
                return false;
            code = code << 6 | (p[i] & 0x3f);
        }
        if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
        p += n;
        len -= n;
    }
    return true;
}

static void assert_utf8_as_reference(const uint8_t *p, size_t len)
{
    if (utf8_is_valid(slice_of(p, len)) != reference_utf8(p, len))
        fail_msg("%zu bytes: %02x %02x %02x %02x", len, p[0], p[1], p[2], p[3]);
}

static void test_every_sequence_of_up_to_three_bytes_is_judged_right(void **state)
{
    (void)state;
    for (uint32_t x = 0; x < 1u << 24; x++) {
        uint8_t p[4] = {(uint8_t)x, (uint8_t)(x >> 8), (uint8_t)(x >> 16)};

        if (x < 1u << 8)
            assert_utf8_as_reference(p, 1);
        if (x < 1u << 16)
            assert_utf8_as_reference(p, 2);
        assert_utf8_as_reference(p, 3);
    }
}

static void test_sequences_of_four_bytes_are_judged_right(void **state)
{
    static const uint8_t edges[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};

    (void)state;
    for (uint32_t first = 0; first < 256; first++) {
        for (uint32_t second = 0; second < 256; second++) {
            for (size_t k = 0; k < ARRAY_SIZE(edges) * ARRAY_SIZE(edges); k++) {
                uint8_t p[4] = {(uint8_t)first, (uint8_t)second, edges[k % ARRAY_SIZE(edges)],
                                edges[k / ARRAY_SIZE(edges)]};

                assert_utf8_as_reference(p, 4);
            }
        }
    }
}

static void test_utf8_inside_long_text_is_judged_right_at_every_place(void **state)
{
    static const char *const pieces[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                         "\xc3",     "\xe2\x82",     "\xf0\x9f\x98",
                                         "\x80",     "\xed\xa0\x80"};

    (void)state;
    for (size_t len = 4; len <= LEN_MOST; len++) {
        for (size_t k = 0; k < ARRAY_SIZE(pieces); k++) {
            size_t n = strlen(pieces[k]);

            for (size_t at = 0; at + n <= len; at++) {
                uint8_t *p = malloc(len);

                assert_non_null(p);
                memset(p, 'x', len);
                memcpy(p + at, pieces[k], n);
                assert_utf8_as_reference(p, len);
                assert_int_equal(k < 3, utf8_is_valid(slice_of(p, len)));
                free(p);
            }
        }
    }
    assert_true(utf8_is_valid(slice_of(NULL, 0)));
}

static void test_base64_is_the_standard_one(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe\xfd\xfb\xef\xbe", "//79++++"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t len = strlen(cases[i].in);
        char *out = malloc(BASE64_LEN(len) + 1);

        assert_non_null(out);
        assert_int_equal(strlen(cases[i].out), BASE64_LEN(len));
        *base64_encode(out, slice_of(cases[i].in, len)) = '\0';
        assert_string_equal(cases[i].out, out);
        free(out);
    }
}

static void test_base64_is_read_back_from_behind_what_is_there(void **state)
{
    struct buf b = {0};
    char in[64], text[BASE64_LEN(sizeof in)];

    (void)state;
    for (size_t len = 0; len <= sizeof in; len++) {
        size_t text_len;

        for (size_t i = 0; i < len; i++)
            in[i] = (char)(uint8_t)(251 * i + 7 * len);
        text_len = (size_t)(base64_encode(text, slice_of(in, len)) - text);
        buf_reset(&b);
        assert_int_equal(0, buf_append_str(&b, "before"));
        assert_int_equal(0, base64_append(&b, slice_of(text, text_len)));
        assert_int_equal(6 + len, b.len);
        assert_memory_equal("before", b.data, 6);
        if (len > 0)
            assert_memory_equal(in, b.data + 6, len);
    }
    buf_finish(&b);
}

static void test_what_is_not_base64_is_not_read(void **state)
{
    static const char *const cases[] = {
        "Z",        "Zg",    "Zg=",  "Zm9",  "====",   "Z===",
        "Zg==Zg==", "Zm9v=", "Z-9v", "Zm 9", "Zm9v\n", "\x80m9v",
    };
    struct buf b = {0};

    (void)state;
    assert_int_equal(0, buf_append_str(&b, "before"));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(-EBADMSG, base64_append(&b, slice_str(cases[i])));
    assert_int_equal(-EBADMSG, base64_append(&b, slice_of("Zm\0v", 4)));
    assert_int_equal(6, b.len);
    buf_finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_at_every_length_and_alignment_is_escaped_right),
        cmocka_unit_test(test_an_escape_at_every_place_is_found),
        cmocka_unit_test(test_dense_and_random_bytes_are_escaped_right),
        cmocka_unit_test(test_text_with_and_without_escapes_is_escaped_right),
        cmocka_unit_test(test_escapes_are_the_short_forms_where_json_has_them),
        cmocka_unit_test(test_a_string_has_replacements_for_what_is_not_utf8),
        cmocka_unit_test(test_text_has_replacements_and_no_escapes),
        cmocka_unit_test(test_a_string_of_random_bytes_is_always_utf8),
        cmocka_unit_test(test_every_sequence_of_up_to_three_bytes_is_judged_right),
        cmocka_unit_test(test_sequences_of_four_bytes_are_judged_right),
        cmocka_unit_test(test_utf8_inside_long_text_is_judged_right_at_every_place),
        cmocka_unit_test(test_base64_is_the_standard_one),
        cmocka_unit_test(test_base64_is_read_back_from_behind_what_is_there),
        cmocka_unit_test(test_what_is_not_base64_is_not_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
