// Tokens through a whole decoder in one call: what `packed.py` computes, without the time between operations.
//
// With few tokens a step a model reads each of its weights once and does little with it, so the memory decides; with many
// the arithmetic does, and in between the one has to work while the other does (`Product`). All threads walk through the
// layers together, each over its share of the rows of every matrix, and wait for each other where a result is needed
// whole; of few tokens every thread computes small things, such as a norm, for itself, which is cheaper than waiting. The
// file is built once for each instruction set (`hatch_build.py`) and called through `generate/native.py`.
//
// N tokens, C hidden width, H query heads, K key/value heads, D width of a head, F width of the feed-forward block.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "meeting.h"
#include "vectors.h"

namespace {

// What is multiplied at once, so that the sums stay in the registers: tokens, and panels of 16 rows (`Product`), each with
// so many words of a token; and groups of tokens that stay in the nearer caches.
#ifdef __AVX512F__
constexpr int TOKENS = 8;
constexpr bool fit(int panels, int tokens, int words) { return panels * words <= (tokens < 4 ? 4 : 2); }
#else
constexpr int TOKENS = 4;
constexpr bool fit(int panels, int tokens, int words) { return panels * tokens * words <= 4; }
#endif
constexpr int64_t NEAR = 16;

enum Type : int64_t { FLOAT32 = 0, BFLOAT16 = 1, INT8 = 2 };

}  // namespace

extern "C" {

// The structures of generate/native.py, field by field.
struct Matrix {
    const void* weight;    // (rows, columns) in panels of 16 rows; this and what follows with zeros for the missing ones
    const float* scale;    // (rows,), of int8, or null
    const int32_t* total;  // (rows,), of int8: the sum of each row
    const float* bias;     // (rows,) or null
    int64_t rows, columns, type;
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

// The sums of 16 vectors as one vector, in four rounds that each add neighbours: 45 operations where 16 single sums take
// 160. Not for AVX2, which has no shuffles across such vectors.
#ifdef __AVX512F__
template <typename V>
inline V pairs(V a, V b, Ints even, Ints odd) {
    return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, odd);
}

template <typename V>
inline V fold(const V v[16]) {
    V a[8], b[4], c[2];
    for (int i = 0; i < 8; i++) a[i] = pairs(v[2 * i], v[2 * i + 1], BY_1, BY_1 + 1);
    for (int i = 0; i < 4; i++) b[i] = pairs(a[2 * i], a[2 * i + 1], BY_2, BY_2 + 2);
    for (int i = 0; i < 2; i++) c[i] = pairs(b[2 * i], b[2 * i + 1], BY_4, BY_4 + 4);
    return pairs(c[0], c[1], BY_8, BY_8 + 8);
}
#endif

// out[i] = the sum of the lanes of v[i], of 16.
inline void totals(const Floats* v, float* out) {
#ifdef __AVX512F__
    const Floats all = fold(v);
    std::memcpy(out, &all, sizeof all);
#elif defined(__AVX2__)
    for (int i = 0; i < LANES; i += 8) {
        const auto two = [&](int k) {
            return _mm256_hadd_ps((__m256)(v[i + k].low + v[i + k].high), (__m256)(v[i + k + 1].low + v[i + k + 1].high));
        };
        const __m256 a = _mm256_hadd_ps(two(0), two(2)), b = _mm256_hadd_ps(two(4), two(6));
        _mm256_storeu_ps(out + i, _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31)));
    }
#else
    for (int i = 0; i < LANES; i++) out[i] = sum<float>(v[i]);
#endif
}

inline Floats activated(Floats x, bool is_gelu) {
    // gelu's tanh(u) is 2 / (1 + exp(-2u)) - 1
    const Floats u = is_gelu ? 1.5957691216f * (x + 0.044715f * x * x * x) : x;
    return x / (1.0f + exponential(-u));
}

