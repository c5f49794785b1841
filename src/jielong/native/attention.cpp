// Attention in training, forwards and backwards, without ever holding all weights of a row (Dao et al. 2022).
//
// Position t sees the keys first[t] .. t. Scores stand with a key in each line and a query in each lane, so that the
// maximum, the sum and the gradients of a query need no sums over lanes. Each thread takes a pair (row, key/value head),
// with all query heads that share it, or one of them forwards; no two threads add to the same number, so the results do
// not depend on how many there are. Queries go in blocks of 32; of the keys of a block all scores are there at once, up
// to its own end.
//
// B rows, T positions, S the same rounded up to whole blocks, H query heads, K key/value heads, D width of a head, W the
// same rounded up.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "matrices.h"

extern "C" {

// The structure of attention.py, field by field; numbers are all bfloat16 or all float32 where nothing else is said.
struct Attention {
    int64_t rows, length, heads, kv_heads, width;
    double scale;
    const void *q, *k, *v;  // (B, T, H, D), (B, T, K, D) twice
    const int32_t* first;   // (B, T), never falling in a row
    void* out;              // (B, T, H, D)
    float* norms;           // (B, H, 2, T) float32: a weight is 2^(score * scale * log2(e) - the first) * the second
    const void* grad_out;   // (B, T, H, D), and what follows from it; unused forwards
    void *grad_q, *grad_k, *grad_v;
};

}  // extern "C"

