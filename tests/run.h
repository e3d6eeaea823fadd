/* How the programs of Check end. */
#ifndef TREFOIL_TESTS_RUN_H
#define TREFOIL_TESTS_RUN_H

#include <check.h>

/* Runs and frees a suite, as talkative as CK_VERBOSITY says. Returns the exit status of the program. */
static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#endif
