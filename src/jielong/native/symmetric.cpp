// Products of matrices that are known to be symmetric: half of the blocks are computed, the others are their mirror images.

#include <cstdint>

#include "matrices.h"

namespace {

constexpr int64_t BLOCK = 32;

template <typename Kind>
void product(
    const typename Kind::Number* a,
    const typename Kind::Number* b,
    const typename Kind::Number* added,
    float alpha,
    float beta,
    typename Kind::Number* out,
    int64_t n,
    int64_t m,
    int64_t threads
) {
    const int64_t words = m / Kind::PER_WORD, blocks = n / BLOCK;
    Zeros<uint32_t> turned(n * words);
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        const Tiles tiles(LANES);
#pragma omp for
        for (int64_t i = 0; i < blocks; i++)
            turn_blocks<BLOCK>(
                reinterpret_cast<const uint32_t*>(b) + i * BLOCK * words, BLOCK, words, turned.data() + i * BLOCK * words
            );
        alignas(64) float sums[BLOCK * BLOCK], mirrored[16 * 16];
        // block i of the rows with block j of the columns, j <= i; columns change last, as their words are near
#pragma omp for schedule(dynamic)
        for (int64_t pair = 0; pair < blocks * (blocks + 1) / 2; pair++) {
            int64_t j = 0, before = 0;
            for (; before + blocks - j <= pair; j++) before += blocks - j;
            const int64_t i = j + pair - before;
            multiply<false>(
                Left<Kind>{a + i * BLOCK * m, m, 32}, {turned.data() + j * BLOCK * words, BLOCK}, sums, BLOCK, BLOCK, BLOCK, m
            );
            for (int64_t r = 0; r < BLOCK; r++)
                for (int64_t c = 0; c < BLOCK; c += LANES) {
                    const int64_t place = (i * BLOCK + r) * n + j * BLOCK + c;
                    Floats v = at<Floats>(sums + r * BLOCK + c) * alpha;
                    if (added) v += Kind::load(added + place) * beta;
                    put(sums + r * BLOCK + c, v);
                    Kind::store(out + place, v);
                }
            if (i == j) continue;
            for (int64_t r = 0; r < BLOCK; r += LANES)
                for (int64_t c = 0; c < BLOCK; c += LANES) {
                    turn(reinterpret_cast<uint32_t*>(sums) + r * BLOCK + c, BLOCK, reinterpret_cast<uint32_t*>(mirrored), LANES);
                    for (int64_t l = 0; l < LANES; l++)
                        Kind::store(out + (j * BLOCK + c + l) * n + i * BLOCK + r, at<Floats>(mirrored + l * LANES));
                }
        }
    }
}

}  // namespace

extern "C" {

// out (n, n) = alpha a b' + beta added, of which the caller knows that it is symmetric; a, b (n, m), all counts whole 32s.
void jielong_symmetric(
    const float* a, const float* b, const float* added, float alpha, float beta, float* out, int64_t n, int64_t m, int64_t threads
) {
    product<Single>(a, b, added, alpha, beta, out, n, m, threads);
}

#ifdef __AVX512BF16__
void jielong_symmetric_half(
    const uint16_t* a, const uint16_t* b, const uint16_t* added, float alpha, float beta, uint16_t* out, int64_t n, int64_t m,
    int64_t threads
) {
    product<Half>(a, b, added, alpha, beta, out, n, m, threads);
}
#endif

}  // extern "C"