// How a panel, 16 rows of a matrix, is multiplied with a token. A panel is lines of 64 bytes, in each of which lie the
// next COLUMNS numbers of every row; a lane is a row, and no sum over lanes is needed. WORDS words of 32 bits stand for
// the same columns of a token. Sums that do not fit into the registers are made in PARTS, each by a pass over the lines. A
// lane adds up in the order of the columns, whoever is computed beside it, so what comes out for a token does not depend on
// the others. Where a processor has tiles (AMX), 16 lines are a tile as they lie.

// From so many tokens on a kind is multiplied in tiles.
constexpr int64_t NEVER = INT64_MAX;
#ifdef __AMX_TILE__
constexpr bool HAS_TILES = true;
#else
constexpr bool HAS_TILES = false;
#endif

struct Float32 {
    static constexpr int COLUMNS = 1, WORDS = 1, PARTS = 1;
    static constexpr int64_t TILES_FROM = NEVER;
    Floats sum = {};

    typedef Floats Line;
    static Line line(const uint32_t* p) { return at<Floats>(p); }

    template <int, int>
    void add(const Line& line, const uint32_t* token) { sum += line * at<float>(token); }

    Floats total(const Matrix&, int64_t) const { return sum; }

    static float write(const float* x, int64_t columns, uint32_t* words, int64_t, int64_t) {
        std::memcpy(words, x, columns * sizeof(float));
        return 1.0f;
    }
};

#ifdef __AVX512BF16__
struct BFloat16 {
    static constexpr int COLUMNS = 2, WORDS = 1, PARTS = 1;
    static constexpr int64_t TILES_FROM = HAS_TILES ? 1 : NEVER;  // they round otherwise than vectors
    Floats sum = {};

    typedef __m512bh Line;
    static Line line(const uint32_t* p) { return at<__m512bh>(p); }

    template <int, int>
    void add(const Line& line, const uint32_t* token) {
        sum = (Floats)_mm512_dpbf16_ps((__m512)sum, line, (__m512bh)_mm512_set1_epi32(static_cast<int>(*token)));
    }

    Floats total(const Matrix&, int64_t) const { return sum; }

    static float write(const float* x, int64_t columns, uint32_t* words, int64_t, int64_t) {
        uint16_t* halves = reinterpret_cast<uint16_t*>(words);
        int64_t i = 0;
        for (; i + LANES <= columns; i += LANES) {
            const __m256bh sixteen = _mm512_cvtneps_pbh((__m512)at<Floats>(x + i));
            std::memcpy(halves + i, &sixteen, sizeof sixteen);
        }
        for (; i < columns; i++) halves[i] = rounded(x[i]);
        return 1.0f;
    }
};
#else
struct BFloat16 {
    static constexpr int COLUMNS = 2, WORDS = 2, PARTS = 1;
    static constexpr int64_t TILES_FROM = NEVER;
    Floats sum = {};

    struct Line {
        Floats first, second;
    };
    static Line line(const uint32_t* p) {
        const Words low = at<Words>(p) << 16, high = at<Words>(p) & 0xFFFF0000;
        return {at<Floats>(&low), at<Floats>(&high)};
    }

    template <int, int>
    void add(const Line& line, const uint32_t* token) {
        sum += line.first * at<float>(token);
        sum += line.second * at<float>(token + 1);
    }

    Floats total(const Matrix&, int64_t) const { return sum; }

    static float write(const float* x, int64_t columns, uint32_t* words, int64_t line, int64_t word) {
        return Float32::write(x, columns, words, line, word);
    }
};
#endif

#ifdef __AVX512VNNI__
// A token's number is 256 * (high - 128) + low: 16 bits for the largest, which is finer than bfloat16 for all that matter.
// The sums are exact.
struct Int8 {
    static constexpr int COLUMNS = 4, WORDS = 2, PARTS = 1;
    static constexpr int64_t TILES_FROM = HAS_TILES ? 5 : NEVER;
    Ints high = {}, low = {};

    typedef __m512i Line;
    static Line line(const uint32_t* p) { return at<__m512i>(p); }

