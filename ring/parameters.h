/* The widths of the arithmetic (DESIGN sections 1 and 2). Everything that depends on them reads them here.
 *
 * Opened value      |x| < 2^RING_RANGE_BITS, an integer at some public scale
 * Mask              sum of two uniform integers in [-2^RING_MASK_BITS, 2^RING_MASK_BITS)
 * Wire ring         Z_2^64: what is sent when a value is opened
 * Product ring      Z_2^80: what additive shares of products live in; 80 - 64 = 16 is the largest shift
 *
 * An opened x is hidden to statistical distance |x| / 2^(RING_MASK_BITS + 1): at most 2^-39. */
#ifndef TREFOIL_RING_PARAMETERS_H
#define TREFOIL_RING_PARAMETERS_H

#define RING_RANGE_BITS 22
#define RING_MASK_BITS 60
#define RING_WIRE_BITS 64
#define RING_PRODUCT_BITS 80
#define RING_SHIFT_MAX (RING_PRODUCT_BITS - RING_WIRE_BITS)
#define RING_RANGE ((int64_t)1 << RING_RANGE_BITS)

/* Bytes of one element on the wire and in the store. */
#define RING_WIRE_BYTES 8
#define RING_PRODUCT_BYTES 10

#endif
