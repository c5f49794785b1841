// Attention in training, forwards and backwards, without ever holding all weights of a row (Dao et al. 2022).
//
// Position t sees the keys first[t] .. t. Scores stand with a key in each line and a query in each lane, so that the
// maximum, the sum and the gradients of a query need no sums over lanes. Each thread takes a pair (row, key/value head),
// with all query heads that share it; no two threads add to the same number, so the results do not depend on how many
// there are. Queries go in blocks of 32; of the keys of a block all scores are there at once, up to its own end.
//
// B rows, T positions, S the same rounded up to whole blocks, H query heads, K key/value heads, D width of a head, W the
// same rounded up.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "matrices.h"

#ifdef __AVX512BF16__

extern "C" {

// The structure of attention.py, field by field; numbers are bfloat16 where nothing else is said.
struct Attention {
    int64_t rows, length, heads, kv_heads, width;
    double scale;
    const uint16_t *q, *k, *v;  // (B, T, H, D), (B, T, K, D) twice
    const int32_t* first;       // (B, T), never falling in a row
    uint16_t* out;              // (B, T, H, D)
    float* norms;               // (B, H, 2, T) float32: a weight is 2^(score * scale * log2(e) - the first) * the second
    const uint16_t* grad_out;   // (B, T, H, D), and what follows from it; unused forwards
    uint16_t *grad_q, *grad_k, *grad_v;
};

}  // extern "C"

namespace {

constexpr int64_t BLOCK = 32, KEYS = 64;  // queries at once, and keys at once backwards
constexpr float HIDDEN = -1e30f;

// (lines / 2, columns) words, each of two lines' numbers of a column
void pair_up(const uint16_t* from, int64_t lines, int64_t columns, uint32_t* to) {
    for (int64_t l = 0; l < lines; l += 2)
        for (int64_t i = 0; i < columns; i += LANES) {
            const uint16_t* place = from + l * columns + i;
            const Words both = of_two(at<Shorts>(place), at<Shorts>(place + columns));
            std::memcpy(to + l / 2 * columns + i, &both, 64);
        }
}

// The (lines, columns) words as (lines / 32, columns, 32): each 32 lines turned.
void turn_blocks(const uint32_t* from, int64_t lines, int64_t columns, uint32_t* to) {
    for (int64_t l = 0; l < lines; l += 16)
        for (int64_t c = 0; c < columns; c += 16)
            turn(from + l * columns + c, columns, to + (l / 32 * columns + c) * 32 + l % 32, 32);
}

// The (lines, columns) bfloat16 as (lines / 32, columns, 32): each 32 lines turned; `pairs` are made on the way.
void turn_numbers(const uint16_t* from, int64_t lines, int64_t columns, uint32_t* pairs, uint16_t* to) {
    pair_up(from, lines, columns, pairs);
    for (int64_t l = 0; l < lines / 2; l += 16)
        for (int64_t c = 0; c < columns; c += 16)
            turn(pairs + l * columns + c, columns, reinterpret_cast<uint32_t*>(to) + (l / 16 * columns + c) * 16, 16);
}

// Words of the lanes of two vectors, rounded: low halves from `even`, high ones from `odd`.
inline __m512i paired(Floats even, Floats odd) {
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
    const __m512i order = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0
    );
    return _mm512_permutexvar_epi16(order, both);
}

// 2^x within 4e-6 of itself, and 0 far below 0: enough for what is rounded to bfloat16 afterwards, and a third of `exponential`.
inline Floats power_of_two(Floats x) {
    const __m512 whole = _mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const Floats r = x - (Floats)whole;
    Floats p = r * 9.6735930e-3f + 5.5485390e-2f;
    p = p * r + 2.4022247e-1f;
    p = p * r + 6.9314718e-1f;
    p = p * r + 1.0f;
    return (Floats)_mm512_scalef_ps((__m512)p, whole);
}

// rounded, of `count` lanes
inline void write_rounded(uint16_t* place, Floats v, int64_t count) {
    const __mmask16 lanes = static_cast<__mmask16>((1u << count) - 1);
    _mm256_mask_storeu_epi16(place, lanes, (__m256i)_mm512_cvtneps_pbh((__m512)v));
}

