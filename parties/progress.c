#include "parties/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "ring/clock.h"

#define WIDTH 30
#define PAUSE 0.1 /* seconds between two drawings */

void progress_start(struct progress *progress, const char *what)
{
    *progress = (struct progress){.what = what, .shown = isatty(STDERR_FILENO), .begun = clock_seconds()};
}

void progress_update(void *context, uint64_t done, uint64_t count)
{
    struct progress *progress = context;
    double time = clock_seconds();
    if (!progress->shown || count == 0 || (time - progress->drawn < PAUSE && done < count))
        return;
    progress->drawn = time;
    char bar[WIDTH + 1];
    int filled = (int)(done * WIDTH / count);
    for (int i = 0; i < WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r%s [%s] %llu/%llu", progress->what, bar, (unsigned long long)done,
            (unsigned long long)count);
    if (done > 0 && done < count) {
        double left = (time - progress->begun) / (double)done * (double)(count - done);
        fprintf(stderr, ", %.0f s left\033[K", left);
    } else {
        fprintf(stderr, "\033[K");
    }
    fflush(stderr);
}

void progress_update_size(void *context, size_t done, size_t count)
{
    progress_update(context, done, count);
}

void progress_end(struct progress *progress)
{
    if (progress->shown && progress->drawn > 0)
        fprintf(stderr, "\r\033[K");
    progress->shown = false;
}
