/* test_secret.c -- known answers, and that what was changed is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/secret.h"

static void test_secret__dup_and_release(void **state)
{
    struct secret s = secret_dup(STR("top"));

    assert_true(str_eq(secret_str(&s), STR("top")));
    assert_int_equal(s.ptr[3], '\0');
    secret_release(&s);
    assert_null(s.ptr);
    assert_int_equal(s.len, 0);
    secret_release(&s);
    s = secret_dup(STR_NONE);
    assert_null(s.ptr);
    secret_release(&s);
}

static void test_secret__random_text(void **state)
{
    unsigned seen[256] = {0};
    char text[1025], other[1025];

    secret_random_alnum(text, 1024);
    assert_int_equal(strlen(text), 1024);
    for (int round = 0; round < 100; round++) {
        secret_random_alnum(text, 1024);
        for (size_t i = 0; i < 1024; i++)
            seen[(unsigned char)text[i]]++;
    }
    for (int c = 0; c < 256; c++) { /* 1652 each on average, 40 is one deviation */
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        assert_true(is_alnum ? seen[c] > 1300 && seen[c] < 2000 : seen[c] == 0);
    }
    secret_random_hex(text, 1024);
    secret_random_hex(other, 1024);
    assert_int_equal(strspn(text, "0123456789abcdef"), 1024);
    assert_string_not_equal(text, other);
    assert_memory_not_equal(text, text + 64, 64); /* the pool is drawn anew */
    secret_random_hex(text, 0);
    assert_string_equal(text, "");
}

