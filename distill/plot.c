/* curves.svg: one small chart a phase for the loss, one for the development metric. */
#include <errno.h>
#include <stdbool.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "distill/runlog.h"

#define PHASES 4
#define WIDTH 720.0
#define HEIGHT 180.0 /* of one chart's area */
#define LEFT 70.0
#define TOP 40.0
#define GAP 70.0

struct point {
    double x, y;
};

struct curve {
    char name[32];
    bool dev; /* points are marked, and the scale is linear */
    struct point *point;
    size_t n, room;
};

struct plot {
    struct curve curve[2 * PHASES]; /* loss and development metric of each phase */
    size_t curves;
};

static struct curve *curve_of(struct plot *plot, const char *phase, bool dev)
{
    for (size_t i = 0; i < plot->curves; i++)
        if (plot->curve[i].dev == dev && strcmp(plot->curve[i].name, phase) == 0)
            return &plot->curve[i];
    if (plot->curves == sizeof plot->curve / sizeof *plot->curve)
        return NULL;
    struct curve *curve = &plot->curve[plot->curves++];
    snprintf(curve->name, sizeof curve->name, "%s", phase);
    curve->dev = dev;
    return curve;
}

static void add_point(struct plot *plot, const char *phase, bool dev, double x, double y)
{
    struct curve *curve = curve_of(plot, phase, dev);
    if (curve == NULL)
        return;
    if (curve->n == curve->room) {
        size_t room = curve->room * 2 + 64;
        struct point *larger = reallocarray(curve->point, room, sizeof *larger);
        if (larger == NULL)
            return;
        curve->point = larger;
        curve->room = room;
    }
    curve->point[curve->n++] = (struct point){x, y};
}

/* Splits a line of the log and keeps its loss and development metric. */
static void read_row(struct plot *plot, char *line)
{
    char *field[DISTILL_LOG_FIELDS] = {0};
    for (int i = 0; i < DISTILL_LOG_FIELDS && line != NULL; i++)
        field[i] = strsep(&line, "\t\n");
    if (field[DISTILL_LOG_FIELDS - 1] == NULL)
        return;
    double epoch = strtod(field[1], NULL);
    if (field[4][0] != '\0')
        add_point(plot, field[0], false, epoch, strtod(field[4], NULL));
    if (field[11][0] != '\0')
        add_point(plot, field[0], true, epoch, strtod(field[11], NULL));
}

static void bounds(const struct curve *curve, struct point *low, struct point *high)
{
    *low = *high = curve->point[0];
    for (size_t i = 1; i < curve->n; i++) {
        low->x = fmin(low->x, curve->point[i].x);
        low->y = fmin(low->y, curve->point[i].y);
        high->x = fmax(high->x, curve->point[i].x);
        high->y = fmax(high->y, curve->point[i].y);
    }
    low->x = 0;
    if (high->x <= low->x)
        high->x = low->x + 1;
    if (high->y <= low->y)
        high->y = low->y + fmax(1e-6, fabs(low->y) * 0.1);
}

static void draw_axes(FILE *file, double top, struct point low, struct point high)
{
    fprintf(file, "<rect x='%g' y='%g' width='%g' height='%g' fill='none' stroke='#999'/>\n", LEFT, top,
            WIDTH, HEIGHT);
    for (int i = 0; i <= 4; i++) {
        double y = top + HEIGHT * (1 - i / 4.0), x = LEFT + WIDTH * i / 4.0;
        fprintf(file, "<line x1='%g' x2='%g' y1='%g' y2='%g' stroke='#eee'/>\n", LEFT, LEFT + WIDTH, y, y);
        fprintf(file, "<text x='%g' y='%g' text-anchor='end'>%.4g</text>\n", LEFT - 6, y + 4,
                low.y + (high.y - low.y) * i / 4);
        fprintf(file, "<text x='%g' y='%g' text-anchor='middle'>%.3g</text>\n", x, top + HEIGHT + 16,
                low.x + (high.x - low.x) * i / 4);
    }
}

static void draw(FILE *file, const struct curve *curve, const char *metric, double top)
{
    struct point low, high;
    bounds(curve, &low, &high);
    fprintf(file, "<text x='%g' y='%g' font-weight='bold'>%s: %s, by epoch</text>\n", LEFT, top - 10,
            curve->name,
            !curve->dev                          ? "training loss"
            : strcmp(curve->name, "layers") == 0 ? "layer-wise loss on the development set"
                                                 : metric);
    draw_axes(file, top, low, high);
    fprintf(file, "<polyline fill='none' stroke='%s' stroke-width='1.5' points='",
            curve->dev ? "#b03a2e" : "#1f5f99");
    for (size_t i = 0; i < curve->n; i++)
        fprintf(file, "%.1f,%.1f ", LEFT + WIDTH * (curve->point[i].x - low.x) / (high.x - low.x),
                top + HEIGHT * (high.y - curve->point[i].y) / (high.y - low.y));
    fputs("'/>\n", file);
    for (size_t i = 0; curve->dev && i < curve->n; i++)
        fprintf(file, "<circle r='3' fill='#b03a2e' cx='%.1f' cy='%.1f'/>\n",
                LEFT + WIDTH * (curve->point[i].x - low.x) / (high.x - low.x),
                top + HEIGHT * (high.y - curve->point[i].y) / (high.y - low.y));
}

static void put_text(FILE *file, const char *text)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '<':
            fputs("&lt;", file);
            break;
        case '&':
            fputs("&amp;", file);
            break;
        default:
            fputc(*text, file);
        }
}

static void draw_all(FILE *file, const struct plot *plot, const char *title, const char *metric)
{
    double total = TOP + (double)plot->curves * (HEIGHT + GAP) + 20;
    fprintf(file,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%g' height='%g' viewBox='0 0 %g %g' "
            "font-family='sans-serif' font-size='12'>\n<rect width='100%%' height='100%%' fill='white'/>\n",
            LEFT + WIDTH + 30, total, LEFT + WIDTH + 30, total);
    fprintf(file, "<text x='%g' y='20' font-size='14'>", LEFT);
    put_text(file, title);
    fputs("</text>\n", file);
    for (size_t i = 0; i < plot->curves; i++)
        draw(file, &plot->curve[i], metric, TOP + 20 + (double)i * (HEIGHT + GAP));
    fputs("</svg>\n", file);
}

static enum status read_log(struct plot *plot, const char *folder)
{
    char path[4096], *line = NULL;
    size_t room = 0;
    snprintf(path, sizeof path, "%s/log.tsv", folder);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return status_fail(STATUS_IO, "%s: cannot read the log: %s", path, strerror(errno));
    if (getline(&line, &room, file) > 0) /* the heading */
        while (getline(&line, &room, file) > 0)
            read_row(plot, line);
    free(line);
    fclose(file);
    return STATUS_OK;
}

enum status distill_plot_write(const char *folder, const char *title, const char *metric)
{
    char path[4096];
    struct plot plot = {0};
    enum status status = read_log(&plot, folder);
    if (status == STATUS_OK) {
        snprintf(path, sizeof path, "%s/curves.svg", folder);
        FILE *file = fopen(path, "w");
        if (file != NULL)
            draw_all(file, &plot, title, metric);
        if (file == NULL || fclose(file) != 0)
            status = status_fail(STATUS_IO, "%s: cannot write the curves: %s", path, strerror(errno));
    }
    for (size_t i = 0; i < plot.curves; i++)
        free(plot.curve[i].point);
    return status;
}