    template <int, int>
    void add(const Line& line, const uint32_t* token) {
        high = (Ints)_mm512_dpbusd_epi32((__m512i)high, _mm512_set1_epi32(static_cast<int>(token[0])), line);
        low = (Ints)_mm512_dpbusd_epi32((__m512i)low, _mm512_set1_epi32(static_cast<int>(token[1])), line);
    }

    Floats total(const Matrix& a, int64_t row) const {
        return 256.0f * converted<Floats>(high - 128 * at<Ints>(a.total + row)) + converted<Floats>(low);
    }

    // two neighbouring words of a line lie `word` words apart, those of two lines `line`
    static float write(const float* x, int64_t columns, uint32_t* words, int64_t line, int64_t word) {
        Floats all = Floats{} + 1e-30f;
        for (int64_t i = 0; i < columns; i += LANES) {
            const Floats v = load(x + i, std::min<int64_t>(LANES, columns - i));
            all = larger(larger(v, -v), all);
        }
        const float most = largest(all);
        const Floats inverse = Floats{} + 32767.0f / most;
        for (int64_t i = 0; i < columns; i += LANES) {
            const Floats v = load(x + i, std::min<int64_t>(LANES, columns - i)) * inverse;
            const __m512i q = _mm512_add_epi32(_mm512_cvtps_epi32((__m512)v), _mm512_set1_epi32(32768));
            uint32_t high[4], low[4];
            const __m128i high_bytes = _mm512_cvtepi32_epi8(_mm512_srli_epi32(q, 8)), low_bytes = _mm512_cvtepi32_epi8(q);
            std::memcpy(high, &high_bytes, 16);
            std::memcpy(low, &low_bytes, 16);
            const int64_t num_lines = std::min<int64_t>(4, (columns - i + 3) / 4);
            for (int64_t l = 0; l < num_lines; l++) {
                words[(i / 4 + l) * line] = high[l];
                words[(i / 4 + l) * line + word] = low[l];
            }
        }
        return most / 32767.0f;
    }
};
#elif defined(__AVX2__)
// A token's number has 16 bits, fewer where the sums, which are exact, would not fit. Rows go by eights: with all 16 of them
// the sums of several tokens would not stay in the registers.
struct Int8 {
    static constexpr int COLUMNS = 4, WORDS = 2, PARTS = 2;
    static constexpr int64_t TILES_FROM = NEVER;
    __m256i sums[4] = {};  // each of four rows, twice: first and second columns, third and fourth ones

    struct Line {
        const uint32_t* place;
    };
    static Line line(const uint32_t* p) { return {p}; }

    template <int part, int parts>
    void add(const Line& line, const uint32_t* token) {
        const __m256i four = _mm256_set1_epi64x(at<int64_t>(token));
        for (int i = part * 4 / parts; i < (part + 1) * 4 / parts; i++) {
            const __m256i rows = _mm256_cvtepi8_epi16(at<__m128i>(line.place + 4 * i));
            sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(rows, four));
        }
    }

    Floats total(const Matrix&, int64_t) const {
        const auto eight = [](__m256i first, __m256i second) {
            return _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(_mm256_hadd_epi32(first, second), 0b11011000));
        };
        return {eight(sums[0], sums[1]), eight(sums[2], sums[3])};
    }

    static float write(const float* x, int64_t columns, uint32_t* words, int64_t line, int64_t word) {
        Floats all = Floats{} + 1e-30f, total = {};
        for (int64_t i = 0; i < columns; i += LANES) {
            const Floats v = load(x + i, std::min<int64_t>(LANES, columns - i)), size = larger(v, -v);
            all = larger(size, all);
            total += size;
        }
        // no sum of products with 127 may leave 31 bits
        const float step = std::max(largest(all) / 32767.0f, sum<float>(total) / 16e6f);
        const Floats inverse = Floats{} + 1.0f / step;
        for (int64_t i = 0; i < columns; i += LANES) {
            const Floats v = load(x + i, std::min<int64_t>(LANES, columns - i)) * inverse;
            const __m256i halves = _mm256_packs_epi32(_mm256_cvtps_epi32((__m256)v.low), _mm256_cvtps_epi32((__m256)v.high));
            uint32_t pairs[8];
            const __m256i in_order = _mm256_permute4x64_epi64(halves, 0b11011000);
            std::memcpy(pairs, &in_order, sizeof pairs);
            const int64_t num_lines = std::min<int64_t>(4, (columns - i + 3) / 4);
            for (int64_t l = 0; l < num_lines; l++) {
                words[(i / 4 + l) * line] = pairs[2 * l];
                words[(i / 4 + l) * line + word] = pairs[2 * l + 1];
            }
        }
        return step;
    }
};
#else
struct Int8 {
    static constexpr int COLUMNS = 4, WORDS = 4, PARTS = 1;
    static constexpr int64_t TILES_FROM = NEVER;
    Floats sum = {};

