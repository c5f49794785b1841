// AMX's instructions as loops, for processors without it; included before everything else (`pretend_tiles.py`).

#pragma once

#include <cstdint>
#include <cstring>

#include <immintrin.h>

namespace pretended {

struct Config {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};
inline thread_local Config config{};
inline thread_local uint8_t tile[8][16][64];

template <typename T>
inline T number(const uint8_t* place) {
    T v;
    std::memcpy(&v, place, sizeof v);
    return v;
}

inline float wide(const uint8_t* place) {
    const uint32_t bits = static_cast<uint32_t>(number<uint16_t>(place)) << 16;
    return number<float>(reinterpret_cast<const uint8_t*>(&bits));
}

inline void zero(int to) { std::memset(tile[to], 0, sizeof tile[to]); }

inline void load(int to, const void* from, int64_t stride) {
    zero(to);
    for (int r = 0; r < config.rows[to]; r++)
        std::memcpy(tile[to][r], static_cast<const char*>(from) + r * stride, config.bytes[to]);
}

inline void store(int from, void* to, int64_t stride) {
    for (int r = 0; r < config.rows[from]; r++)
        std::memcpy(static_cast<char*>(to) + r * stride, tile[from][r], config.bytes[from]);
}

// c (rows, 16) += a (rows, 16 words) times b (16, 16 words), where times(a's word, b's word) gives what a word adds
template <typename T, typename Times>
inline void multiply(int c, int a, int b, Times times) {
    for (int r = 0; r < config.rows[c]; r++)
        for (int k = 0; k < config.rows[b]; k++)
            for (int n = 0; n < 16; n++) {
                const T v = number<T>(tile[c][r] + 4 * n) + times(tile[a][r] + 4 * k, tile[b][k] + 4 * n);
                std::memcpy(tile[c][r] + 4 * n, &v, sizeof v);
            }
}

inline void multiply_halves(int c, int a, int b) {
    multiply<float>(c, a, b, [](const uint8_t* x, const uint8_t* y) {
        return wide(x) * wide(y) + wide(x + 2) * wide(y + 2);
    });
}

inline void multiply_bytes(int c, int a, int b) {  // unsigned ones with signed ones
    multiply<int32_t>(c, a, b, [](const uint8_t* x, const uint8_t* y) {
        int32_t sum = 0;
        for (int i = 0; i < 4; i++) sum += x[i] * static_cast<int8_t>(y[i]);
        return sum;
    });
}

inline void read_config(const void* from) { std::memcpy(&config, from, sizeof config); }
inline void write_config(void* to) { std::memcpy(to, &config, sizeof config); }
inline void release() { config = {}; }

}  // namespace pretended

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#undef _tile_dpbusd
#define _tile_loadd pretended::load
#define _tile_stored pretended::store
#define _tile_zero pretended::zero
#define _tile_dpbf16ps pretended::multiply_halves
#define _tile_dpbusd pretended::multiply_bytes
#define _tile_loadconfig pretended::read_config
#define _tile_storeconfig pretended::write_config
#define _tile_release pretended::release
#define __AMX_TILE__ 1
