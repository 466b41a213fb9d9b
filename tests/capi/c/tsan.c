/* What code that LLVM instrumented for its thread sanitizer calls and GCC's runtime lacks: the
 * functions of the C library, which the runtime watches. */
#include <string.h>

void *__tsan_memcpy(void *to, const void *from, size_t len) { return memcpy(to, from, len); }
void *__tsan_memmove(void *to, const void *from, size_t len) { return memmove(to, from, len); }
void *__tsan_memset(void *to, int byte, size_t len) { return memset(to, byte, len); }