    struct Line {
        Floats columns[4];
    };
    static Line line(const uint32_t* p) {
        Line line;
        for (int i = 0; i < 4; i++) line.columns[i] = converted<Floats>(at<Ints>(p) << (24 - 8 * i) >> 24);
        return line;
    }

    template <int, int>
    void add(const Line& line, const uint32_t* token) {
        for (int i = 0; i < 4; i++) sum += line.columns[i] * at<float>(token + i);
    }

    Floats total(const Matrix&, int64_t) const { return sum; }

    static float write(const float* x, int64_t columns, uint32_t* words, int64_t line, int64_t word) {
        return Float32::write(x, columns, words, line, word);
    }
};
#endif

// Lines of a panel, zeros after the columns, so that they are whole tiles.
template <typename Kind>
inline int64_t lines_of(int64_t columns) {
    constexpr int64_t in_tile = Kind::COLUMNS * LANES;
    return (columns + in_tile - 1) / in_tile * LANES;
}

// N tokens in groups of at most TOKENS, as even as can be.
struct Groups {
    int64_t N, count;
    explicit Groups(int64_t N) : N(N), count((N + TOKENS - 1) / TOKENS) {}
    int64_t begin(int64_t group) const { return N * group / count; }
    int64_t size(int64_t group) const { return begin(group + 1) - begin(group); }
};

// Tokens as a matrix of some type wants to be multiplied with them: in each group, line after line, every token's words;
// for tiles one token after the other, its first words of all lines before its second ones.
struct Tokens {
    Groups groups;
    std::vector<uint32_t> words;
    std::vector<float> scale;  // (N,)

    // a tile reads 16 tokens, be they there or not
    Tokens(int64_t N, int64_t widest)
        : groups(N), words((HAS_TILES ? N + LANES - 1 : N) * (widest + 4 * LANES)), scale(N) {}

    template <typename Kind>
    bool are_in_tiles() const {
        return groups.N >= Kind::TILES_FROM;
    }

    template <typename Kind>
    const uint32_t* of(int64_t token, int64_t columns) const {
        return words.data() + token * lines_of<Kind>(columns) * Kind::WORDS;
    }

    // token(n) gives the numbers of a token; they may be gone when the next one is asked for
    template <typename Kind, typename Token>
    void take(int64_t group, int64_t columns, Token token) {
        const int64_t lines = lines_of<Kind>(columns), begin = groups.begin(group), end = groups.begin(group + 1);
        uint32_t* place = words.data() + begin * lines * Kind::WORDS;
        if (are_in_tiles<Kind>()) {
            for (int64_t n = begin; n < end; n++, place += lines * Kind::WORDS) {
                std::memset(place, 0, lines * Kind::WORDS * 4);
                scale[n] = Kind::write(token(n), columns, place, 1, lines);
            }
            return;
        }
        std::vector<uint32_t> one(lines * Kind::WORDS);  // zeros beyond the columns
        for (int64_t n = begin; n < end; n++, place += Kind::WORDS) {
            scale[n] = Kind::write(token(n), columns, one.data(), Kind::WORDS, 1);
            for (int64_t l = 0; l < lines; l++)
                for (int w = 0; w < Kind::WORDS; w++)
                    place[l * (end - begin) * Kind::WORDS + w] = one[l * Kind::WORDS + w];
        }
    }