namespace {

constexpr int64_t BLOCK = 32, KEYS = 64;  // queries at once, and keys at once backwards
constexpr float HIDDEN = -1e30f;
constexpr int32_t COUNT[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// (lines / PER_WORD, columns) words of (lines, columns) numbers, each of so many lines' numbers of a column
template <typename Kind>
void to_words(const typename Kind::Number* from, int64_t lines, int64_t columns, uint32_t* to) {
    if constexpr (Kind::PER_WORD == 1) {
        std::memcpy(to, from, lines * columns * 4);
    } else {
        for (int64_t l = 0; l < lines; l += 2)
            for (int64_t i = 0; i < columns; i += LANES) {
                const uint16_t* place = from + l * columns + i;
                put(to + l / 2 * columns + i, of_two(at<Shorts>(place), at<Shorts>(place + columns)));
            }
    }
}

// The (lines, columns) numbers as (lines / 32, columns, 32): each 32 lines turned; `words` are made on the way.
template <typename Kind>
void turn_numbers(const typename Kind::Number* from, int64_t lines, int64_t columns, uint32_t* words, typename Kind::Number* to) {
    to_words<Kind>(from, lines, columns, words);
    turn_blocks<32 / Kind::PER_WORD>(words, lines / Kind::PER_WORD, columns, reinterpret_cast<uint32_t*>(to));
}

// Two lines' vectors as words, the second line's behind the first's where a word has one number.
template <typename Kind>
inline void write_lines(uint32_t* place, int64_t line, Floats even, Floats odd) {
#ifdef __AVX512BF16__
    if constexpr (Kind::PER_WORD == 2) {
        const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
        const __m512i order = _mm512_set_epi16(
            31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0
        );
        _mm512_storeu_si512(place, _mm512_permutexvar_epi16(order, both));
        return;
    }
#endif
    put(place, even);
    put(place + line, odd);
}

// 2^x, and 0 far below 0; for float32 within 2e-7 of itself.
template <typename Kind>
inline Floats power_of_two(Floats x) {
#ifdef __AVX512BF16__
    // within 4e-6: enough for what is rounded to bfloat16 afterwards, and a third of `exponential`
    if constexpr (Kind::PER_WORD == 2) {
        const __m512 whole = _mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const Floats r = x - (Floats)whole;
        Floats p = r * 9.6735930e-3f + 5.5485390e-2f;
        p = p * r + 2.4022247e-1f;
        p = p * r + 6.9314718e-1f;
        p = p * r + 1.0f;
        return (Floats)_mm512_scalef_ps((__m512)p, whole);
    }
#endif
    x = larger(Floats{} - 127.0f, x);
    const Floats n = nearest(x), r = x - n;
    Floats p = r * 1.5403530e-4f + 1.3333558e-3f;
    p = p * r + 9.6181291e-3f;
    p = p * r + 5.5504109e-2f;
    p = p * r + 2.4022651e-1f;
    p = p * r + 6.9314718e-1f;
    p = p * r + 1.0f;
    return p * two_to(n);
}

// `count` lanes
inline void write_some(float* place, Floats v, int64_t count) { store(place, v, count); }
#ifdef __AVX512BF16__
inline void write_some(uint16_t* place, Floats v, int64_t count) {
    const __mmask16 lanes = static_cast<__mmask16>((1u << count) - 1);
    _mm256_mask_storeu_epi16(place, lanes, (__m256i)_mm512_cvtneps_pbh((__m512)v));
}
#endif

// One pair (row, key/value head) after the other, with all that a thread needs for it.
template <typename Kind>
struct Head {
    typedef typename Kind::Number Number;
    static constexpr int64_t PER_WORD = Kind::PER_WORD;
    const Attention& a;
    const int64_t T = a.length, S = (T + KEYS - 1) / KEYS * KEYS, D = a.width, W = (D + 31) / 32 * 32;
    const int64_t G = a.heads / a.kv_heads;
    const float scale = static_cast<float>(a.scale * 1.4426950408889634);  // of exponents of 2
    Zeros<int32_t> first = Zeros<int32_t>(S);
    Zeros<Number> keys = Zeros<Number>(S * W), values = keys, line = keys, turned = keys;
    Zeros<uint32_t> words = Zeros<uint32_t>(S / PER_WORD * W), queries = words;

    // numbers of one head out of (T, heads, D), with zeros around
    void take(const void* from, int64_t heads, int64_t place, Number* to) const {
        const Number* head = static_cast<const Number*>(from) + place;
        for (int64_t t = 0; t < T; t++) std::memcpy(to + t * W, head + t * heads * D, D * sizeof(Number));
    }

    // Keys and values of a pair, and where its positions begin to see; the place of its first number in (B, T, K, D).
    int64_t open(int64_t row, int64_t kv_head) {
        for (int64_t t = 0; t < S; t++) first[t] = t < T ? a.first[row * T + t] : static_cast<int32_t>(t);
        const int64_t place = (row * T * a.kv_heads + kv_head) * D;
        take(a.k, a.kv_heads, place, keys.data());
        take(a.v, a.kv_heads, place, values.data());
        return place;
    }

    // whether each query of the block from t on sees each of `count` keys from s on
    bool sees_all(int64_t t, int64_t s, int64_t count) const { return first[t + BLOCK - 1] <= s && s + count - 1 <= t; }

    // lanes of the queries from t on that do not see key s
    Mask blind(int64_t t, int64_t s) const {
        const Ints key = Ints{} + static_cast<int32_t>(s);
        return below(at<Ints>(COUNT) + static_cast<int32_t>(t), key) | below(key, at<Ints>(first.data() + t));
    }

    // the (W, 32) of queries from t on, turned and rounded, into one head of (T, H, D)
    void write_turned(const float* from, int64_t t, Number* to) const {
        for (int64_t d = 0; d < D; d += 16)
            for (int64_t half = 0; half < 2; half++) {
                alignas(64) uint32_t lines[16 * 16];
                turn(reinterpret_cast<const uint32_t*>(from) + d * BLOCK + half * 16, BLOCK, lines, 16);
                const int64_t queries = std::min<int64_t>(16, T - t - half * 16), width = std::min<int64_t>(16, D - d);
                for (int64_t i = 0; i < queries; i++)
                    write_some(to + (t + half * 16 + i) * a.heads * D + d, at<Floats>(lines + i * 16), width);
            }
    }
};

template <typename Kind>
struct Forward : Head<Kind> {
    typedef Head<Kind> H;
    using typename H::Number;
    using H::a, H::first, H::keys, H::line, H::queries, H::scale, H::turned, H::values, H::words;
    using H::D, H::G, H::PER_WORD, H::S, H::T, H::W;
    Zeros<float> scores = Zeros<float>(S * BLOCK), mixed = Zeros<float>(W * BLOCK);
    Zeros<uint32_t> weights = Zeros<uint32_t>(S / PER_WORD * BLOCK);

    explicit Forward(const Attention& a) : Head<Kind>{a} {}

    static constexpr bool MAY_SPLIT = true;

    // query heads begin..end of those that share a key/value head
    void all(int64_t row, int64_t kv_head, int64_t begin, int64_t end) {
        H::open(row, kv_head);
        turn_numbers<Kind>(values.data(), S, W, words.data(), turned.data());
        for (int64_t h = kv_head * G + begin; h < kv_head * G + end; h++) {
            H::take(a.q, a.heads, (row * T * a.heads + h) * D, line.data());
            turn_blocks<BLOCK>(reinterpret_cast<const uint32_t*>(line.data()), S, W / PER_WORD, queries.data());
            for (int64_t t = 0; t < T; t += BLOCK) block(row, h, t);
        }
    }

    void block(int64_t row, int64_t h, int64_t t) {
        const int64_t begin = first[t] / BLOCK * BLOCK, count = t + BLOCK - begin;
        const Right wide{queries.data() + t * W / PER_WORD, BLOCK}, tall{weights.data(), BLOCK};
        multiply<false>(Left<Kind>{keys.data() + begin * W, W, 32}, wide, scores.data(), BLOCK, count, BLOCK, W);
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
                const Floats even = power_of_two<Kind>(at<Floats>(of + s * BLOCK) * scale - base);
                const Floats odd = power_of_two<Kind>(at<Floats>(of + (s + 1) * BLOCK) * scale - base);
                norm += even + odd;
                write_lines<Kind>(weights.data() + s / PER_WORD * BLOCK + half * 16, BLOCK, even, odd);
            }
            inverse[half] = 1.0f / norm;
            const int64_t num = std::clamp<int64_t>(T - t - half * 16, 0, LANES);
            float* place = a.norms + 2 * (row * a.heads + h) * T + t + half * 16;
            store(place, base, num);
            store(place + T, inverse[half], num);
        }
        multiply<false>(Left<Kind>{turned.data() + begin * W, BLOCK, W * BLOCK}, tall, mixed.data(), BLOCK, W, BLOCK, count);
        for (int64_t d = 0; d < W; d++)
            for (int64_t half = 0; half < 2; half++) {
                float* place = mixed.data() + d * BLOCK + half * 16;
                store(place, at<Floats>(place) * inverse[half], LANES);
            }
        H::write_turned(mixed.data(), t, static_cast<Number*>(a.out) + (row * T * a.heads + h) * D);
    }

