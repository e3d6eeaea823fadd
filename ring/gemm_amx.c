#include "ring/gemm_kernel.h"

static bool available(void)
{
    return false;
}

const struct gemm_kernel gemm_amx = {.name = "amx", .available = available};
