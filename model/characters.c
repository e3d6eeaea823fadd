#include "model/characters.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define REPLACEMENT 0xfffd
#define DECOMPOSED_MAX 32 /* the longest canonical decomposition has 4 characters */

/* Runs that hold characters assigned after Unicode 8 with a class of their own since then, and none that had
 * one before. */
static const int32_t later[][2] = {
    {0x061d, 0x061d},   {0x07fd, 0x07fd},   {0x0890, 0x08e2},   {0x09fd, 0x09fe},   {0x0a76, 0x0a76},
    {0x0afa, 0x0aff},   {0x0b55, 0x0b55},   {0x0c04, 0x0c3c},   {0x0c77, 0x0c77},   {0x0c84, 0x0c84},
    {0x0d00, 0x0d00},   {0x0d3b, 0x0d3c},   {0x0d81, 0x0d81},   {0x0eba, 0x0eba},   {0x0ece, 0x0ece},
    {0x180f, 0x1886},   {0x1abf, 0x1ace},   {0x1b7d, 0x1b7e},   {0x1df6, 0x1dfb},   {0x2e43, 0x2e5d},
    {0xa82c, 0xa82c},   {0xa8c5, 0xa8c5},   {0xa8ff, 0xa8ff},   {0xa9bd, 0xa9bd},   {0x10d24, 0x10f89},
    {0x11070, 0x11074}, {0x110c2, 0x110cd}, {0x111cf, 0x111cf}, {0x1123e, 0x11241}, {0x1133b, 0x1133b},
    {0x11438, 0x1145e}, {0x11660, 0x1166c}, {0x116b9, 0x116b9}, {0x1182f, 0x11fff}, {0x12ff1, 0x13455},
    {0x16e97, 0x16f4f}, {0x16fe2, 0x16fe4}, {0x1cf00, 0x1cf46}, {0x1e000, 0x1e4ef}, {0x1e944, 0x1e95f},
};

static bool is_later(int32_t c)
{
    size_t low = 0, high = sizeof later / sizeof *later;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (later[middle][1] < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof later / sizeof *later && later[low][0] <= c;
}

static enum characters_class ascii_class(int32_t c)
{
    if (c == ' ' || (c >= '\t' && c <= '\r'))
        return CHARACTERS_SPACE;
    if (c < ' ' || c == 127)
        return CHARACTERS_CONTROL;
    bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    return plain ? CHARACTERS_OTHER : CHARACTERS_PUNCTUATION;
}

enum characters_class characters_class(int32_t c)
{
    if (c < 128)
        return ascii_class(c);
    if (c == 0x166d || c == 0x111c9) /* punctuation in Unicode 8 */
        return CHARACTERS_PUNCTUATION;
    if (c == 0x1734) /* a nonspacing mark in Unicode 8 */
        return CHARACTERS_MARK;
    if (is_later(c))
        return CHARACTERS_OTHER;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return CHARACTERS_SPACE;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
        return CHARACTERS_CONTROL;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return CHARACTERS_PUNCTUATION;
    case UTF8PROC_CATEGORY_MN:
        return CHARACTERS_MARK;
    default:
        return CHARACTERS_OTHER;
    }
}

