#include "controller/turn.h"
#include "controller/api_reply.h"
#include <assert.h>
#include <stdlib.h>

void turn_init(struct turn *turn)
{
    wf_list_init(&turn->effects);
    turn->count = 0;
}

void turn_fini(struct turn *turn)
{
    turn_undo(turn, 0);
}

struct effect *turn_add(struct turn *turn, enum effect_kind kind, size_t max)
{
    struct effect *effect = calloc(1, sizeof *effect);

    if (effect == NULL)
        return NULL;
    effect->kind = kind;
    wf_buf_init(&effect->bytes, max);
    wf_list_push(&turn->effects, &effect->node);
    turn->count++;
    return effect;
}

void effect_free(struct effect *effect)
{
    api_reply_free(effect->reply);
    wf_buf_fini(&effect->bytes);
    free(effect);
}

size_t turn_mark(const struct turn *turn)
{
    return turn->count;
}

void turn_undo(struct turn *turn, size_t mark)
{
    assert(mark <= turn->count);
    while (turn->count > mark) {
        struct effect *last = wf_container_of(turn->effects.prev, struct effect, node);

        wf_list_remove(&last->node);
        turn->count--;
        effect_free(last);
    }
}

struct effect *turn_take(struct turn *turn)
{
    struct effect *first;

    if (turn->count == 0)
        return NULL;
    first = wf_container_of(turn->effects.next, struct effect, node);
    wf_list_remove(&first->node);
    turn->count--;
    return first;
}

void turn_forget_peer(struct turn *turn, const struct peer *peer)
{
    for (wf_node *n = turn->effects.next; n != &turn->effects; n = n->next) {
        struct effect *effect = wf_container_of(n, struct effect, node);

        if (effect->peer == peer)
            effect->peer = NULL;
    }
}