    // scores of the keys from..to that queries from t on do not see; `begin` is the first key there
    void hide(int64_t t, int64_t begin, int64_t from, int64_t to) {
        for (int64_t s = from; s < to; s++)
            for (int64_t half = 0; half < 2; half++) {
                float* place = scores.data() + (s - begin) * BLOCK + half * 16;
                store(place, with(at<Floats>(place), H::blind(t + half * 16, s), HIDDEN), LANES);
            }
    }
};

// With weights P = exp(scale QK' - norms): dV = P' dO, dP = dO V', dS = scale P (dP - sum of dO O), dQ = dS K, dK = dS' Q.
template <typename Kind>
struct Backward : Head<Kind> {
    typedef Head<Kind> H;
    using typename H::Number;
    using H::a, H::first, H::keys, H::line, H::queries, H::scale, H::turned, H::values, H::words;
    using H::D, H::G, H::PER_WORD, H::S, H::T, H::W;
    Zeros<Number> grads = Zeros<Number>(S * W), outs = grads, p_strip = Zeros<Number>(KEYS * S), s_strip = p_strip;
    Zeros<uint32_t> grad_words = words, query_words = words, grad_queries = words;
    Zeros<uint32_t> weights = Zeros<uint32_t>(KEYS / PER_WORD * BLOCK);
    Zeros<float> scores = Zeros<float>(KEYS * BLOCK), grad_mixed = scores;
    Zeros<float> bases = Zeros<float>(S), inverses = bases, sums = bases;  // where no query is: no weights
    Zeros<float> grad_q = Zeros<float>(S * W), grad_k = grad_q, grad_v = grad_q;

    explicit Backward(const Attention& a) : Head<Kind>{a} {}

    static constexpr bool MAY_SPLIT = false;  // they add to the same gradients

    void all(int64_t row, int64_t kv_head, int64_t begin, int64_t end) {
        const int64_t shift = H::open(row, kv_head);
        turn_numbers<Kind>(keys.data(), S, W, words.data(), turned.data());
        grad_k.clear();
        grad_v.clear();
        for (int64_t h = kv_head * G + begin; h < kv_head * G + end; h++) {
            const int64_t place = (row * T * a.heads + h) * D;
            H::take(a.q, a.heads, place, line.data());
            H::take(a.grad_out, a.heads, place, grads.data());
            H::take(a.out, a.heads, place, outs.data());
            turn_blocks<BLOCK>(reinterpret_cast<const uint32_t*>(line.data()), S, W / PER_WORD, queries.data());
            turn_blocks<BLOCK>(reinterpret_cast<const uint32_t*>(grads.data()), S, W / PER_WORD, grad_queries.data());
            to_words<Kind>(line.data(), S, W, query_words.data());
            to_words<Kind>(grads.data(), S, W, grad_words.data());
            const float* norms = a.norms + 2 * (row * a.heads + h) * T;
            std::memcpy(bases.data(), norms, T * sizeof(float));
            std::memcpy(inverses.data(), norms + T, T * sizeof(float));
            for (int64_t t = 0; t < T; t++) {
                Floats total = {};
                for (int64_t d = 0; d < W; d += LANES)
                    total += Kind::load(grads.data() + t * W + d) * Kind::load(outs.data() + t * W + d);
                sums[t] = sum<float>(total);
            }
            grad_q.clear();
            for (int64_t s = 0; s < S; s += KEYS) strip(s);
            for (int64_t t = 0; t < T; t += BLOCK) H::write_turned(grad_q.data() + t * W, t, static_cast<Number*>(a.grad_q) + place);
        }
        give(grad_k, static_cast<Number*>(a.grad_k) + shift);
        give(grad_v, static_cast<Number*>(a.grad_v) + shift);
    }

