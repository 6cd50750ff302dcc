/*
 * A router that ignores a withdrawal: it takes no floors, forwards what it always did and, if it
 * likes, keeps back what the one end says to the other. The end that learns of the cut (here as
 * from its own link to the controller) ends the session by itself.
 */
#include "tests/hostile/stage.h"
#include <string.h>

#define MUCH (256u << 20)
#define CUT_BEHIND 40 /* frames of a session */

struct cutting {
    struct stage stage;
    const struct authority_node *told, *cut; /* who learns that whom is cut */
    bool keeps_back;                         /* nothing leaves the one who was told any more */
    wf_link *link;                           /* of the told one */
    unsigned frames, kept;
    Weft__Wire__Signed *floors;
};

static struct cutting cutting;

static bool note_link(void *arg, wf_link *to, Weft__Wire__Control *message)
{
    (void)arg, (void)message;
    if (stage_is(to, cutting.told))
        cutting.link = to;
    return false;
}

static void tell(void)
{
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    Weft__Wire__Floors floors = WEFT__WIRE__FLOORS__INIT;

    floors.n_sets = 1;
    floors.sets = &cutting.floors;
    control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS;
    control.floors = &floors;
    assert_int_equal(wf_link_send_control(cutting.link, &control), WEFT_OK);
}

static bool cut_behind_some(void *arg, wf_link *to, uint8_t *bytes, size_t len)
{
    (void)arg, (void)bytes, (void)len;
    if (++cutting.frames == CUT_BEHIND)
        tell();
    if (cutting.keeps_back && cutting.frames > CUT_BEHIND && !stage_is(to, cutting.told)) {
        cutting.kept++;
        return true;
    }
    return false;
}

static bool keep_close(void *arg, wf_link *to, uint32_t label, weft_err *code)
{
    (void)arg, (void)to, (void)label, (void)code;
    return cutting.keeps_back && cutting.frames >= CUT_BEHIND;
}

static void play(const struct authority_node *told, const struct authority_node *cut,
                 const struct side *teller, size_t up, size_t down, bool keeps_back)
{
    struct stage *s = &cutting.stage;
    Weft__Wire__Floor floor, *list = &floor;

    cutting.told = told;
    cutting.cut = cut;
    cutting.keeps_back = keeps_back;
    cutting.frames = cutting.kept = 0;
    weft__wire__floor__init(&floor);
    floor.identity = wf_pb_id(&cut->id);
    floor.epoch = s->a.now + 1;
    floor.cut = true;
    floor.expires = s->a.now + 86400000;
    cutting.floors = authority_floors(&s->a, 1, NULL, &list, 1);
    memset(&bad, 0, sizeof bad);
    bad.is_deaf = true;
    bad.control = note_link;
    bad.frame = cut_behind_some;
    bad.close = keep_close;
    stage_talk(s, up, down, 1500);
    assert_true(cutting.frames > CUT_BEHIND);
    stage_assert_no_gain(s);
    assert_true(teller->opened && teller->closed);
    if (teller->err != WEFT_EREFUSED) /* the other's credential: for us, no permission */
        fail_msg("ended with %s: %s", weft_err_name(teller->err), teller->why);
    assert_true(teller->heard < MUCH && teller->said < MUCH);
    wf_signed_free(cutting.floors);
}

static int open_stage(void **state)
{
    (void)state;
    memset(&cutting, 0, sizeof cutting);
    stage_open(&cutting.stage);
    return 0;
}

static int close_stage(void **state)
{
    (void)state;
    stage_close(&cutting.stage);
    return 0;
}

static void a_host_cuts_a_dialer_though_the_router_goes_on(void **state)
{
    struct stage *s = &cutting.stage;
    (void)state;
    play(&s->host_node, &s->dialer_node, &s->host, MUCH, 0, false);
}

static void a_host_cuts_a_dialer_though_the_router_tells_it_nothing(void **state)
{
    struct stage *s = &cutting.stage;
    (void)state;
    play(&s->host_node, &s->dialer_node, &s->host, MUCH, 0, true);
    assert_true(cutting.kept > 0);
}

static void a_dialer_leaves_a_host_that_was_cut_though_the_router_goes_on(void **state)
{
    struct stage *s = &cutting.stage;
    (void)state;
    play(&s->dialer_node, &s->host_node, &s->dialer, 0, MUCH, false);
}

static void who_was_cut_gets_no_new_session_through_a_deaf_router(void **state)
{
    struct stage *s = &cutting.stage;
    unsigned incoming;
    (void)state;
    play(&s->host_node, &s->dialer_node, &s->host, MUCH, 0, true);
    memset(&bad, 0, sizeof bad);
    bad.is_deaf = true;
    incoming = s->incoming;
    stage_talk(s, 100, 100, 2000);
    assert_int_equal(s->incoming, incoming);
    assert_false(s->host.opened);
    assert_true(s->dialer.closed && s->dialer.err != WEFT_OK);
}

int main(void)
{
#define ON_STAGE(test) cmocka_unit_test_setup_teardown(test, open_stage, close_stage)
    const struct CMUnitTest tests[] = {
        ON_STAGE(a_host_cuts_a_dialer_though_the_router_goes_on),
        ON_STAGE(a_host_cuts_a_dialer_though_the_router_tells_it_nothing),
        ON_STAGE(a_dialer_leaves_a_host_that_was_cut_though_the_router_goes_on),
        ON_STAGE(who_was_cut_gets_no_new_session_through_a_deaf_router),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
