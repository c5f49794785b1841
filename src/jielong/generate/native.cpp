// A few tokens through a whole decoder in one call: what `packed.py` computes, without the time between operations.
//
// With few tokens a step a model reads each of its weights once and does little with it, so the memory decides. All
// threads walk through the layers together, each over its share of the rows of every matrix, and wait for each other
// where a result is needed whole; small things, such as a norm, every thread computes for itself, which is cheaper than
// waiting. The file is built once for each instruction set (`hatch_build.py`) and called through `native.py`.
//
// N tokens, C hidden width, H query heads, K key/value heads, D width of a head, F width of the feed-forward block.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <omp.h>
#if defined(__AVX512BF16__) || defined(__AVX512VNNI__)
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 16;
typedef float Floats __attribute__((vector_size(64), aligned(4)));
typedef int32_t Ints __attribute__((vector_size(64), aligned(4)));
typedef uint16_t Halves __attribute__((vector_size(32), aligned(2)));
typedef int8_t Bytes __attribute__((vector_size(16), aligned(1)));
typedef uint32_t Words __attribute__((vector_size(64), aligned(4)));

// Sums of ROWS x TOKENS products fit into the registers.
#ifdef __AVX512F__
constexpr int ROWS = 4, TOKENS = 4;
#else
constexpr int ROWS = 2, TOKENS = 2;
#endif

enum Type : int64_t { FLOAT32 = 0, BFLOAT16 = 1, INT8 = 2 };

}  // namespace

extern "C" {

// The structures of native.py, field by field.
struct Matrix {
    const void* weight;    // (rows, columns); in tiles (rows / 4, lines, 4) of lines of 64 bytes
    const float* scale;    // (rows,), of int8
    const int32_t* total;  // (rows,), of int8: the sum of each row
    const float* bias;     // (rows,) or null
    int64_t rows, columns, type, is_tiled;
};

struct Layer {
    Matrix qkv, o, up, down;
    const float* qk_gain;          // (H + K, D) or null
    const float* turns;            // (positions, D / 2) complex, or null
    const float* after_attention;  // (C,) or null
    const float* after_mlp;        // (C,) or null
    int64_t window;                // 0 sees everything
};

struct Model {
    int64_t num_layers, hidden, heads, kv_heads, head_dim, is_gated, is_gelu, is_layer_norm;
    double hidden_floor, head_floor;
    const float* embedding;  // (V, C)
    const float* positions;  // (L, C) or null
    const Layer* layers;
};

}  // extern "C"