    template <typename Token>
    void take(int64_t group, int64_t columns, int64_t type, Token token) {
        if (type == FLOAT32)
            take<Float32>(group, columns, token);
        else if (type == BFLOAT16)
            take<BFloat16>(group, columns, token);
        else
            take<Int8>(group, columns, token);
    }
};

// The rows begin..end of a matrix times all tokens; give(token, row, values, count) takes the values of `count` rows.
template <typename Kind, typename Give>
struct Product {
    const Matrix& a;
    const Tokens& x;
    const int64_t begin, end;
    const Give& give;
    const int64_t size = lines_of<Kind>(a.columns) * LANES;  // words of a panel

    void all() const {
#ifdef __AMX_TILE__
        if constexpr (Kind::TILES_FROM < NEVER)
            if (x.are_in_tiles<Kind>()) return tiles();
#endif
        vectors();
    }

#ifdef __AMX_TILE__
    // Two times 16 tokens with two panels; of int8 16, their high bytes and their low ones.
    void tiles() const {
        constexpr int64_t tokens = (Kind::WORDS == 1 ? 2 : 1) * LANES, near = NEAR * TOKENS;
        for (int64_t first = 0; first < x.groups.N; first += near) {
            const int64_t last = std::min(first + near, x.groups.N);
            for (int64_t panel = begin / LANES; panel * LANES < end; panel += 2)
                for (int64_t token = first; token < last; token += tokens) tile(panel, token, std::min(token + tokens, last));
        }
    }

    void tile(int64_t panel, int64_t first, int64_t last) const {
        const bool is_pair = (panel + 1) * LANES < end, is_double = last - first > LANES;
        const int64_t stride = lines_of<Kind>(a.columns) * Kind::WORDS * 4;
        // the second tile of tokens: 16 further ones, or the same ones' second words
        const int64_t second = Kind::WORDS == 1 ? size : size / LANES;
        const uint32_t *rows = static_cast<const uint32_t*>(a.weight) + panel * size, *token = x.of<Kind>(first, a.columns);
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t i = 0; i < size; i += LANES * LANES, token += LANES) {
            _tile_loadd(4, token, stride);
            _tile_loadd(6, rows + i, 64);
            if (is_pair) _tile_loadd(7, rows + size + i, 64);
            if constexpr (Kind::WORDS == 1) {
                _tile_dpbf16ps(0, 4, 6);
                if (is_pair) _tile_dpbf16ps(1, 4, 7);
                if (!is_double) continue;
                _tile_loadd(5, token + second, stride);
                _tile_dpbf16ps(2, 5, 6);
                if (is_pair) _tile_dpbf16ps(3, 5, 7);
            } else {
                _tile_loadd(5, token + second, stride);
                _tile_dpbusd(0, 4, 6);
                _tile_dpbusd(2, 5, 6);
                if (is_pair) _tile_dpbusd(1, 4, 7);
                if (is_pair) _tile_dpbusd(3, 5, 7);
            }
        }
        alignas(64) float sums[4][LANES][LANES];
        _tile_stored(0, sums[0], 64);
        _tile_stored(1, sums[1], 64);
        _tile_stored(2, sums[2], 64);
        _tile_stored(3, sums[3], 64);
        for (int64_t n = first; n < last; n++)
            for (int p = 0; p < 1 + is_pair; p++) {
                const int64_t m = n - first;
                Kind sum;
                if constexpr (Kind::WORDS == 1)
                    sum = {at<Floats>(sums[m / LANES * 2 + p][m % LANES])};
                else
                    sum = {at<Ints>(sums[p][m]), at<Ints>(sums[2 + p][m])};
                finish(panel + p, n, sum);
            }
    }
