/* What _network_parts.h and _network_sums.h share: the limits, the weights, and texts as parts. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MOST_PARTS 80         /* of a text */
#define MOST_PARTS_OF_WORD 8
#define MOST_LETTERS 24       /* of a part */
#define NUMBER_BITS 20        /* of a slot; the others are bits of the hash */
#define CHUNK_ROWS 256        /* parts of texts that are computed together; at least MOST_PARTS */
#define MOST_ROWS 8           /* of a block, whose sums are in registers */
#define WIDEST_TILE 32        /* outputs of a block; the width is a multiple of it */
#define MOST_CHANNELS 1024
#define MOST_LAYERS 8
#define MOST_TEXTS 64           /* of one call */
#define KERNEL 3

enum { PADDING, UNKNOWN, NUMBER };

typedef struct {
    const uint8_t *slots, *ends, *letters;
    size_t letter_count;
    unsigned slot_bits;
    size_t parts, row, width, layers, outputs;
    const int8_t *values;
    const uint8_t *steps; /* floats, of each tensor one */
} Network;

typedef struct {
    float *state, *next, *tile, *zeros;
    uint32_t numbers[CHUNK_ROWS];
    uint16_t first[CHUNK_ROWS], after[CHUNK_ROWS]; /* rows of the text that a row is of */
    size_t rows;
} Chunk;
