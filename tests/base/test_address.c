/* Addresses: taken apart, put together again, and made into what a socket takes. */
#include "proto/base/address.h"
#include "tests/helpers/test.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

static void addresses_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
        const char *again;
    } rows[] = {
        {"fabric.example:9338", "fabric.example", 9338, "fabric.example:9338"},
        {"fabric.example", "fabric.example", 77, "fabric.example:77"},
        {"127.0.0.1:1", "127.0.0.1", 1, "127.0.0.1:1"},
        {"127.0.0.1:0", "127.0.0.1", 0, "127.0.0.1:0"},
        {"[::1]:65535", "::1", 65535, "[::1]:65535"},
        {"[2001:db8::7]", "2001:db8::7", 77, "[2001:db8::7]:77"},
        {"a-b_c.d1", "a-b_c.d1", 77, "a-b_c.d1:77"},
        {"1.a", "1.a", 77, "1.a:77"},
        {"0.0.0.0:443", "0.0.0.0", 443, "0.0.0.0:443"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        wf_address a;
        char buf[WF_ADDRESS_TEXT];
        assert_int_equal(wf_address_parse(rows[i].text, 77, &a, NULL), WEFT_OK);
        assert_string_equal(a.host, rows[i].host);
        assert_int_equal(a.port, rows[i].port);
        assert_string_equal(wf_address_text(&a, buf), rows[i].again);
    }
}

static void a_doubtful_address_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ":",
                                      ":80",
                                      "host:",
                                      "host:x",
                                      "host:65536",
                                      "host:-1",
                                      "host:+1",
                                      "host: 1",
                                      "host:1 ",
                                      "host:00080",
                                      "host:1234567890",
                                      "::1",
                                      "::1:80",
                                      "[::1",
                                      "[::1]x",
                                      "[::1]80",
                                      "[::1]:",
                                      "[]:80",
                                      "[host]:80",
                                      "[1.2.3.4]:5",
                                      "[::1%lo]:80",
                                      "a b:80",
                                      "a/b:80",
                                      "http://a",
                                      "a..b:80",
                                      ".a:80",
                                      "a.:80",
                                      "-a:80",
                                      "a.-b:80",
                                      "user@a:80",
                                      "1.2.3:80",
                                      "1.2.3.4.5:80",
                                      "999.1.1.1:80",
                                      "0x7f.1:x",
                                      "a\n:80",
                                      "\xc3\xa9:80",
                                      "1:80",
                                      "256.256.256.256:1",
                                      "[::1]]:80",
                                      "[[::1]]:80",
                                      "a.1:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        wf_address a = {.host = "before", .port = 5};
        wf_why why = {.text = ""};
        assert_int_equal(wf_address_parse(bad[i], 77, &a, &why), WEFT_EINVAL);
        assert_string_equal(a.host, "before");
        assert_int_equal(a.port, 5);
        assert_true(strlen(why.text) > 0);
    }
}

static void without_a_default_a_port_is_required(void **state)
{
    (void)state;
    wf_address a;
    assert_int_equal(wf_address_parse("host", 0, &a, NULL), WEFT_EINVAL);
    assert_int_equal(wf_address_parse("[::1]", 0, &a, NULL), WEFT_EINVAL);
    assert_int_equal(wf_address_parse("host:1", 0, &a, NULL), WEFT_OK);
}

static void a_host_has_at_most_253_characters_in_labels_of_63(void **state)
{
    (void)state;
    char text[400];
    wf_address a;
    for (size_t len = 62; len <= 64; len++) {
        memset(text, 'l', len);
        memcpy(text + len, ":80", 4);
        assert_int_equal(wf_address_parse(text, 0, &a, NULL), len <= 63 ? WEFT_OK : WEFT_EINVAL);
    }
    for (size_t len = 252; len <= 255; len++) {
        memset(text, 'h', len);
        for (size_t dot = 50; dot < 250; dot += 50)
            text[dot] = '.';
        memcpy(text + len, ":80", 4);
        assert_int_equal(wf_address_parse(text, 0, &a, NULL), len <= 253 ? WEFT_OK : WEFT_EINVAL);
    }
    memset(text, '[', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(wf_address_parse(text, 80, &a, NULL), WEFT_EINVAL);
}

static void digits_become_what_a_socket_takes_and_a_name_does_not(void **state)
{
    (void)state;
    struct sockaddr_storage sa;
    wf_address a = {.host = "192.0.2.7", .port = 443};
    assert_true(wf_address_get_sockaddr(&a, &sa));
    assert_int_equal(sa.ss_family, AF_INET);
    assert_int_equal(((struct sockaddr_in *)&sa)->sin_addr.s_addr, htonl(0xc0000207));
    assert_int_equal(wf_sockaddr_port(&sa), 443);

    wf_address v6 = {.host = "2001:db8::7", .port = 9338};
    static const uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 7};
    assert_true(wf_address_get_sockaddr(&v6, &sa));
    assert_int_equal(sa.ss_family, AF_INET6);
    assert_memory_equal(&((struct sockaddr_in6 *)&sa)->sin6_addr, bytes, 16);
    assert_int_equal(wf_sockaddr_port(&sa), 9338);

    wf_address name = {.host = "localhost", .port = 1};
    assert_false(wf_address_get_sockaddr(&name, &sa));
    assert_int_equal(wf_sockaddr_port(&sa), 9338);
}

static void of_names_only_localhost_is_listened_on(void **state)
{
    (void)state;
    struct sockaddr_storage sa = {0};
    wf_why why = {.text = ""};
    wf_address name = {.host = "fabric.example", .port = 1};
    assert_int_equal(wf_address_get_listen(&name, &sa, &why), WEFT_EUSAGE);
    assert_string_equal(why.text, "fabric.example:1: give a numeric address to listen on");
    assert_int_equal(wf_sockaddr_port(&sa), 0);

    wf_address local = {.host = "localhost", .port = 9338};
    assert_int_equal(wf_address_get_listen(&local, &sa, NULL), WEFT_OK);
    assert_int_equal(((struct sockaddr_in *)&sa)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    assert_int_equal(wf_sockaddr_port(&sa), 9338);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(a_doubtful_address_is_refused_and_changes_nothing),
        cmocka_unit_test(without_a_default_a_port_is_required),
        cmocka_unit_test(a_host_has_at_most_253_characters_in_labels_of_63),
        cmocka_unit_test(digits_become_what_a_socket_takes_and_a_name_does_not),
        cmocka_unit_test(of_names_only_localhost_is_listened_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