static void test_secret__sha256_known_answers(void **state)
{
    uint8_t hash[SECRET_HASH_SIZE], back[SECRET_HASH_SIZE];
    char hex[2 * SECRET_HASH_SIZE + 1];

    secret_sha256(STR("abc"), hash);
    secret_hex(hash, sizeof(hash), hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(secret_unhex(str_of(hex), back, sizeof(back)), 0);
    assert_memory_equal(hash, back, sizeof(hash));
    secret_sha256(STR_NONE, hash);
    secret_hex(hash, sizeof(hash), hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_secret__unhex_refuses(void **state)
{
    uint8_t out[2] = {7, 7};

    assert_int_equal(secret_unhex(STR("00f"), out, 2), ERR_SYNTAX);
    assert_int_equal(secret_unhex(STR("00fff"), out, 2), ERR_SYNTAX);
    assert_int_equal(secret_unhex(STR("00fg"), out, 2), ERR_SYNTAX);
    assert_int_equal(secret_unhex(STR("0x00"), out, 2), ERR_SYNTAX);
    assert_int_equal(out[0], 7); /* untouched */
    assert_int_equal(secret_unhex(STR("aBCd"), out, 2), 0);
    assert_int_equal(out[0], 0xab);
    assert_int_equal(out[1], 0xcd);
}

static void test_secret__equal(void **state)
{
    assert_true(secret_equal(STR("token"), STR("token")));
    assert_true(secret_equal(STR_NONE, STR("")));
    assert_false(secret_equal(STR("token"), STR("tokem")));
    assert_false(secret_equal(STR("token"), STR("token1")));
    assert_false(secret_equal(STR("token"), STR_NONE));
}

static void test_secret__password_hash(void **state)
{
    char hash[SECRET_PWHASH_SIZE], again[SECRET_PWHASH_SIZE];
    struct err e;

    assert_int_equal(secret_pwhash(STR("correct horse"), hash, &e), 0);
    assert_int_equal(strncmp(hash, "$argon2id$v=19$m=65536,", 23), 0);
    assert_true(secret_pwhash_verify(hash, STR("correct horse")));
    assert_false(secret_pwhash_verify(hash, STR("correct horsf")));
    assert_false(secret_pwhash_verify(hash, STR_NONE));
    assert_int_equal(secret_pwhash(STR("correct horse"), again, &e), 0);
    assert_string_not_equal(hash, again); /* salted */

    hash[strlen(hash) - 3] ^= 1;
    assert_false(secret_pwhash_verify(hash, STR("correct horse")));
}

static void test_secret__foreign_hashes_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "$argon2id$",
        "$argon2id$v=19$m=",
        "$argon2id$v=19$m=65536,t=2,p=1",
        "$argon2id$v=19$m=65536,t=2,p=1$$",
        /* would take 4 TiB, or for ever */
        "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$argon2id$v=19$m=65536,t=4294967295,p=1$c29tZXNhbHRzb21lc2FsdA$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$2b$12$abcdefghijklmnopqrstuuEJ0sEW5Bmu9o8b4n4Ly3Q2v6Ww5wQfi",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(secret_pwhash_verify(bad[i], STR("x")));
}

static void test_secret__seal_and_open(void **state)
{
    uint8_t key[SECRET_KEY_SIZE], sealed[100], again[100];
    struct str plain = STR("sk-upstream");
    struct secret out = {NULL, 0};
    size_t n = plain.len + SECRET_SEAL_OVERHEAD;

    secret_random(key, sizeof(key));
    secret_seal(key, plain, sealed);
    secret_seal(key, plain, again);
    assert_memory_not_equal(sealed, again, n); /* a nonce of its own each time */
    assert_int_equal(secret_open(key, str_n((char *)sealed, n), &out), 0);
    assert_true(str_eq(secret_str(&out), plain));
    secret_release(&out);

    for (size_t i = 0; i < n; i++) {
        sealed[i] ^= 0x40;
        assert_int_equal(secret_open(key, str_n((char *)sealed, n), &out), ERR_DENIED);
        sealed[i] ^= 0x40;
        assert_int_equal(secret_open(key, str_n((char *)sealed, i), &out), ERR_DENIED);
    }
    assert_null(out.ptr);
    key[0] ^= 1;
    assert_int_equal(secret_open(key, str_n((char *)sealed, n), &out), ERR_DENIED);
}

static void test_secret__seals_nothing_too(void **state)
{
    uint8_t key[SECRET_KEY_SIZE] = {1}, sealed[SECRET_SEAL_OVERHEAD];
    struct secret out = {NULL, 5};

    secret_seal(key, STR_NONE, sealed);
    assert_int_equal(secret_open(key, str_n((char *)sealed, sizeof(sealed)), &out), 0);
    assert_int_equal(out.len, 0);
    assert_null(out.ptr);
}

static void test_secret__mask(void **state)
{
    static const struct {
        struct str in;
        const char *want;
    } rows[] = {
        {STR_INIT(""), ""},
        {STR_INIT("a"), "****"},
        {STR_INIT("elevenbytes"), "****"},
        {STR_INIT("twelve bytes"), "****ytes"},
        {STR_INIT("sk-abcdefghijwxyz"), "****wxyz"},
        {STR_INIT("sk-abcdefghijk\xe4\xb8\xad\xe4\xb8\xad"), "****"},
        {STR_INIT("sk-abcdefghijkl\n\n"), "****"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[SECRET_MASK_SIZE];

        secret_mask(rows[i].in, out);
        assert_string_equal(out, rows[i].want);
    }
}

static void test_secret__redact(void **state)
{
    static const struct {
        const char *text, *secret, *want;
    } rows[] = {
        {"no key here", "sk-planted-0001", "no key here"},
        {"bad key sk-planted-0001, again sk-planted-0001.", "sk-planted-0001", "bad key ****0001, again ****0001."},
        {"sk-planted-0001", "sk-planted-0001", "****0001"},
        {"cut: sk-plant", "sk-planted-0001", "cut: ****"},
        {"cut: sk-plan", "sk-planted-0001", "cut: sk-plan"}, /* seven characters tell nothing */
        {"short abc stays", "abc", "short abc stays"},
        {"12345678", "12345678", "****"},
        {"", "sk-planted-0001", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[64];

        str_copy(text, sizeof(text), str_of(rows[i].text));
        secret_redact(text, str_of(rows[i].secret));
        assert_string_equal(text, rows[i].want);
    }
}

static int set_up(void **state)
{
    return secret_global_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secret__dup_and_release),
        cmocka_unit_test(test_secret__random_text),
        cmocka_unit_test(test_secret__sha256_known_answers),
        cmocka_unit_test(test_secret__unhex_refuses),
        cmocka_unit_test(test_secret__equal),
        cmocka_unit_test(test_secret__password_hash),
        cmocka_unit_test(test_secret__foreign_hashes_are_refused),
        cmocka_unit_test(test_secret__seal_and_open),
        cmocka_unit_test(test_secret__seals_nothing_too),
        cmocka_unit_test(test_secret__mask),
        cmocka_unit_test(test_secret__redact),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