#endif

    void vectors() const {
        for (int64_t first = 0; first < x.groups.count; first += NEAR) {
            const int64_t last = std::min(first + NEAR, x.groups.count);
            blocks<1>(blocks<2>(blocks<4>(begin / LANES, first, last), first, last), first, last);
        }
    }

    // P panels at once, from one on, as long as there are so many and their sums fit; where it ends.
    template <int P>
    int64_t blocks(int64_t panel, int64_t first, int64_t last) const {
        const int64_t most = (x.groups.N + x.groups.count - 1) / x.groups.count;
        if (P > 1 && !fit(P, static_cast<int>(most), Kind::WORDS)) return panel;
        for (; (panel + P - 1) * LANES < end; panel += P)
            for (int64_t group = first; group < last; group++) sized<P, TOKENS>(panel, group, group - first, last - first);
        return panel;
    }

    template <int P, int M>
    void sized(int64_t panel, int64_t group, int64_t turn, int64_t turns) const {
        if constexpr (M > 1)
            if (x.groups.size(group) < M) return sized<P, M - 1>(panel, group, turn, turns);
        if constexpr (P == 1 || fit(P, M, Kind::WORDS)) block<P, M>(panel, group, turn, turns);
    }

    // P panels times the M tokens of a group. The first group waits for the panels, the others find them near, and the
    // memory has time to bring the next ones: each group asks for some of them.
    template <int P, int M>
    void block(int64_t panel, int64_t group, int64_t turn, int64_t turns) const {
        Kind sums[P * M];
        sweep<P, M, 0, P * M <= 2 ? 1 : Kind::PARTS>(panel, group, turn, turns, sums);
        for (int m = 0; m < M; m++)
            for (int p = 0; p < P; p++) finish(panel + p, x.groups.begin(group) + m, sums[m * P + p]);
    }

    template <int P, int M, int part, int parts>
    void sweep(int64_t panel, int64_t group, int64_t turn, int64_t turns, Kind* sums) const {
        const uint32_t* rows = static_cast<const uint32_t*>(a.weight) + panel * size;
        const uint32_t *next = rows + (P + turn) * size, *token = x.of<Kind>(x.groups.begin(group), a.columns);
        const int64_t num_next = part == 0 && turn < P ? (P - turn + turns - 1) / turns : 0;
        for (int64_t i = 0; i < size; i += LANES, token += M * Kind::WORDS) {
            typename Kind::Line lines[P];
            for (int p = 0; p < P; p++) lines[p] = Kind::line(rows + p * size + i);
            for (int64_t n = 0; n < num_next; n++) __builtin_prefetch(next + n * turns * size + i, 0, 2);
            for (int m = 0; m < M; m++)
                for (int p = 0; p < P; p++) sums[m * P + p].template add<part, parts>(lines[p], token + m * Kind::WORDS);
        }
        if constexpr (part + 1 < parts) sweep<P, M, part + 1, parts>(panel, group, turn, turns, sums);
    }

    void finish(int64_t panel, int64_t token, Kind sum) const {
        const int64_t top = panel * LANES, row = std::max(begin, top), count = std::min(end, top + LANES) - row;
        Floats values = sum.total(a, top);
        if (a.scale) values *= x.scale[token] * at<Floats>(a.scale + top);
        if (a.bias) values += at<Floats>(a.bias + top);
        float shifted[LANES] = {};
        if (row > top) {
            std::memcpy(shifted, reinterpret_cast<float*>(&values) + (row - top), count * sizeof(float));
            values = at<Floats>(shifted);
        }
        give(token, row, values, count);
    }
};

template <typename Give>
inline void multiply(const Matrix& a, const Tokens& x, int64_t begin, int64_t end, Give give) {
    if (a.type == FLOAT32)
        Product<Float32, Give>{a, x, begin, end, give}.all();
    else if (a.type == BFLOAT16)
        Product<BFloat16, Give>{a, x, begin, end, give}.all();
    else
        Product<Int8, Give>{a, x, begin, end, give}.all();
}

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

