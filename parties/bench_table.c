#include <stdio.h>

#include "parties/bench.h"
#include "parties/print.h"

static double number(const json_t *object, const char *field)
{
    return json_number_value(json_object_get(object, field));
}

static const char *text(const json_t *object, const char *field)
{
    const char *value = json_string_value(json_object_get(object, field));
    return value ? value : "";
}

static void print_head(const json_t *r)
{
    const json_t *machine = json_object_get(r, "machine");
    printf("%s, %s: %.0f tokens, batch %.0f, %.0f thread(s) a party, medians of %.0f runs\n",
           text(r, "program"), text(r, "model"), number(r, "tokens"), number(r, "batch"),
           number(r, "threads"), number(r, "runs"));
    printf("on %s, %.0f processor(s)\n\n", text(machine, "processor"), number(machine, "processors"));
}

/* field: of what it multiplies; and the same alone. */
static void print_unit(const json_t *unit, const char *name, const char *what, const char *field, const char *alone)
{
    if (json_is_true(json_object_get(unit, "available")))
        printf("%s multiplies %.0f G %s a second at the kernel's clock (%.0f alone): at most %.1f G ring products\n", name,
               number(unit, field), what, number(unit, alone), number(unit, "ring_gmacs"));
    else
        printf("this processor has no %s\n", name);
}

static void print_rates(const json_t *r)
{
    const json_t *entry;
    size_t i;
    printf("%-10s %-18s %6s %12s %10s %10s\n", "product", "shape", "times", "G a second", "of peak", "alone");
    json_array_foreach(json_object_get(r, "gemm"), i, entry)
    {
        printf("%-10s %-18s %6.0f %12.2f", text(entry, "kernel"), text(entry, "shape"),
               number(entry, "times"), number(entry, "gmacs"));
        if (json_is_number(json_object_get(entry, "peak_fraction")))
            printf(" %10.2f", number(entry, "peak_fraction"));
        if (json_is_number(json_object_get(entry, "alone_peak_fraction")))
            printf(" %10.2f", number(entry, "alone_peak_fraction"));
        putchar('\n');
    }
    print_unit(json_object_get(r, "amx"), "AMX", "bytes", "byte_gmacs", "alone_byte_gmacs");
    print_unit(json_object_get(r, "vnni"), "AVX-512 VNNI", "bytes", "byte_gmacs", "alone_byte_gmacs");
    print_unit(json_object_get(r, "avx2"), "AVX2", "words", "word_gmacs", "alone_word_gmacs");
    printf("peaks: byte products / 49 for amx, / 17 for vnni, word products / 10 for avx2, DGEMM / 8 for portable\n\n");
}

static void print_parts(const json_t *list, const char *title)
{
    const json_t *part;
    size_t i;
    char bytes[PRINT_SIZE], products[PRINT_SIZE];
    printf("%-14s %6s %10s %10s %10s %10s %10s\n", title, "gates", "GEMM ms", "other ms", "wait ms",
           "products", "bytes");
    json_array_foreach(list, i, part)
        printf("%-14s %6.0f %10.2f %10.2f %10.2f %10s %10s\n", text(part, "name"), number(part, "gates"),
               number(part, "gemm_ms"), number(part, "other_ms"), number(part, "wait_ms"),
               print_amount(products, (uint64_t)number(part, "products")),
               print_bytes(bytes, (uint64_t)number(part, "bytes")));
    putchar('\n');
}

static void print_times(const json_t *r)
{
    const json_t *clear = json_object_get(r, "float"), *online = json_object_get(r, "online"),
                 *offline = json_object_get(r, "offline");
    char bytes[PRINT_SIZE], offline_bytes[PRINT_SIZE];
    printf("clear float pass  %10.1f ms   %.1f G a second, %.2f of SGEMM\n", number(clear, "ms"),
           number(clear, "gmacs"), number(clear, "sgemm_fraction"));
    printf("offline, a bundle %10.1f ms   %s from the dealer\n", number(offline, "ms"),
           print_bytes(offline_bytes, (uint64_t)number(offline, "bytes")));
    printf("warming it        %10.1f ms\n", number(r, "warm_ms"));
    printf("online            %10.1f ms   %s each way, %.0f rounds; %.2f of it in GEMM, %.1f ms waiting\n",
           number(online, "ms"), print_bytes(bytes, (uint64_t)number(online, "bytes")),
           number(online, "rounds"), number(online, "gemm_fraction"), number(online, "wait_ms"));
    printf("sealing, sockets  %10.1f ms   %.2f of online; beside them %.1f ms idle on the link\n",
           number(online, "sealing_ms") + number(online, "sockets_ms"), number(online, "link_fraction"),
           number(online, "idle_ms"));
    printf("online / float    %10.2f\noffline / online  %10.2f\n", number(r, "online_over_float"),
           number(r, "offline_over_online"));
}

static void print_together(const json_t *t, const char *link)
{
    if (t)
        printf("%.0f at a time%s%s: %.1f ms, %.1f ms a sequence; alone %.1f ms from the request on; %.2f of it, %.2f of "
               "online\n",
               number(t, "count"), link[0] ? ", " : "", link, number(t, "ms"), number(t, "ms_a_sequence"),
               number(t, "alone_ms"), number(t, "of_alone"), number(t, "of_online"));
}

static void print_links(const json_t *list)
{
    const json_t *link;
    size_t i;
    if (json_array_size(list) == 0)
        return;
    printf("\n%-10s %12s %10s %14s %14s %10s %14s %10s\n", "link", "Mbit/s", "delay ms", "measured ms", "predicted ms",
           "quotient", "overlapped ms", "quotient");
    json_array_foreach(list, i, link)
        printf("%-10s %12.0f %10.1f %14.1f %14.1f %10.2f %14.1f %10.2f\n", text(link, "name"),
               number(link, "rate") / 1e6, number(link, "delay_ms"), number(link, "ms"),
               number(link, "predicted_ms"), number(link, "measured_over_predicted"),
               number(link, "overlapped_ms"), number(link, "measured_over_overlapped"));
    json_array_foreach(list, i, link)
        print_together(json_object_get(link, "in_flight"), text(link, "name"));
}

void bench_table(const json_t *r)
{
    print_head(r);
    print_rates(r);
    print_parts(json_object_get(r, "kinds"), "gate");
    print_parts(json_object_get(r, "layers"), "layer");
    print_times(r);
    print_together(json_object_get(r, "in_flight"), "");
    print_links(json_object_get(r, "links"));
}