/* The blocks the reference counts as ideographs; 0x2b820 to 0x2b91f are missing there and so here. */
static bool is_ideograph(int32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
           (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) ||
           (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

static enum status reserve(struct characters *out, size_t capacity)
{
    if (capacity <= out->capacity)
        return STATUS_OK;
    if (capacity < 2 * out->capacity)
        capacity = 2 * out->capacity;
    int32_t *at = calloc(capacity, sizeof *at);
    if (!at)
        return status_fail(STATUS_MEMORY, "no memory for a text of %zu characters", capacity);
    if (out->count > 0)
        memcpy(at, out->at, out->count * sizeof *at);
    if (out->at)
        sodium_memzero(out->at, out->capacity * sizeof *at);
    free(out->at);
    out->at = at;
    out->capacity = capacity;
    return STATUS_OK;
}

void characters_clear(struct characters *characters)
{
    if (characters->at)
        sodium_memzero(characters->at, characters->capacity * sizeof *characters->at);
    free(characters->at);
    *characters = (struct characters){0};
}

bool characters_are_printable(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    for (size_t left = strlen(text); left > 0;) {
        int32_t c;
        utf8proc_ssize_t used = utf8proc_iterate(at, (utf8proc_ssize_t)left, &c);
        if (used <= 0 || c < ' ' || (c >= 127 && c < 160))
            return false;
        at += used;
        left -= (size_t)used;
    }
    return true;
}

static enum status clean(struct characters *out, const char *text, size_t length, bool ideograph)
{
    const unsigned char *at = (const unsigned char *)text;
    out->count = 0;
    while (length > 0) {
        int32_t c;
        utf8proc_ssize_t used = utf8proc_iterate(at, (utf8proc_ssize_t)length, &c);
        if (used <= 0) {
            used = 1;
            c = REPLACEMENT;
        }
        at += used;
        length -= (size_t)used;
        enum status status = reserve(out, out->count + 3);
        if (status)
            return status;
        enum characters_class class = characters_class(c);
        bool kept_control = c == '\t' || c == '\n' || c == '\r';
        if (c == REPLACEMENT || class == CHARACTERS_CONTROL || (c < ' ' && !kept_control))
            continue;
        bool spaced = ideograph && is_ideograph(c);
        if (spaced)
            out->at[out->count++] = ' ';
        out->at[out->count++] = class == CHARACTERS_SPACE ? ' ' : c;
        if (spaced)
            out->at[out->count++] = ' ';
    }
    return STATUS_OK;
}

/* Decomposes each character, without putting marks in order. */
static enum status decompose(struct characters *out, const struct characters *in)
{
    out->count = 0;
    for (size_t i = 0; i < in->count; i++) {
        int ignored = 0;
        enum status status = reserve(out, out->count + DECOMPOSED_MAX);
        if (status)
            return status;
        int32_t *to = out->at + out->count;
        utf8proc_ssize_t made = 0;
        if (in->at[i] >= 128 && !is_later(in->at[i]))
            made = utf8proc_decompose_char(in->at[i], to, DECOMPOSED_MAX, UTF8PROC_DECOMPOSE, &ignored);
        if (made <= 0 || made > DECOMPOSED_MAX) {
            to[0] = in->at[i];
            made = 1;
        }
        out->count += (size_t)made;
    }
    return STATUS_OK;
}

/* The canonical combining class; to the reference a later character has none, so it stays where it stands. */
static uint32_t combining(int32_t c)
{
    return is_later(c) ? 0 : (uint32_t)utf8proc_get_property(c)->combining_class;
}

struct ordered {
    uint32_t combining;
    size_t index;
    int32_t character;
};

static int compare_ordered(const void *a, const void *b)
{
    const struct ordered *x = a, *y = b;
    if (x->combining != y->combining)
        return x->combining < y->combining ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Puts the marks of each run in canonical order. Sorted, not bubbled: a text may be one long run of marks. */
static enum status order_marks(struct characters *text)
{
    for (size_t begin = 0, end; begin < text->count; begin = end + 1) {
        for (end = begin; end < text->count && combining(text->at[end]) != 0;)
            end++;
        size_t length = end - begin;
        if (length < 2)
            continue;
        struct ordered *run = calloc(length, sizeof *run);
        if (!run)
            return status_fail(STATUS_MEMORY, "no memory to put %zu marks of a text in order", length);
        for (size_t i = 0; i < length; i++) {
            int32_t c = text->at[begin + i];
            run[i] = (struct ordered){combining(c), i, c};
        }
        qsort(run, length, sizeof *run, compare_ordered);
        for (size_t i = 0; i < length; i++)
            text->at[begin + i] = run[i].character;
        sodium_memzero(run, length * sizeof *run);
        free(run);
    }
    return STATUS_OK;
}

static void drop_marks(struct characters *text)
{
    size_t kept = 0;
    for (size_t i = 0; i < text->count; i++)
        if (characters_class(text->at[i]) != CHARACTERS_MARK)
            text->at[kept++] = text->at[i];
    text->count = kept;
}

static enum status strip(struct characters *text)
{
    struct characters apart = {0};
    enum status status = decompose(&apart, text);
    if (!status)
        status = order_marks(&apart);
    if (!status) {
        struct characters whole = *text;
        drop_marks(&apart);
        *text = apart;
        apart = whole;
    }
    characters_clear(&apart);
    return status;
}

static enum status lower(struct characters *text)
{
    size_t dotted = 0;
    for (size_t i = 0; i < text->count; i++)
        dotted += text->at[i] == 0x130;
    enum status status = reserve(text, text->count + dotted);
    if (status)
        return status;
    /* From the end, because the capital I with a dot becomes two characters, an i and a dot. */
    size_t to = text->count + dotted;
    for (size_t i = text->count; i-- > 0;) {
        int32_t c = text->at[i];
        if (c == 0x130)
            text->at[--to] = 0x307;
        text->at[--to] = c == 0x130 ? 'i' : utf8proc_tolower(c);
    }
    text->count += dotted;
    return STATUS_OK;
}

enum status characters_read(struct characters *out, const char *text, size_t length,
                            const struct characters_options *options)
{
    enum status status = clean(out, text, length, options->ideograph);
    if (!status && options->strip)
        status = strip(out);
    if (!status && options->lower)
        status = lower(out);
    return status;
}
