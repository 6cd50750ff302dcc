/* Open addressing with linear probing; labels count up, so the label itself is the hash. */
#include "router/label.h"
#include <assert.h>
#include <stdlib.h>

#define SLOTS_MIN 8u

void labels_init(struct labels *labels, uint32_t start, uint32_t max)
{
    assert(max > 0 && max <= UINT32_MAX / 4);
    *labels = (struct labels){.next = start, .max = max};
}

void labels_fini(struct labels *labels)
{
    free(labels->slots);
    labels->slots = NULL;
    labels->mask = labels->count = 0;
}

static void insert(struct label_slot *slots, uint32_t mask, uint32_t label, void *value)
{
    uint32_t i = label & mask;

    while (slots[i].label != 0) {
        assert(slots[i].label != label);
        i = (i + 1) & mask;
    }
    slots[i] = (struct label_slot){.label = label, .value = value};
}

static weft_err resize(struct labels *labels, uint32_t count)
{
    struct label_slot *slots = calloc(count, sizeof *slots);

    assert((count & (count - 1)) == 0 && count > labels->count);
    if (slots == NULL)
        return WEFT_ENOMEM;
    for (uint32_t i = 0; labels->slots != NULL && i <= labels->mask; i++)
        if (labels->slots[i].label != 0)
            insert(slots, count - 1, labels->slots[i].label, labels->slots[i].value);
    free(labels->slots);
    labels->slots = slots;
    labels->mask = count - 1;
    return WEFT_OK;
}

static struct label_slot *find(const struct labels *labels, uint32_t label)
{
    uint32_t i = label & labels->mask;

    if (labels->slots == NULL || label == 0)
        return NULL;
    while (labels->slots[i].label != 0) {
        if (labels->slots[i].label == label)
            return &labels->slots[i];
        i = (i + 1) & labels->mask;
    }
    return NULL;
}

weft_err labels_take(struct labels *labels, void *value, uint32_t *label)
{
    assert(value != NULL);
    if (labels->count >= labels->max)
        return WEFT_ELIMIT;
    /* At most three quarters full, so that a probe ends soon and an empty slot is always there. */
    if (labels->slots == NULL || labels->count + 1 > (labels->mask + 1) / 4 * 3) {
        weft_err err = resize(labels, labels->slots == NULL ? SLOTS_MIN : 2 * (labels->mask + 1));
        if (err != WEFT_OK)
            return err;
    }
    while (labels->next == 0 || find(labels, labels->next) != NULL)
        labels->next++;
    *label = labels->next++;
    insert(labels->slots, labels->mask, *label, value);
    labels->count++;
    return WEFT_OK;
}

void *labels_find(const struct labels *labels, uint32_t label)
{
    const struct label_slot *slot = find(labels, label);

    return slot == NULL ? NULL : slot->value;
}

void labels_put(struct labels *labels, uint32_t label)
{
    struct label_slot *slot = find(labels, label);
    uint32_t hole, i, mask = labels->mask;

    assert(slot != NULL);
    /* Close the gap: what stands behind it and hashes at or before it moves up. */
    hole = (uint32_t)(slot - labels->slots);
    for (i = (hole + 1) & mask; labels->slots[i].label != 0; i = (i + 1) & mask) {
        uint32_t home = labels->slots[i].label & mask;

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            labels->slots[hole] = labels->slots[i];
            hole = i;
        }
    }
    labels->slots[hole] = (struct label_slot){0};
    labels->count--;
    if (labels->count == 0) {
        free(labels->slots);
        labels->slots = NULL;
        labels->mask = 0;
    } else if (mask + 1 > SLOTS_MIN && labels->count < (mask + 1) / 8) {
        (void)resize(labels, (mask + 1) / 2); /* without memory it stays large */
    }
}

void *labels_next(const struct labels *labels, uint32_t *cursor)
{
    while (labels->slots != NULL && *cursor <= labels->mask) {
        const struct label_slot *slot = &labels->slots[(*cursor)++];

        if (slot->label != 0)
            return slot->value;
    }
    return NULL;
}
