/* The party's own log: one line an event on standard error, each written whole.
 *
 * Only public facts may be logged: names, serials, hashes, sizes, errors. There is no way to pass a share here. */
#ifndef TREFOIL_PARTIES_JOURNAL_H
#define TREFOIL_PARTIES_JOURNAL_H

void journal(const char *party, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