namespace {

template <typename V, typename T>
inline V at(const T* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

// The sum of the lanes, by halves.
template <typename T, typename V>
inline T sum(V v) {
    typedef T Eight __attribute__((vector_size(32)));
    typedef T Four __attribute__((vector_size(16)));
    Eight eight[2];
    std::memcpy(eight, &v, 64);
    eight[0] += eight[1];
    Four four[2];
    std::memcpy(four, eight, 32);
    four[0] += four[1];
    return (four[0][0] + four[0][2]) + (four[0][1] + four[0][3]);
}

// The sums of 16 vectors as one vector, in four rounds that each add neighbours: 45 operations where 16 single sums take
// 160. Not for AVX2, which has no shuffles across such vectors.
#ifdef __AVX512F__
template <typename V>
inline V pairs(V a, V b, Ints even, Ints odd) {
    return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, odd);
}

template <typename V>
inline V fold(const V v[16]) {
    constexpr Ints one = {0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30};
    constexpr Ints two = {0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29};
    constexpr Ints four = {0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27};
    constexpr Ints eight = {0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23};
    V a[8], b[4], c[2];
    for (int i = 0; i < 8; i++) a[i] = pairs(v[2 * i], v[2 * i + 1], one, one + 1);
    for (int i = 0; i < 4; i++) b[i] = pairs(a[2 * i], a[2 * i + 1], two, two + 2);
    for (int i = 0; i < 2; i++) c[i] = pairs(b[2 * i], b[2 * i + 1], four, four + 4);
    return pairs(c[0], c[1], eight, eight + 8);
}
#endif

// out[i] = the sum of the lanes of v[i].
template <int COUNT, typename V, typename T>
inline void totals(const V* v, T* out) {
#ifdef __AVX512F__
    if constexpr (COUNT == 16) {
        const V all = fold(v);
        std::memcpy(out, &all, sizeof all);
        return;
    }
#endif
    for (int i = 0; i < COUNT; i++) out[i] = sum<T>(v[i]);
}

inline Floats wide(const uint16_t* p) {
    const Words bits = __builtin_convertvector(at<Halves>(p), Words) << 16;
    return at<Floats>(&bits);
}

inline Floats wide(const int8_t* p) {
    return __builtin_convertvector(__builtin_convertvector(at<Bytes>(p), Ints), Floats);
}

inline Floats wide(const float* p) { return at<Floats>(p); }

inline float narrow(uint16_t x) {
    const uint32_t bits = static_cast<uint32_t>(x) << 16;
    return at<float>(&bits);
}

inline uint16_t rounded(float x) {  // to the nearest bfloat16, ties to even; x is finite
    const uint32_t bits = at<uint32_t>(&x);
    return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// exp(x) within 2 units in the last place: 2^n times a polynomial for |rest| <= ln(2) / 2.
inline Floats exponential(Floats x) {
    const Floats low = Floats{} - 87.0f, high = Floats{} + 88.0f;
    x = x < low ? low : (x > high ? high : x);
    const Floats half = Floats{} + 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    const Floats n = (x * 1.44269504f + half) - half;
    const Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Floats p = r * (1.0f / 5040) + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    const Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
    return p * at<Floats>(&power);
}

inline Floats activated(Floats x, bool is_gelu) {
    // gelu's tanh(u) is 2 / (1 + exp(-2u)) - 1
    const Floats u = is_gelu ? 1.5957691216f * (x + 0.044715f * x * x * x) : x;
    return x / (1.0f + exponential(-u));
}

// Tokens as a matrix of some type wants to be multiplied with them.
struct Tokens {
    std::vector<float> floats;     // (N, columns)
    std::vector<uint16_t> halves;  // (N, columns)
    std::vector<uint8_t> bytes;    // (N, 2, columns): the high and the low byte of a 16-bit number
    std::vector<float> scale;      // (N,)

    float number(int64_t i) const {
#ifdef __AVX512BF16__
        return narrow(halves[i]);
#else
        return floats[i];
#endif
    }

    float integer(int64_t n, int64_t i, int64_t columns) const {
#ifdef __AVX512VNNI__
        const uint8_t* high = bytes.data() + 2 * n * columns + i;
        return 256.0f * high[0] + high[columns];
#else
        return floats[n * columns + i];
#endif
    }

    Tokens(int64_t N, int64_t columns) : floats(N * columns), halves(N * columns), bytes(2 * N * columns), scale(N) {}

    void take(const float* x, int64_t n, int64_t columns, int64_t type) {
#ifdef __AVX512BF16__
        if (type == BFLOAT16) {
            for (int64_t i = 0; i < columns; i++) halves[n * columns + i] = rounded(x[i]);
            return;
        }
#endif
#ifdef __AVX512VNNI__
        if (type == INT8) {
            // 16 bits for the largest of a token: finer than bfloat16 for all that matter, and the sums are exact
            float largest = 1e-30f;
            for (int64_t i = 0; i < columns; i++) largest = std::max(largest, std::fabs(x[i]));
            const float inverse = 32767.0f / largest;
            scale[n] = largest / 32767.0f;
            uint8_t* high = bytes.data() + 2 * n * columns;
            uint8_t* low = high + columns;
            for (int64_t i = 0; i < columns; i++) {
                const int32_t q = static_cast<int32_t>(std::nearbyint(x[i] * inverse)) + 32768;
                high[i] = static_cast<uint8_t>(q >> 8);
                low[i] = static_cast<uint8_t>(q & 255);
            }
            return;
        }
#endif
        (void)type;
        std::memcpy(floats.data() + n * columns, x, columns * sizeof(float));
    }
};

// Where R rows of a matrix lie: a line of 64 bytes holds `LINE` numbers of a row; the next row's line is `row` numbers
// further, the same row's next line `line` numbers. `ahead` is what will be wanted next, to be fetched meanwhile, or null.
template <typename W>
struct Rows {
    static constexpr int64_t LINE = 64 / sizeof(W);
    const W* first;
    int64_t row, line;
    const W* ahead;

    Rows(const Matrix& a, int64_t index, bool is_first_pass) {
        const W* weight = static_cast<const W*>(a.weight);
        row = a.is_tiled ? LINE : a.columns;
        line = a.is_tiled ? 4 * LINE : LINE;
        first = a.is_tiled ? weight + index / 4 * 4 * a.columns + index % 4 * LINE : weight + index * a.columns;
        ahead = is_first_pass ? first + 4 * a.columns : nullptr;
    }

    const W* at(int r, int64_t l) const { return first + r * row + l * line; }

    void fetch(int r, int64_t l) const {
        if (ahead) __builtin_prefetch(ahead + r * row + l * line);
    }
};

// sums[m * R + r] = row r times token m, to be added up over the lanes; they stay in registers while the columns go by.
// What does not fill a line is left out.
template <int R, int M, typename W>
inline void products(const Rows<W>& w, const float* x, int64_t columns, Floats* sums) {
    for (int64_t l = 0; l < columns / w.LINE; l++)
        for (int64_t part = 0; part < w.LINE; part += LANES) {
            Floats tokens[M];
            for (int m = 0; m < M; m++) tokens[m] = at<Floats>(x + m * columns + l * w.LINE + part);
            for (int r = 0; r < R; r++) {
                if (part == 0) w.fetch(r, l);
                const Floats row = wide(w.at(r, l) + part);
                for (int m = 0; m < M; m++) sums[m * R + r] += row * tokens[m];
            }
        }
}

#ifdef __AVX512BF16__
template <int R, int M>
inline void products(const Rows<uint16_t>& w, const uint16_t* x, int64_t columns, Floats* sums) {
    for (int64_t l = 0; l < columns / 32; l++) {
        __m512bh tokens[M];
        for (int m = 0; m < M; m++) tokens[m] = at<__m512bh>(x + m * columns + l * 32);
        for (int r = 0; r < R; r++) {
            w.fetch(r, l);
            const __m512bh row = at<__m512bh>(w.at(r, l));
            for (int m = 0; m < M; m++) sums[m * R + r] = (Floats)_mm512_dpbf16_ps((__m512)sums[m * R + r], row, tokens[m]);
        }
    }
}
#endif

#ifdef __AVX512VNNI__
// A token's number is 256 * high + low - 32768; the last is taken off afterwards.
template <int R, int M>
inline void products(const Rows<int8_t>& w, const uint8_t* x, int64_t columns, Floats* sums) {
    Ints high[R * M] = {}, low[R * M] = {};
    for (int64_t l = 0; l < columns / 64; l++)
        for (int r = 0; r < R; r++) {
            w.fetch(r, l);
            const __m512i row = at<__m512i>(w.at(r, l));
            for (int m = 0; m < M; m++) {
                const uint8_t* token = x + 2 * m * columns + l * 64;
                const int p = m * R + r;
                high[p] = (Ints)_mm512_dpbusd_epi32((__m512i)high[p], at<__m512i>(token), row);
                low[p] = (Ints)_mm512_dpbusd_epi32((__m512i)low[p], at<__m512i>(token + columns), row);
            }
        }
    // a lane's sums are below 2^24 for up to 8,000 columns, and rounded as floats are beyond
    for (int p = 0; p < R * M; p++)
        sums[p] += 256.0f * __builtin_convertvector(high[p], Floats) + __builtin_convertvector(low[p], Floats);
}
#endif

inline int64_t line_of(const Matrix& a) { return a.type == FLOAT32 ? 16 : a.type == BFLOAT16 ? 32 : 64; }

// What the lines leave of a row and a token.
float rest(const Matrix& a, const Tokens& x, int64_t row, int64_t token) {
    float total = 0.0f;
    for (int64_t i = a.columns / line_of(a) * line_of(a); i < a.columns; i++) {
        const int64_t w = row * a.columns + i;
        if (a.type == FLOAT32)
            total += static_cast<const float*>(a.weight)[w] * x.floats[token * a.columns + i];
        else if (a.type == BFLOAT16)
            total += narrow(static_cast<const uint16_t*>(a.weight)[w]) * x.number(token * a.columns + i);
        else
            total += static_cast<float>(static_cast<const int8_t*>(a.weight)[w]) * x.integer(token, i, a.columns);
    }
    return total;
}

template <int R, int M>
inline void tile(const Matrix& a, const Tokens& x, int64_t row, int64_t token, Floats* sums) {
    const int64_t columns = a.columns;
    const bool is_first_pass = token == 0;
    const float* floats = x.floats.data() + token * columns;
    if (a.type == FLOAT32) {
        products<R, M>(Rows<float>(a, row, is_first_pass), floats, columns, sums);
    } else if (a.type == BFLOAT16) {
        const Rows<uint16_t> rows(a, row, is_first_pass);
#ifdef __AVX512BF16__
        products<R, M>(rows, x.halves.data() + token * columns, columns, sums);
#else
        products<R, M>(rows, floats, columns, sums);
#endif
    } else {
        const Rows<int8_t> rows(a, row, is_first_pass);
#ifdef __AVX512VNNI__
        products<R, M>(rows, x.bytes.data() + 2 * token * columns, columns, sums);
#else
        products<R, M>(rows, floats, columns, sums);
#endif
    }
}

// From sums over the columns of some rows and one token to numbers of the result, in place.
template <int COUNT>
inline void finish(const Matrix& a, const Tokens& x, int64_t row, int64_t token, bool has_rest, float* totals) {
    if (has_rest)
        for (int i = 0; i < COUNT; i++) totals[i] += rest(a, x, row + i, token);
    if (a.type == INT8) {
#ifdef __AVX512VNNI__
        for (int i = 0; i < COUNT; i++)
            totals[i] = (totals[i] - 32768.0f * static_cast<float>(a.total[row + i])) * x.scale[token];
#endif
        for (int i = 0; i < COUNT; i++) totals[i] *= a.scale[row + i];
    }
    if (a.bias)
        for (int i = 0; i < COUNT; i++) totals[i] += a.bias[row + i];
}

// COUNT sums of PARTS tiles of R rows and M tokens, added up, finished and given away.
template <int R, int M, int PARTS, typename Give>
inline void block(const Matrix& a, const Tokens& x, int64_t row, int64_t token, bool has_rest, Give give) {
    static_assert(M == 1 || PARTS == 1);
    constexpr int COUNT = R * M * PARTS;
    Floats sums[COUNT] = {};
    float out[COUNT];
    for (int part = 0; part < PARTS; part++) tile<R, M>(a, x, row + part * R, token, sums + part * R);
    totals<COUNT>(sums, out);
    for (int m = 0; m < M; m++) {
        constexpr int EACH = R * PARTS;
        finish<EACH>(a, x, row, token + m, has_rest, out + m * EACH);
        for (int i = 0; i < EACH; i++) give(token + m, row + i, out[m * EACH + i]);
    }
}

// give(token, row, value) for each of the rows begin..end and all tokens.
template <typename Give>
inline void multiply(const Matrix& a, const Tokens& x, int64_t N, int64_t begin, int64_t end, Give give) {
    const bool has_rest = a.columns % line_of(a) != 0;
    int64_t row = begin;
    // of a few tokens, as many rows as can be added up at once
    for (; N < TOKENS && row + 16 <= end; row += 16)
        for (int64_t token = 0; token < N; token++) block<ROWS, 1, 16 / ROWS>(a, x, row, token, has_rest, give);
    for (; row + ROWS <= end; row += ROWS) {
        int64_t token = 0;
        for (; token + TOKENS <= N; token += TOKENS) block<ROWS, TOKENS, 1>(a, x, row, token, has_rest, give);
        for (; token < N; token++) block<ROWS, 1, 1>(a, x, row, token, has_rest, give);
    }
    for (; row < end; row++)
        for (int64_t token = 0; token < N; token++) block<1, 1, 1>(a, x, row, token, has_rest, give);
}

// This thread's part of `count` things, in whole groups of `group`.
struct Share {
    int64_t begin, end;
    Share(int64_t count, int64_t group = 1) {
        const int64_t groups = (count + group - 1) / group, threads = omp_get_num_threads(), me = omp_get_thread_num();
        begin = std::min(count, groups * me / threads * group);
        end = std::min(count, groups * (me + 1) / threads * group);
    }
};

inline float squares(const float* x, int64_t n) {
    Floats total = {};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) total += at<Floats>(x + i) * at<Floats>(x + i);
    float rest = sum<float>(total);
    for (; i < n; i++) rest += x[i] * x[i];
    return rest;
}

// x over its length; the gain and sqrt(C) are in the weights behind it
void normalise(const float* x, float* out, int64_t n, double floor, bool is_layer_norm) {
    float mean = 0.0f;
    if (is_layer_norm) {
        for (int64_t i = 0; i < n; i++) mean += x[i];
        mean /= static_cast<float>(n);
    }
    for (int64_t i = 0; i < n; i++) out[i] = x[i] - mean;
    const float inverse = static_cast<float>(1.0 / std::sqrt(squares(out, n) + floor * floor));
    for (int64_t i = 0; i < n; i++) out[i] *= inverse;
}

// One query head over the keys first..last of its slot, softmax by running maximum in blocks.
void attend(const float* q, const float* keys, const float* values, int64_t first, int64_t last, int64_t D, float* out) {
    constexpr float NONE = -1e30f;
    float largest = NONE, norm = 0.0f;
    for (int64_t d = 0; d < D; d++) out[d] = 0.0f;
    for (int64_t start = first; start <= last; start += LANES) {
        const int64_t count = std::min<int64_t>(LANES, last + 1 - start);
        float scores[LANES];
        Floats sums[LANES] = {};
        int64_t d = 0;
        for (; d + LANES <= D; d += LANES)
            for (int64_t s = 0; s < count; s++) sums[s] += at<Floats>(q + d) * at<Floats>(keys + (start + s) * D + d);
        totals<LANES>(sums, scores);
        for (; d < D; d++)
            for (int64_t s = 0; s < count; s++) scores[s] += q[d] * keys[(start + s) * D + d];
        float top = largest;
        for (int64_t s = 0; s < count; s++) top = std::max(top, scores[s]);
        for (int64_t s = count; s < LANES; s++) scores[s] = NONE;
        const Floats weights = exponential(at<Floats>(scores) - top);
        if (top > largest) {
            const float shrink = std::exp(largest - top);
            norm *= shrink;
            for (d = 0; d < D; d++) out[d] *= shrink;
            largest = top;
        }
        for (int64_t s = 0; s < count; s++) {
            const float* value = values + (start + s) * D;
            const float weight = weights[s];
            norm += weight;
            for (d = 0; d < D; d++) out[d] += weight * value[d];
        }
    }
    const float inverse = 1.0f / norm;
    for (int64_t d = 0; d < D; d++) out[d] *= inverse;
}

}  // namespace