// One pair (row, key/value head) after the other, with all that a thread needs for it.
struct Head {
    const Attention& a;
    const int64_t T = a.length, S = (T + KEYS - 1) / KEYS * KEYS, D = a.width, W = (D + 31) / 32 * 32;
    const int64_t G = a.heads / a.kv_heads;
    const float scale = static_cast<float>(a.scale * 1.4426950408889634);  // of exponents of 2
    Zeros<int32_t> first = Zeros<int32_t>(S);
    Halves keys = Halves(S * W), values = Halves(S * W), line = Halves(S * W), turned = Halves(S * W);
    Pairs pairs = Pairs(S / 2 * W), queries = Pairs(S / 2 * W);

    // numbers of one head out of (T, heads, D), with zeros around
    void take(const uint16_t* from, int64_t heads, uint16_t* to) const {
        for (int64_t t = 0; t < T; t++) std::memcpy(to + t * W, from + t * heads * D, D * 2);
    }

    // Keys and values of a pair, and where its positions begin to see; the place of its first number in (B, T, K, D).
    int64_t open(int64_t row, int64_t kv_head) {
        for (int64_t t = 0; t < S; t++) first[t] = t < T ? a.first[row * T + t] : static_cast<int32_t>(t);
        const int64_t place = (row * T * a.kv_heads + kv_head) * D;
        take(a.k + place, a.kv_heads, keys.data());
        take(a.v + place, a.kv_heads, values.data());
        return place;
    }

    // whether each query of the block from t on sees each of `count` keys from s on
    bool sees_all(int64_t t, int64_t s, int64_t count) const { return first[t + BLOCK - 1] <= s && s + count - 1 <= t; }

    // lanes of the queries from t on that do not see key s
    __mmask16 blind(int64_t t, int64_t s) const {
        const __m512i key = _mm512_set1_epi32(static_cast<int>(s));
        const __m512i query = _mm512_add_epi32(
            _mm512_set1_epi32(static_cast<int>(t)), _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
        );
        return _mm512_cmpgt_epi32_mask(key, query) | _mm512_cmplt_epi32_mask(key, _mm512_loadu_si512(first.data() + t));
    }

    // the (W, 32) of queries from t on, turned and rounded, into one head of (T, H, D)
    void write_turned(const float* from, int64_t t, uint16_t* to) const {
        for (int64_t d = 0; d < D; d += 16)
            for (int64_t half = 0; half < 2; half++) {
                alignas(64) uint32_t lines[16 * 16];
                turn(reinterpret_cast<const uint32_t*>(from) + d * BLOCK + half * 16, BLOCK, lines, 16);
                const int64_t queries = std::min<int64_t>(16, T - t - half * 16), width = std::min<int64_t>(16, D - d);
                for (int64_t i = 0; i < queries; i++)
                    write_rounded(to + (t + half * 16 + i) * a.heads * D + d, at<Floats>(lines + i * 16), width);
            }
    }
};

inline Floats without(Floats v, __mmask16 lanes, float instead) {
    return (Floats)_mm512_mask_mov_ps((__m512)v, lanes, _mm512_set1_ps(instead));
}

struct Forward : Head {
    Zeros<float> scores = Zeros<float>(S * BLOCK), mixed = Zeros<float>(W * BLOCK);
    Pairs weights = Pairs(S / 2 * BLOCK);

    explicit Forward(const Attention& a) : Head{a} {}

    void all(int64_t row, int64_t kv_head) {
        open(row, kv_head);
        turn_numbers(values.data(), S, W, pairs.data(), turned.data());
        for (int64_t h = kv_head * G; h < (kv_head + 1) * G; h++) {
            take(a.q + (row * T * a.heads + h) * D, a.heads, line.data());
            turn_blocks(reinterpret_cast<const uint32_t*>(line.data()), S, W / 2, queries.data());
            for (int64_t t = 0; t < T; t += BLOCK) block(row, h, t);
        }
    }