// One query head over `count` keys and values of its slot. `scores` has room for them in whole vectors.
void attend(const float* q, const float* keys, const float* values, int64_t count, int64_t D, float* scores, float* out) {
    const Floats none = Floats{} - 1e30f;
    Floats most = none;
    for (int64_t start = 0; start < count; start += LANES) {
        Floats sums[LANES] = {};
        for (int64_t s = 0; s < LANES; s += 4)
            for (int64_t d = 0; d < D; d += LANES) {
                const int64_t width = std::min<int64_t>(LANES, D - d);
                const Floats query = load(q + d, width);
                for (int64_t i = s; i < s + 4; i++)  // beyond the end the last key again
                    sums[i] += query * load(keys + std::min(start + i, count - 1) * D + d, width);
            }
        totals(sums, scores + start);
        for (int64_t s = count; s < start + LANES; s++) scores[s] = none[0];
        const Floats here = at<Floats>(scores + start);
        most = larger(here, most);
    }
    const float top = largest(most);
    Floats norm = {};
    for (int64_t start = 0; start < count; start += LANES) {
        const Floats weights = exponential(at<Floats>(scores + start) - top);
        store(scores + start, weights, LANES);
        norm += weights;
    }
    const float inverse = 1.0f / sum<float>(norm);
    // by the line where lines are whole, as the memory likes it
    int64_t d = 0;
    for (; d + 4 * LANES <= D; d += 4 * LANES) {
        Floats mixed[4] = {};
        for (int64_t s = 0; s < count; s++)
            for (int i = 0; i < 4; i++) mixed[i] += scores[s] * at<Floats>(values + s * D + d + i * LANES);
        for (int i = 0; i < 4; i++) store(out + d + i * LANES, mixed[i] * inverse, LANES);
    }
    for (; d < D; d += LANES) {
        const int64_t width = std::min<int64_t>(LANES, D - d);
        Floats mixed = {};
        for (int64_t s = 0; s < count; s++) mixed += scores[s] * load(values + s * D + d, width);
        store(out + d, mixed * inverse, width);
    }
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
    const bool is_shared = N > TOKENS;
    Tokens common(is_shared ? N : 0, widest);
    Meeting meeting;

#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        const Tiles tiles(N);
        Tokens own(is_shared ? 0 : N, widest);
        Tokens& tokens = is_shared ? common : own;
        std::vector<float> line(C), scores(length + LANES);
        const Share mine(N), groups(common.groups.count);
        const auto take = [&](int64_t width, int64_t type, auto token) {
            if (!is_shared) tokens.take(0, width, type, token);
            for (int64_t g = groups.begin; g < groups.end; g++) tokens.take(g, width, type, token);
            if (is_shared) meeting.wait();
        };
        const auto take_normalised = [&](int64_t type) {
            take(C, type, [&](int64_t n) {
                normalise(x.data() + n * C, line.data(), C, m.hidden_floor, m.is_layer_norm != 0);
                return line.data();
            });
        };
        // x += a times tokens, behind a norm of its own where the family has one
        const auto add = [&](const Matrix& a, const float* gain) {
            const Share rows(C, LANES);
            if (!gain) {
                multiply(a, tokens, rows.begin, rows.end, [&](int64_t n, int64_t r, Floats v, int64_t count) {
                    float* place = x.data() + n * C + r;
                    store(place, load(place, count) + v, count);
                });
                meeting.wait();
                return;
            }
            multiply(a, tokens, rows.begin, rows.end, [&](int64_t n, int64_t r, Floats v, int64_t count) {
                store(raw.data() + n * C + r, v, count);
            });
            meeting.wait();
            for (int64_t n = mine.begin; n < mine.end; n++) {
                normalise(raw.data() + n * C, line.data(), C, m.hidden_floor, m.is_layer_norm != 0);
                for (int64_t i = 0; i < C; i++) x[n * C + i] += line[i] * gain[i];
            }
            meeting.wait();
        };

        const Share columns(C);
        for (int64_t n = 0; n < N; n++)
            for (int64_t i = columns.begin; i < columns.end; i++) {
                x[n * C + i] = m.embedding[ids[n] * C + i];
                if (m.positions) x[n * C + i] += m.positions[position[n] * C + i];
            }
        meeting.wait();

        for (int64_t l = 0; l < m.num_layers; l++) {
            const Layer& layer = m.layers[l];
            take_normalised(layer.qkv.type);
            {
                const Share rows(heads * D, LANES);
                multiply(layer.qkv, tokens, rows.begin, rows.end, [&](int64_t n, int64_t r, Floats v, int64_t count) {
                    store(qkv.data() + n * heads * D + r, v, count);
                });
            }
            meeting.wait();
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
            meeting.wait();
            const Share asked(N * H);
            for (int64_t i = asked.begin; i < asked.end; i++) {
                const int64_t n = i / H, h = i % H;
                const int64_t first = layer.window ? std::max<int64_t>(0, position[n] + 1 - layer.window) : 0;
                const float* keys = caches[l] + ((slot[n] * K + h / G) * length + first) * D;
                const float *values = keys + slots * K * length * D, *q = qkv.data() + (n * heads + h) * D;
                attend(q, keys, values, position[n] + 1 - first, D, scores.data(), mixed.data() + i * D);
            }
            meeting.wait();
            take(H * D, layer.o.type, [&](int64_t n) { return mixed.data() + n * H * D; });
            add(layer.o, layer.after_attention);

            take_normalised(layer.up.type);
            const int64_t width = layer.down.columns;
            const Share inner(width, LANES);
            // the gate of a share, then what it lets through
            multiply(layer.up, tokens, inner.begin, inner.end, [&](int64_t n, int64_t r, Floats v, int64_t count) {
                store(inner_N.data() + n * width + r, activated(v, m.is_gelu != 0), count);
            });
            if (m.is_gated)
                multiply(
                    layer.up, tokens, width + inner.begin, width + inner.end,
                    [&](int64_t n, int64_t r, Floats v, int64_t count) {
                        float* place = inner_N.data() + n * width + r - width;
                        store(place, load(place, count) * v, count);
                    }
                );
            meeting.wait();
            take(width, layer.down.type, [&](int64_t n) { return inner_N.data() + n * width; });
            add(layer.down, layer.after_mlp);
        }
        for (int64_t n = mine.begin; n < mine.end; n++)
            normalise(x.data() + n * C, hidden + n * C, C, m.hidden_floor, m.is_layer_norm != 0);
        meeting.wait();  // or else OpenMP does
    }
}