extern "C" {

// Hidden states (N, C) of N tokens, ready for the head, into `hidden`; their keys and values into the caches, which are
// one (2, slots, K, length, D) float32 a layer. Tokens of one slot must come in the order of their positions.
void jielong_extend(
    const Model* model,
    float* const* caches,
    int64_t slots,
    int64_t length,
    int64_t N,
    const int64_t* ids,
    const int64_t* slot,
    const int64_t* position,
    float* hidden,
    int64_t threads
) {
    const Model& m = *model;
    const int64_t C = m.hidden, H = m.heads, K = m.kv_heads, D = m.head_dim, G = H / K, heads = H + 2 * K;
    int64_t F = 0;
    for (int64_t l = 0; l < m.num_layers; l++) F = std::max(F, m.layers[l].down.columns);
    std::vector<float> x(N * C), qkv(N * heads * D), mixed(N * H * D), inner_N(N * F), raw(N * C);
    const int64_t widest = std::max({C, H * D, F});
    // of a few tokens every thread makes its own, which saves waiting
    const bool is_shared = N >= 8;
    Tokens common(is_shared ? N : 0, widest);

#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        Tokens own(is_shared ? 0 : N, widest);
        Tokens& tokens = is_shared ? common : own;
        std::vector<float> line(C);
        const Share mine(N);
        const int64_t first_token = is_shared ? mine.begin : 0, last_token = is_shared ? mine.end : N;
        const auto take = [&](const std::vector<float>& from, int64_t width, int64_t type) {
            for (int64_t n = first_token; n < last_token; n++) tokens.take(from.data() + n * width, n, width, type);
            if (is_shared) {
#pragma omp barrier
            }
        };
        const auto take_normalised = [&](int64_t type) {
            for (int64_t n = first_token; n < last_token; n++) {
                normalise(x.data() + n * C, line.data(), C, m.hidden_floor, m.is_layer_norm != 0);
                tokens.take(line.data(), n, C, type);
            }
            if (is_shared) {
#pragma omp barrier
            }
        };
        // x += a times tokens, behind a norm of its own where the family has one
        const auto add = [&](const Matrix& a, const float* gain) {
            const Share rows(C, 4);
            if (!gain) {
                multiply(a, tokens, N, rows.begin, rows.end, [&](int64_t n, int64_t r, float v) { x[n * C + r] += v; });
#pragma omp barrier
                return;
            }
            multiply(a, tokens, N, rows.begin, rows.end, [&](int64_t n, int64_t r, float v) { raw[n * C + r] = v; });
#pragma omp barrier
            for (int64_t n = mine.begin; n < mine.end; n++) {
                normalise(raw.data() + n * C, line.data(), C, m.hidden_floor, m.is_layer_norm != 0);
                for (int64_t i = 0; i < C; i++) x[n * C + i] += line[i] * gain[i];
            }
#pragma omp barrier
        };

        const Share columns(C);
        for (int64_t n = 0; n < N; n++)
            for (int64_t i = columns.begin; i < columns.end; i++) {
                x[n * C + i] = m.embedding[ids[n] * C + i];
                if (m.positions) x[n * C + i] += m.positions[position[n] * C + i];
            }
#pragma omp barrier

        for (int64_t l = 0; l < m.num_layers; l++) {
            const Layer& layer = m.layers[l];
            take_normalised(layer.qkv.type);
            {
                const Share rows(heads * D, 4);
                multiply(layer.qkv, tokens, N, rows.begin, rows.end, [&](int64_t n, int64_t r, float v) {
                    qkv[n * heads * D + r] = v;
                });
            }
#pragma omp barrier
            const Share turned(N * heads);
            for (int64_t i = turned.begin; i < turned.end; i++) {
                const int64_t n = i / heads, h = i % heads;
                float* head = qkv.data() + i * D;
                if (h < H + K && layer.qk_gain) {
                    const double norm = 1.0 / std::sqrt(squares(head, D) + m.head_floor * m.head_floor);
                    for (int64_t d = 0; d < D; d++) head[d] *= static_cast<float>(norm) * layer.qk_gain[h * D + d];
                }
                if (h < H + K && layer.turns) {
                    const float* turn = layer.turns + position[n] * D;
                    for (int64_t d = 0; d < D; d += 2) {
                        const float a = head[d], b = head[d + 1];
                        head[d] = a * turn[d] - b * turn[d + 1];
                        head[d + 1] = a * turn[d + 1] + b * turn[d];
                    }
                }
                if (h >= H) {  // keys, then values
                    const int64_t is_value = h >= H + K, k = h - H - is_value * K;
                    float* place = caches[l] + ((is_value * slots + slot[n]) * K + k) * length * D + position[n] * D;
                    std::memcpy(place, head, D * sizeof(float));
                }
            }
#pragma omp barrier
            const Share asked(N * H);
            for (int64_t i = asked.begin; i < asked.end; i++) {
                const int64_t n = i / H, h = i % H;
                const float* keys = caches[l] + (slot[n] * K + h / G) * length * D;
                const int64_t first = layer.window ? std::max<int64_t>(0, position[n] + 1 - layer.window) : 0;
                const float* q = qkv.data() + (n * heads + h) * D;
                attend(q, keys, keys + slots * K * length * D, first, position[n], D, mixed.data() + i * D);
            }
#pragma omp barrier
            take(mixed, H * D, layer.o.type);
            add(layer.o, layer.after_attention);

            take_normalised(layer.up.type);
            const int64_t width = layer.down.columns;
            const Share inner(width, 4);
            // the gate of a share, then what it lets through
            multiply(layer.up, tokens, N, inner.begin, inner.end, [&](int64_t n, int64_t r, float v) {
                inner_N[n * width + r] = v;
            });
            for (int64_t n = 0; n < N; n++) {
                for (int64_t i = inner.begin; i < inner.end; i += LANES) {
                    float* place = inner_N.data() + n * width + i;
                    float part[LANES] = {};
                    const int64_t count = std::min<int64_t>(LANES, inner.end - i);
                    std::memcpy(part, place, count * sizeof(float));
                    const Floats active = activated(at<Floats>(part), m.is_gelu != 0);
                    std::memcpy(place, &active, count * sizeof(float));
                }
            }
            if (m.is_gated)
                multiply(layer.up, tokens, N, width + inner.begin, width + inner.end, [&](int64_t n, int64_t r, float v) {
                    inner_N[n * width + r - width] *= v;
                });
#pragma omp barrier
            take(inner_N, width, layer.down.type);
            add(layer.down, layer.after_mlp);
        }
        for (int64_t n = mine.begin; n < mine.end; n++)
            normalise(x.data() + n * C, hidden + n * C, C, m.hidden_floor, m.is_layer_norm != 0);
    }
}

// out (N, rows) = tokens (N, columns) times the matrix.
void jielong_linear(const Matrix* matrix, int64_t N, const float* x, float* out, int64_t threads) {
    const Matrix& a = *matrix;
    Tokens tokens(N, a.columns);
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        const Share mine(N);
        for (int64_t n = mine.begin; n < mine.end; n++) tokens.take(x + n * a.columns, n, a.columns, a.type);
#pragma omp barrier
        const Share rows(a.rows, 4);
        multiply(a, tokens, N, rows.begin, rows.end, [&](int64_t n, int64_t r, float v) { out[n * a.rows + r] = v; });
    }
}

}  // extern "C"