    // KEYS keys from s on and all queries that see one of them
    void strip(int64_t s) {
        int64_t end = s;
        while (end < S && first[end] < s + KEYS) end += BLOCK;
        const int64_t width = end - s;
        for (int64_t t = s; t < end; t += BLOCK) {
            const int64_t query = t * W / PER_WORD;
            const Right asked{queries.data() + query, BLOCK}, given{grad_queries.data() + query, BLOCK};
            multiply<false>(Left<Kind>{keys.data() + s * W, W, 32}, asked, scores.data(), BLOCK, KEYS, BLOCK, W);
            multiply<false>(Left<Kind>{values.data() + s * W, W, 32}, given, grad_mixed.data(), BLOCK, KEYS, BLOCK, W);
            block(s, t);
            const Right tall{weights.data(), BLOCK};
            multiply<true>(
                Left<Kind>{turned.data() + s * W, BLOCK, W * BLOCK}, tall, grad_q.data() + t * W, BLOCK, W, BLOCK, KEYS
            );
        }
        const int64_t from = s / PER_WORD * W;
        const Left<Kind> p{p_strip.data(), BLOCK, KEYS * BLOCK}, grads_of_scores{s_strip.data(), BLOCK, KEYS * BLOCK};
        multiply<true>(p, {grad_words.data() + from, W}, grad_v.data() + s * W, W, KEYS, W, width);
        multiply<true>(grads_of_scores, {query_words.data() + from, W}, grad_k.data() + s * W, W, KEYS, W, width);
    }

    // weights and gradients of scores, from keys s and queries t on: by lines of keys, and the latter in words too
    void block(int64_t s, int64_t t) {
        const bool is_whole = H::sees_all(t, s, KEYS);
        Number *p_place = p_strip.data() + (t - s) * KEYS, *s_place = s_strip.data() + (t - s) * KEYS;
        for (int64_t half = 0; half < 2; half++) {
            const int64_t query = t + half * 16;
            const Floats base = at<Floats>(bases.data() + query), inverse = at<Floats>(inverses.data() + query);
            const Floats total = at<Floats>(sums.data() + query), factor = inverse * static_cast<float>(a.scale);
            for (int64_t key = 0; key < KEYS; key += 2) {
                Floats grad[2];
                for (int64_t i = 0; i < 2; i++) {
                    const int64_t place = (key + i) * BLOCK + half * 16;
                    Floats p = power_of_two<Kind>(at<Floats>(scores.data() + place) * scale - base);
                    if (!is_whole) p = with(p, H::blind(query, s + key + i), 0.0f);
                    grad[i] = p * factor * (at<Floats>(grad_mixed.data() + place) - total);
                    Kind::store(p_place + place, p * inverse);
                    Kind::store(s_place + place, grad[i]);
                }
                write_lines<Kind>(weights.data() + key / PER_WORD * BLOCK + half * 16, BLOCK, grad[0], grad[1]);
            }
        }
    }

    void give(const Zeros<float>& from, Number* to) const {
        for (int64_t t = 0; t < T; t++)
            for (int64_t d = 0; d < D; d += LANES)
                write_some(to + t * a.kv_heads * D + d, at<Floats>(from.data() + t * W + d), std::min<int64_t>(LANES, D - d));
    }
};

template <typename Pass>
void for_all_heads(const Attention& a, int64_t threads) {
    // of a prompt by itself there are too few pairs for all threads
    const int64_t pairs = a.rows * a.kv_heads, G = a.heads / a.kv_heads;
    const int64_t parts = Pass::MAY_SPLIT && pairs < 4 * threads ? G : 1, size = G / parts;
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        const Tiles tiles(LANES);
        Pass pass(a);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < pairs * parts; i++) {
            const int64_t pair = i / parts, part = i % parts;
            pass.all(pair / a.kv_heads, pair % a.kv_heads, part * size, (part + 1) * size);
        }
    }
}

}  // namespace

extern "C" {

void jielong_attend(const Attention* a, int64_t threads) { for_all_heads<Forward<Single>>(*a, threads); }

void jielong_attend_backward(const Attention* a, int64_t threads) { for_all_heads<Backward<Single>>(*a, threads); }

#ifdef __AVX512BF16__
void jielong_attend_half(const Attention* a, int64_t threads) { for_all_heads<Forward<Half>>(*a, threads); }

void jielong_attend_half_backward(const Attention* a, int64_t threads) { for_all_heads<Backward<Half>>(*a, threads); }
#endif

}  // extern "C"
