/* The short value that a string is: an id, a name, an address (detect/flows/text_values.py). */

#define LEAST_SHORT 3 /* these two as in text_values.py */
#define SHORT_CHARS 100
#define MOST_BYTES 4 /* of a character in UTF-8 */

static int is_visible(uint8_t byte)
{
    return byte > ' ' && byte < 0x7F;
}

/* What is to be done with a string: -1 for nothing, 0 to leave it to Python, and its size without
 * spaces for a short value in visible ASCII, which is written to `small` in small letters. */
static Py_ssize_t read_short(const char *text, Py_ssize_t size, char *small)
{
    const uint8_t *at = (const uint8_t *)text, *end = at + size;
    int is_telling = 0, is_plain = 1;
    for (; at < end && !is_visible(*at); at++)
        is_plain &= *at == ' ';
    for (; at < end && !is_visible(end[-1]); end--)
        is_plain &= end[-1] == ' ';
    Py_ssize_t count = end - at;
    if (memchr(at, ' ', (size_t)count) != NULL)
        return -1; /* between two visible characters */
    if (!is_plain)
        return 0;
    if (count < LEAST_SHORT || count > MOST_BYTES * SHORT_CHARS)
        return -1;
    for (Py_ssize_t index = 0; index < count; index++) {
        uint8_t byte = at[index];
        if (!is_visible(byte))
            return 0;
        is_telling |= (byte >= '0' && byte <= '9') || byte == '@' || byte == '#' || byte == '/';
        if (index < SHORT_CHARS)
            small[index] = (char)(byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte);
    }
    return is_telling && count <= SHORT_CHARS ? count : -1;
}
