/* The report as a page: well-formed markup, charts as inline SVG, nothing fetched. */
#include <string.h>

#include "parties/bench.h"
#include "parties/print.h"

#define LEFT 150 /* room for names */
#define BAR 620  /* the longest bar */
#define ROW 20

/* What a chart of bars shows of each entry. */
struct series {
    const char *field, *name, *colour;
};

static const struct series time_series[] = {{"gemm_ms", "products (GEMM)", "#2b6cb0"},
                                            {"other_ms", "other arithmetic", "#90cdf4"},
                                            {"wait_ms", "sending and waiting", "#ed8936"}};
static const struct series byte_series[] = {{"bytes", "bytes each way", "#38a169"}};
static const struct series rate_series[] = {{"gmacs", "G multiply-adds a second", "#2b6cb0"}};
static const struct series link_series[] = {{"predicted_ms", "compute + bytes + delays", "#a0aec0"},
                                            {"overlapped_ms", "less what overlaps", "#718096"},
                                            {"ms", "measured", "#2b6cb0"}};

static double number(const json_t *object, const char *field)
{
    return json_number_value(json_object_get(object, field));
}

static void put_text(FILE *out, const char *text)
{
    for (; text && *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '>')
            fputs("&gt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '"')
            fputs("&quot;", out);
        else if ((unsigned char)*text >= 0x20)
            fputc(*text, out);
    }
}

static void put_amount(FILE *out, double value, bool bytes)
{
    char text[PRINT_SIZE];
    if (bytes)
        fputs(print_bytes(text, (uint64_t)value), out);
    else
        fprintf(out, value < 10 ? "%.2f" : "%.1f", value);
}

static void put_legend(FILE *out, const struct series *series, size_t count)
{
    fputs("<p class=\"legend\">", out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "<span style=\"background:%s\"></span> %s ", series[i].colour, series[i].name);
    fputs("</p>\n", out);
}

/* ---- bars: an entry a line, its series behind each other or below each other ---- */

static double longest(const json_t *list, const struct series *series, size_t count, bool stacked)
{
    double most = 0;
    const json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        double sum = 0;
        for (size_t s = 0; s < count; s++) {
            const double value = number(entry, series[s].field);
            sum = stacked ? sum + value : value;
            most = sum > most ? sum : most;
        }
    }
    return most > 0 ? most : 1;
}

static void put_name(FILE *out, const json_t *entry, double y)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *kernel = json_string_value(json_object_get(entry, "kernel"));
    fprintf(out, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">", LEFT - 8, y);
    put_text(out, name ? name : kernel);
    if (kernel) {
        fputs(" ", out);
        put_text(out, json_string_value(json_object_get(entry, "shape")));
    }
    fputs("</text>\n", out);
}

static void put_bars(FILE *out, const char *title, const json_t *list, const struct series *series,
                     size_t count, bool stacked)
{
    const double most = longest(list, series, count, stacked);
    const bool bytes = strcmp(series[0].field, "bytes") == 0;
    const size_t lines = stacked ? 1 : count;
    const json_t *entry;
    size_t i;
    fprintf(out, "<h2>%s</h2>\n", title);
    put_legend(out, series, count);
    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%zu\">\n", LEFT + BAR + 110,
            json_array_size(list) * lines * ROW + 4);
    json_array_foreach(list, i, entry)
    {
        double x = LEFT, y = (double)(i * lines * ROW), sum = 0;
        put_name(out, entry, y + 14);
        for (size_t s = 0; s < count; s++) {
            const double value = number(entry, series[s].field), width = value / most * BAR;
            sum = stacked ? sum + value : value;
            fprintf(out,
                    "<rect x=\"%.1f\" y=\"%.0f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"><title>%s: ", x,
                    y + 3, width, ROW - 6, series[s].colour, series[s].name);
            put_amount(out, value, bytes);
            fputs("</title></rect>\n", out);
            x = stacked ? x + width : LEFT;
            if (!stacked || s + 1 == count) {
                fprintf(out, "<text x=\"%.1f\" y=\"%.0f\">", LEFT + sum / most * BAR + 6, y + 14);
                put_amount(out, sum, bytes);
                fputs("</text>\n", out);
                y += ROW;
            }
        }
    }
    fputs("</svg>\n", out);
}

/* ---- the course of one inference: when it computes, and when it waits ---- */