// out (N, rows) = tokens (N, columns) times the matrix.
void jielong_linear(const Matrix* matrix, int64_t N, const float* x, float* out, int64_t threads) {
    const Matrix& a = *matrix;
    Tokens tokens(N, a.columns);
    Meeting meeting;
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        const Tiles tiles(N);
        const Share groups(tokens.groups.count);
        for (int64_t g = groups.begin; g < groups.end; g++)
            tokens.take(g, a.columns, a.type, [&](int64_t n) { return x + n * a.columns; });
        meeting.wait();
        const Share rows(a.rows, LANES);
        multiply(a, tokens, rows.begin, rows.end, [&](int64_t n, int64_t r, Floats v, int64_t count) {
            store(out + n * a.rows + r, v, count);
        });
        meeting.wait();
    }
}

// Of each row of logits (N, V) the first of the largest, and its log-probability.
void jielong_likeliest(const float* logits, int64_t N, int64_t V, int64_t* ids, float* logprobs, int64_t threads) {
#pragma omp parallel for num_threads(static_cast<int>(threads))
    for (int64_t n = 0; n < N; n++) {
        const float* row = logits + n * V;
        const int64_t whole = V / LANES * LANES;
        float total = 0.0f;
        Floats most = Floats{} - INFINITY, sums = {};
        for (int64_t i = 0; i < whole; i += LANES) {
            const Floats v = at<Floats>(row + i);
            most = larger(v, most);
        }
        float top = largest(most);
        for (int64_t i = whole; i < V; i++) top = std::max(top, row[i]);
        for (int64_t i = 0; i < whole; i += LANES) sums += exponential(at<Floats>(row + i) - top);
        for (int64_t i = whole; i < V; i++) total += std::exp(row[i] - top);
        const float* place = std::find(row, row + V, top);
        ids[n] = place < row + V ? place - row : 0;  // none is the largest where all are NaN
        logprobs[n] = -std::log(total + sum<float>(sums));
    }
}

}  // extern "C"