    void block(int64_t row, int64_t h, int64_t t) {
        const int64_t begin = first[t] / BLOCK * BLOCK, count = t + BLOCK - begin;
        multiply<false>(
            {keys.data() + begin * W, W, 32}, {queries.data() + t * W / 2, BLOCK}, scores.data(), BLOCK, count, BLOCK, W
        );
        // some query does not see the keys before its document, and those behind itself
        hide(t, begin, begin, std::min<int64_t>(first[t + BLOCK - 1], t));
        hide(t, begin, t, t + BLOCK);
        Floats inverse[2];
        for (int64_t half = 0; half < 2; half++) {
            const float* of = scores.data() + half * 16;
            Floats most = Floats{} + HIDDEN, norm = {};
            for (int64_t s = 0; s < count; s++) {
                const Floats v = at<Floats>(of + s * BLOCK);
                most = larger(v, most);
            }
            const Floats base = most * scale;
            for (int64_t s = 0; s < count; s += 2) {
                const Floats even = power_of_two(at<Floats>(of + s * BLOCK) * scale - base);
                const Floats odd = power_of_two(at<Floats>(of + (s + 1) * BLOCK) * scale - base);
                norm += even + odd;
                _mm512_storeu_si512(weights.data() + s / 2 * BLOCK + half * 16, paired(even, odd));
            }
            inverse[half] = 1.0f / norm;
            const int64_t num = std::clamp<int64_t>(T - t - half * 16, 0, LANES);
            float* place = a.norms + 2 * (row * a.heads + h) * T + t + half * 16;
            store(place, base, num);
            store(place + T, inverse[half], num);
        }
        multiply<false>(
            {turned.data() + begin * W, BLOCK, W * BLOCK}, {weights.data(), BLOCK}, mixed.data(), BLOCK, W, BLOCK, count
        );
        for (int64_t d = 0; d < W; d++)
            for (int64_t half = 0; half < 2; half++) {
                float* place = mixed.data() + d * BLOCK + half * 16;
                store(place, at<Floats>(place) * inverse[half], LANES);
            }
        write_turned(mixed.data(), t, a.out + (row * T * a.heads + h) * D);
    }

    // scores of the keys from..to that queries from t on do not see; `begin` is the first key there
    void hide(int64_t t, int64_t begin, int64_t from, int64_t to) {
        for (int64_t s = from; s < to; s++)
            for (int64_t half = 0; half < 2; half++) {
                float* place = scores.data() + (s - begin) * BLOCK + half * 16;
                store(place, without(at<Floats>(place), blind(t + half * 16, s), HIDDEN), LANES);
            }
    }
};

// With weights P = exp(scale QK' - norms): dV = P' dO, dP = dO V', dS = scale P (dP - sum of dO O), dQ = dS K, dK = dS' Q.
struct Backward : Head {
    Halves grads = Halves(S * W), outs = Halves(S * W), p_strip = Halves(KEYS * S), s_strip = Halves(KEYS * S);
    Pairs key_pairs = Pairs(S / 2 * W), grad_pairs = Pairs(S / 2 * W), query_pairs = Pairs(S / 2 * W), grad_queries = Pairs(S / 2 * W);
    Pairs weights = Pairs(KEYS / 2 * BLOCK);
    Zeros<float> scores = Zeros<float>(KEYS * BLOCK), grad_mixed = scores;
    Zeros<float> bases = Zeros<float>(S), inverses = bases, sums = bases;  // where no query is: no weights
    Zeros<float> grad_q = Zeros<float>(S * W), grad_k = grad_q, grad_v = grad_q;

    explicit Backward(const Attention& a) : Head{a} {}

    void all(int64_t row, int64_t kv_head) {
        const int64_t shift = open(row, kv_head);
        turn_numbers(keys.data(), S, W, key_pairs.data(), turned.data());
        grad_k.clear();
        grad_v.clear();
        for (int64_t h = kv_head * G; h < (kv_head + 1) * G; h++) {
            const int64_t place = (row * T * a.heads + h) * D;
            take(a.q + place, a.heads, line.data());
            take(a.grad_out + place, a.heads, grads.data());
            take(a.out + place, a.heads, outs.data());
            turn_blocks(reinterpret_cast<const uint32_t*>(line.data()), S, W / 2, queries.data());
            turn_blocks(reinterpret_cast<const uint32_t*>(grads.data()), S, W / 2, grad_queries.data());
            pair_up(line.data(), S, W, query_pairs.data());
            pair_up(grads.data(), S, W, grad_pairs.data());
            const float* norms = a.norms + 2 * (row * a.heads + h) * T;
            std::memcpy(bases.data(), norms, T * sizeof(float));
            std::memcpy(inverses.data(), norms + T, T * sizeof(float));
            for (int64_t t = 0; t < T; t++) {
                Floats total = {};
                for (int64_t d = 0; d < W; d += LANES)
                    total += widened(grads.data() + t * W + d) * widened(outs.data() + t * W + d);
                sums[t] = sum<float>(total);
            }
            grad_q.clear();
            for (int64_t s = 0; s < S; s += KEYS) strip(s);
            for (int64_t t = 0; t < T; t += BLOCK) write_turned(grad_q.data() + t * W, t, a.grad_q + place);
        }
        give(grad_k, a.grad_k + shift);
        give(grad_v, a.grad_v + shift);
    }

