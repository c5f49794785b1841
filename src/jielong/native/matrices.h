// Products of matrices in bfloat16, laid out as tiles (AMX) and dot products of pairs want them, and in float32.

#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "vectors.h"

namespace {

// Zeros that begin where a line of the cache does, as vectors and tiles like it.
template <typename T>
struct Zeros {
    struct alignas(64) Line {
        T numbers[64 / sizeof(T)];
    };
    std::vector<Line> lines;
    explicit Zeros(int64_t count) : lines((count * sizeof(T) + 63) / 64, Line{}) {}
    T* data() { return lines.data()->numbers; }
    const T* data() const { return lines.data()->numbers; }
    T& operator[](int64_t i) { return data()[i]; }
    T operator[](int64_t i) const { return data()[i]; }
    void clear() { std::memset(data(), 0, lines.size() * 64); }
};

// A matrix of numbers: lines of `line` numbers, and from 32 columns to the next 32 `step` numbers.
template <typename Kind>
struct Left {
    const typename Kind::Number* numbers;
    int64_t line, step;
};

// A matrix of words, each Kind::PER_WORD lines' numbers of one column; lines of words lie `line` words apart.
struct Right {
    const uint32_t* words;
    int64_t line;
};

// c (32, 32) = a (32, depth) times b (depth, 32), or more by it.
#ifdef __AVX512BF16__
template <bool ADDS>
inline void block(Left<Half> a, Right b, float* c, int64_t line, int64_t depth) {
    const uint16_t* left = a.numbers;
    const uint32_t* right = b.words;
#ifdef __AMX_TILE__
    const int64_t bytes = line * 4;
    if (ADDS) {
        _tile_loadd(0, c, bytes);
        _tile_loadd(1, c + 16, bytes);
        _tile_loadd(2, c + 16 * line, bytes);
        _tile_loadd(3, c + 16 * line + 16, bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t i = 0; i < depth; i += 32, left += a.step, right += 16 * b.line) {
        _tile_loadd(4, left, a.line * 2);
        _tile_loadd(6, right, b.line * 4);
        _tile_loadd(7, right + 16, b.line * 4);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, left + 16 * a.line, a.line * 2);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, bytes);
    _tile_stored(1, c + 16, bytes);
    _tile_stored(2, c + 16 * line, bytes);
    _tile_stored(3, c + 16 * line + 16, bytes);
#else
    constexpr int HEIGHT = 8;
    for (int64_t top = 0; top < 32; top += HEIGHT) {
        __m512 sums[HEIGHT][2];
        for (int r = 0; r < HEIGHT; r++)
            for (int half = 0; half < 2; half++)
                sums[r][half] = ADDS ? (__m512)at<Floats>(c + (top + r) * line + half * 16) : _mm512_setzero_ps();
        for (int64_t i = 0; i < depth; i += 2) {
            const uint16_t* pair = left + top * a.line + i / 32 * a.step + i % 32;
            const __m512bh low = at<__m512bh>(right + i / 2 * b.line), high = at<__m512bh>(right + i / 2 * b.line + 16);
            for (int r = 0; r < HEIGHT; r++) {
                const __m512bh both = (__m512bh)_mm512_set1_epi32(at<int32_t>(pair + r * a.line));
                sums[r][0] = _mm512_dpbf16_ps(sums[r][0], both, low);
                sums[r][1] = _mm512_dpbf16_ps(sums[r][1], both, high);
            }
        }
        for (int r = 0; r < HEIGHT; r++)
            for (int half = 0; half < 2; half++) _mm512_storeu_ps(c + (top + r) * line + half * 16, sums[r][half]);
    }
#endif
}
#endif

#ifdef __AVX512F__
constexpr int COLUMNS_AT_ONCE = 32;
#else
constexpr int COLUMNS_AT_ONCE = 16;  // so that the sums stay in the registers
#endif

template <bool ADDS>
inline void block(Left<Single> a, Right b, float* c, int64_t line, int64_t depth) {
    constexpr int HEIGHT = 4, WIDTH = COLUMNS_AT_ONCE / LANES;
    for (int64_t top = 0; top < 32; top += HEIGHT)
        for (int64_t column = 0; column < 32; column += WIDTH * LANES) {
            float* place = c + top * line + column;
            const uint32_t* right = b.words + column;
            Floats sums[HEIGHT][WIDTH];
            for (int r = 0; r < HEIGHT; r++)
                for (int w = 0; w < WIDTH; w++) sums[r][w] = ADDS ? at<Floats>(place + r * line + w * LANES) : Floats{};
            for (int64_t first = 0; first < depth; first += 32) {
                const float* left = a.numbers + top * a.line + first / 32 * a.step;
                for (int64_t i = 0; i < 32; i++, left++, right += b.line)
                    for (int w = 0; w < WIDTH; w++) {
                        const Floats sixteen = at<Floats>(right + w * LANES);
                        for (int r = 0; r < HEIGHT; r++) sums[r][w] += sixteen * left[r * a.line];
                    }
            }
            for (int r = 0; r < HEIGHT; r++)
                for (int w = 0; w < WIDTH; w++) put(place + r * line + w * LANES, sums[r][w]);
        }
}

// c (rows, columns) = a (rows, depth) times b (depth, columns), or more by it; all counts are whole 32s.
template <bool ADDS, typename Kind>
void multiply(Left<Kind> a, Right b, float* c, int64_t line, int64_t rows, int64_t columns, int64_t depth) {
#ifdef __AMX_TILE__
    // what was written before must be in memory, and what is written here must be read from it
    asm volatile("" : : : "memory");
#endif
    for (int64_t row = 0; row < rows; row += 32)
        for (int64_t column = 0; column < columns; column += 32)
            block<ADDS>(
                Left<Kind>{a.numbers + row * a.line, a.line, a.step}, {b.words + column, b.line}, c + row * line + column, line, depth
            );
#ifdef __AMX_TILE__
    asm volatile("" : : : "memory");
#endif
}

// Words of the lanes of two lines: low halves from `even`, high ones from `odd`.
inline Words of_two(Shorts even, Shorts odd) {
    return converted<Words>(even) | (converted<Words>(odd) << 16);
}

// to (16 lines, `to_line` apart) = from (16 lines) turned, 32 bits each
#ifdef __AVX512F__
inline void turn(const uint32_t* from, int64_t from_line, uint32_t* to, int64_t to_line) {
    typedef uint32_t V __attribute__((vector_size(64)));
    V v[16];
    for (int i = 0; i < 16; i++) std::memcpy(&v[i], from + i * from_line, 64);
    const auto exchange = [&](int distance, Ints low) {
        for (int i = 0; i < 16; i++) {
            if (i & distance) continue;
            const V a = v[i], b = v[i + distance];
            v[i] = __builtin_shuffle(a, b, (V)low);
            v[i + distance] = __builtin_shuffle(a, b, (V)(low + distance));
        }
    };
    exchange(1, BY_1);
    exchange(2, BY_2);
    exchange(4, BY_4);
    exchange(8, BY_8);
    for (int i = 0; i < 16; i++) std::memcpy(to + i * to_line, &v[i], 64);
}
#else
inline void turn(const uint32_t* from, int64_t from_line, uint32_t* to, int64_t to_line) {
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) to[i * to_line + j] = from[j * from_line + i];
}
#endif

// The (lines, columns) words as (lines / SIZE, columns, SIZE): each SIZE lines turned.
template <int64_t SIZE>
void turn_blocks(const uint32_t* from, int64_t lines, int64_t columns, uint32_t* to) {
    for (int64_t l = 0; l < lines; l += 16)
        for (int64_t c = 0; c < columns; c += 16)
            turn(from + l * columns + c, columns, to + (l / SIZE * columns + c) * SIZE + l % SIZE, SIZE);
}

}  // namespace