static void put_course(FILE *out, const json_t *steps)
{
    const double width = LEFT + BAR;
    double all = 0, at = 0;
    const json_t *step;
    size_t i;
    json_array_foreach(steps, i, step) all +=
        number(step, "gemm_ms") + number(step, "other_ms") + number(step, "wait_ms");
    fprintf(out,
            "<h2>Course of one inference</h2>\n<p>From the left to the right, %.1f ms in %zu rounds: an "
            "evaluator computes "
            "(above), then sends and waits (below). Where the lower lane is empty, communication is hidden "
            "behind "
            "arithmetic.</p>\n",
            all, json_array_size(steps));
    put_legend(out, time_series, 3);
    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"70\">\n", width);
    json_array_foreach(steps, i, step) for (int s = 0; s < 3; s++)
    {
        const double value = number(step, time_series[s].field);
        fprintf(out, "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"30\" fill=\"%s\"><title>round ",
                at / all * width, s == 2 ? 36 : 2, value / all * width, time_series[s].colour);
        put_text(out, json_string_value(json_object_get(step, "name")));
        fprintf(out, ", %s: %.3f ms</title></rect>\n", time_series[s].name, value);
        at += value;
    }
    fputs("</svg>\n", out);
}

/* ---- numbers ---- */

static void put_row(FILE *out, const char *name, double value, const char *unit)
{
    fprintf(out, "<tr><th>%s</th><td>", name);
    put_amount(out, value, strcmp(unit, "B") == 0);
    fprintf(out, " %s</td></tr>\n", strcmp(unit, "B") == 0 ? "" : unit);
}

static void put_numbers(FILE *out, const json_t *r)
{
    const json_t *online = json_object_get(r, "online"), *offline = json_object_get(r, "offline"),
                 *clear = json_object_get(r, "float");
    fputs("<table>\n", out);
    put_row(out, "clear float pass", number(clear, "ms"), "ms");
    put_row(out, "its rate, of SGEMM's", number(clear, "sgemm_fraction"), "");
    put_row(out, "online", number(online, "ms"), "ms");
    put_row(out, "of it in GEMM", number(online, "gemm_fraction"), "");
    put_row(out, "bytes each way", number(online, "bytes"), "B");
    put_row(out, "rounds", number(online, "rounds"), "");
    put_row(out, "warming a bundle", number(r, "warm_ms"), "ms");
    put_row(out, "offline, a bundle", number(offline, "ms"), "ms");
    put_row(out, "bytes from the dealer", number(offline, "bytes"), "B");
    put_row(out, "online / float", number(r, "online_over_float"), "");
    put_row(out, "offline / online", number(r, "offline_over_online"), "");
    fputs("</table>\n", out);
}

static void put_head(FILE *out, const json_t *r)
{
    const json_t *machine = json_object_get(r, "machine");
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><title>trefoil "
          "bench</title>\n<style>"
          "body{font:14px sans-serif;margin:2em;color:#1a202c;max-width:60em}"
          "svg "
          "text{font-size:12px;fill:#1a202c}th{text-align:left;font-weight:normal;padding-right:2em}td{text-"
          "align:right}"
          ".legend span{display:inline-block;width:1em;height:1em;margin-left:1em;vertical-align:middle}"
          "</style></head><body>\n<h1>trefoil bench: ",
          out);
    put_text(out, json_string_value(json_object_get(r, "model")));
    fprintf(out, "</h1>\n<p>%.0f tokens, batch %.0f, %.0f thread(s) a party, medians of %.0f runs; ",
            number(r, "tokens"), number(r, "batch"), number(r, "threads"), number(r, "runs"));
    put_text(out, json_string_value(json_object_get(r, "program")));
    fputs(" on ", out);
    put_text(out, json_string_value(json_object_get(machine, "processor")));
    fprintf(out, ", %.0f processor(s).</p>\n", number(machine, "processors"));
}

void bench_page(FILE *out, const json_t *r)
{
    const json_t *layers = json_object_get(r, "layers"), *kinds = json_object_get(r, "kinds"),
                 *links = json_object_get(r, "links");
    put_head(out, r);
    put_numbers(out, r);
    put_bars(out, "Online milliseconds by layer", layers, time_series, 3, true);
    put_bars(out, "Online milliseconds by kind of gate", kinds, time_series, 3, true);
    put_course(out, json_object_get(r, "steps"));
    put_bars(out, "Bytes by layer", layers, byte_series, 1, true);
    put_bars(out, "Bytes by kind of gate", kinds, byte_series, 1, true);
    put_bars(out, "Rates of products, ring and float", json_object_get(r, "gemm"), rate_series, 1, true);
    if (json_array_size(links) > 0)
        put_bars(out, "Shaped links: online milliseconds, predicted and measured", links, link_series, 3,
                 false);
    fputs("</body></html>\n", out);
}
