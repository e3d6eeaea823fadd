/* A program of somebody else's: the example of parties/trefoil.h as it stands there and, with two arguments, dealing. Run by
 * test_cluster.sh in the folder of a cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parties/trefoil.h"

#ifdef __SANITIZE_THREAD__
/* As in net/hub.c, whose own the library does not export. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libzmq.so\ncalled_from_lib:libsodium.so\n";
}
#endif

static void example(void)
{
#include "tests/parties/library_example.h"
}

/* TOKENS BUNDLES: says how many bundles there are more, or why there are none. */
static int deal(const char *tokens, const char *bundles)
{
    struct trefoil *trefoil;
    uint32_t dealt = 0;
    int code = trefoil_open(&trefoil, "client.conf", NULL, NULL);
    if (!code)
        code = trefoil_deal(trefoil, (uint32_t)atoi(tokens), (uint32_t)atoi(bundles), &dealt);
    if (code)
        fprintf(stderr, "%s\n", trefoil_message());
    else
        printf("%u\n", dealt);
    if (!code && trefoil_label(trefoil, TREFOIL_LABELS_MAX))
        code = TREFOIL_STATE;
    trefoil_close(&trefoil);
    return code;
}

int main(int argc, char **argv)
{
    if (strcmp(trefoil_version(), TREFOIL_VERSION) != 0)
        return TREFOIL_FOREIGN;
    if (argc == 3)
        return deal(argv[1], argv[2]);
    example();
    return 0;
}