    // KEYS keys from s on and all queries that see one of them
    void strip(int64_t s) {
        int64_t end = s;
        while (end < S && first[end] < s + KEYS) end += BLOCK;
        const int64_t width = end - s;
        for (int64_t t = s; t < end; t += BLOCK) {
            const int64_t query = t * W / 2;
            multiply<false>({keys.data() + s * W, W, 32}, {queries.data() + query, BLOCK}, scores.data(), BLOCK, KEYS, BLOCK, W);
            multiply<false>(
                {values.data() + s * W, W, 32}, {grad_queries.data() + query, BLOCK}, grad_mixed.data(), BLOCK, KEYS, BLOCK, W
            );
            block(s, t);
            multiply<true>(
                {turned.data() + s * W, BLOCK, W * BLOCK}, {weights.data(), BLOCK}, grad_q.data() + t * W, BLOCK, W, BLOCK, KEYS
            );
        }
        const int64_t from = s / 2 * W;
        multiply<true>({p_strip.data(), BLOCK, KEYS * BLOCK}, {grad_pairs.data() + from, W}, grad_v.data() + s * W, W, KEYS, W, width);
        multiply<true>({s_strip.data(), BLOCK, KEYS * BLOCK}, {query_pairs.data() + from, W}, grad_k.data() + s * W, W, KEYS, W, width);
    }

    // weights and gradients of scores, from keys s and queries t on: by lines of keys, and the latter in words too
    void block(int64_t s, int64_t t) {
        const bool is_whole = sees_all(t, s, KEYS);
        uint16_t *p_place = p_strip.data() + (t - s) * KEYS, *s_place = s_strip.data() + (t - s) * KEYS;
        for (int64_t half = 0; half < 2; half++) {
            const int64_t query = t + half * 16;
            const Floats base = at<Floats>(bases.data() + query), inverse = at<Floats>(inverses.data() + query);
            const Floats total = at<Floats>(sums.data() + query), factor = inverse * static_cast<float>(a.scale);
            for (int64_t key = 0; key < KEYS; key += 2) {
                Floats grad[2];
                for (int64_t i = 0; i < 2; i++) {
                    const int64_t place = (key + i) * BLOCK + half * 16;
                    Floats p = power_of_two(at<Floats>(scores.data() + place) * scale - base);
                    if (!is_whole) p = without(p, blind(query, s + key + i), 0.0f);
                    grad[i] = p * factor * (at<Floats>(grad_mixed.data() + place) - total);
                    write_rounded(p_place + place, p * inverse);
                    write_rounded(s_place + place, grad[i]);
                }
                _mm512_storeu_si512(weights.data() + key / 2 * BLOCK + half * 16, paired(grad[0], grad[1]));
            }
        }
    }

    void give(const Zeros<float>& from, uint16_t* to) const {
        for (int64_t t = 0; t < T; t++)
            for (int64_t d = 0; d < D; d += LANES)
                write_rounded(to + t * a.kv_heads * D + d, at<Floats>(from.data() + t * W + d), std::min<int64_t>(LANES, D - d));
    }
};

template <typename Pass>
void for_all_heads(const Attention& a, int64_t threads) {
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        const Tiles tiles(LANES);
        Pass pass(a);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < a.rows * a.kv_heads; i++) pass.all(i / a.kv_heads, i % a.kv_heads);
    }
}

}  // namespace

extern "C" {

void jielong_attend(const Attention* attention, int64_t threads) { for_all_heads<Forward>(*attention, threads); }

void jielong_attend_backward(const Attention* attention, int64_t threads) { for_all_heads<Backward>(*attention, threads); }

}  // extern "C"

#endif
