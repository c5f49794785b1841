// What all of the C++ here is made of: vectors of 16 lanes, exp, sums over lanes, shares of threads, and the state of tiles.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <omp.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 16;

// Whether it is made of two halves, see below.
template <typename V, typename = void>
struct IsWide : std::false_type {};
template <typename V>
struct IsWide<V, std::void_t<typename V::Half>> : std::true_type {};

template <typename V, typename T>
inline V at(const T* p) {
    if constexpr (IsWide<V>::value) {
        const char* place = reinterpret_cast<const char*>(p);
        return {at<typename V::Half>(place), at<typename V::Half>(place + sizeof(V) / 2)};
    } else {
        V v;
        std::memcpy(&v, p, sizeof v);
        return v;
    }
}

template <typename V, typename T>
inline void put(T* p, V v) {
    if constexpr (IsWide<V>::value) {
        put(p, v.low);
        put(reinterpret_cast<char*>(p) + sizeof(V) / 2, v.high);
    } else {
        std::memcpy(p, &v, sizeof v);
    }
}

// `larger` of two is the second where one is NaN.
#ifdef __AVX512F__
typedef float Floats __attribute__((vector_size(64), aligned(4)));
typedef int32_t Ints __attribute__((vector_size(64), aligned(4)));
typedef uint32_t Words __attribute__((vector_size(64), aligned(4)));
typedef uint16_t Shorts __attribute__((vector_size(32), aligned(2)));

template <typename To, typename From>
inline To converted(From v) {
    return __builtin_convertvector(v, To);
}

inline Floats larger(Floats a, Floats b) { return (Floats)_mm512_max_ps((__m512)a, (__m512)b); }
#else
#ifdef __AVX2__
constexpr int IN_REGISTER = 8;
#else
constexpr int IN_REGISTER = 4;
#endif

template <typename T>
struct RegisterOf {
    typedef T Type __attribute__((vector_size(IN_REGISTER * sizeof(T))));
};
template <typename T>
using Register = typename RegisterOf<T>::Type;

// N lanes in several registers: what a compiler does with a vector that is wider than a register goes through memory.
template <typename T, int N>
struct Vector {
    typedef std::conditional_t<N == 2 * IN_REGISTER, Register<T>, Vector<T, N / 2>> Half;
    Half low, high;

    T operator[](int lane) const { return at<T>(reinterpret_cast<const char*>(this) + lane * sizeof(T)); }

    friend Vector operator-(Vector a) { return {-a.low, -a.high}; }
    friend Vector operator+(Vector a, Vector b) { return {a.low + b.low, a.high + b.high}; }
    friend Vector operator-(Vector a, Vector b) { return {a.low - b.low, a.high - b.high}; }
    friend Vector operator*(Vector a, Vector b) { return {a.low * b.low, a.high * b.high}; }
    friend Vector operator/(Vector a, Vector b) { return {a.low / b.low, a.high / b.high}; }
    friend Vector operator&(Vector a, Vector b) { return {a.low & b.low, a.high & b.high}; }
    friend Vector operator+(Vector a, T b) { return {a.low + b, a.high + b}; }
    friend Vector operator-(Vector a, T b) { return {a.low - b, a.high - b}; }
    friend Vector operator*(Vector a, T b) { return {a.low * b, a.high * b}; }
    friend Vector operator|(Vector a, Vector b) { return {a.low | b.low, a.high | b.high}; }
    friend Vector operator&(Vector a, T b) { return {a.low & b, a.high & b}; }
    friend Vector operator+(T a, Vector b) { return {a + b.low, a + b.high}; }
    friend Vector operator*(T a, Vector b) { return {a * b.low, a * b.high}; }
    friend Vector operator/(T a, Vector b) { return {a / b.low, a / b.high}; }
    friend Vector operator<<(Vector a, int bits) { return {a.low << bits, a.high << bits}; }
    friend Vector operator>>(Vector a, int bits) { return {a.low >> bits, a.high >> bits}; }
    friend Vector& operator+=(Vector& a, Vector b) { return a = a + b; }
    friend Vector& operator*=(Vector& a, Vector b) { return a = a * b; }
};
typedef Vector<float, LANES> Floats;
typedef Vector<int32_t, LANES> Ints;
typedef Vector<uint32_t, LANES> Words;
typedef Vector<uint16_t, LANES> Shorts;

template <typename To, typename From>
inline To converted(From v) {
    if constexpr (IsWide<From>::value)
        return {converted<typename To::Half>(v.low), converted<typename To::Half>(v.high)};
    else
        return __builtin_convertvector(v, To);
}

inline Register<float> larger(Register<float> a, Register<float> b) { return a > b ? a : b; }

template <int N>
inline Vector<float, N> larger(Vector<float, N> a, Vector<float, N> b) {
    return {larger(a.low, b.low), larger(a.high, b.high)};
}
#endif

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

inline float largest(Floats v) {
    float top = v[0];
    for (int lane = 1; lane < LANES; lane++) top = std::max(top, v[lane]);
    return top;
}

#ifdef __AVX512F__
// Of two vectors the lanes that come together when neighbours of so many lanes are exchanged; the others are as many behind.
constexpr Ints BY_1 = {0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30};
constexpr Ints BY_2 = {0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29};
constexpr Ints BY_4 = {0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27};
constexpr Ints BY_8 = {0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23};
#endif

inline uint16_t rounded(float x) {  // to the nearest bfloat16, ties to even; x is finite
    const uint32_t bits = at<uint32_t>(&x);
    return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline Floats widened(const uint16_t* place) {  // bfloat16
    const Words bits = converted<Words>(at<Shorts>(place)) << 16;
    return at<Floats>(&bits);
}

inline void write_rounded(uint16_t* place, Floats v) {
#ifdef __AVX512BF16__
    const __m256bh shorts = _mm512_cvtneps_pbh((__m512)v);
#else
    const Words bits = at<Words>(&v);
    const Shorts shorts = converted<Shorts>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
#endif
    put(place, shorts);
}

inline Floats nearest(Floats x) {  // whole number, of |x| below 2^22
    const Floats half = Floats{} + 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    return (x + half) - half;
}

inline Floats two_to(Floats n) {  // of whole numbers from -127, which gives 0, to 127
    const Ints power = (converted<Ints>(n) + 127) << 23;
    return at<Floats>(&power);
}

// exp(x) within 2 units in the last place: 2^n times a polynomial for |rest| <= ln(2) / 2. NaN stays NaN.
inline Floats exponential(Floats x) {
    x = -larger(Floats{} - 88.0f, -larger(Floats{} - 87.0f, x));
    const Floats n = nearest(x * 1.44269504f);
    const Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Floats p = r * (1.0f / 5040) + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    return p * two_to(n);
}

inline Floats load(const float* p, int64_t count) {
    if (count == LANES) return at<Floats>(p);
    Floats v = {};
    std::memcpy(&v, p, count * sizeof(float));
    return v;
}

inline void store(float* p, Floats v, int64_t count) {
    if (count == LANES)
        put(p, v);
    else
        std::memcpy(p, &v, count * sizeof(float));
}

// Lanes that something is true of.
#ifdef __AVX512F__
typedef __mmask16 Mask;
inline Mask below(Ints a, Ints b) { return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b); }
inline Floats with(Floats v, Mask lanes, float instead) {
    return (Floats)_mm512_mask_mov_ps((__m512)v, lanes, _mm512_set1_ps(instead));
}
#else
typedef Ints Mask;  // -1 or 0
template <typename V>
inline V below(V a, V b) {
    if constexpr (IsWide<V>::value)
        return {below(a.low, b.low), below(a.high, b.high)};
    else
        return a < b;
}
inline Floats with(Floats v, Mask lanes, float instead) {
    const Floats other = Floats{} + instead;
    const Ints chosen = (at<Ints>(&other) & lanes) | (at<Ints>(&v) & (Ints{} - 1 - lanes));
    return at<Floats>(&chosen);
}
#endif

// Number formats: what a vector of 16 is in memory. A word of 32 bits holds PER_WORD of them.
struct Half {  // bfloat16
    typedef uint16_t Number;
    static constexpr int64_t PER_WORD = 2;
    static Floats load(const uint16_t* place) { return widened(place); }
    static float load_one(const uint16_t* place) {
        const uint32_t bits = static_cast<uint32_t>(*place) << 16;
        return at<float>(&bits);
    }
    static void store(uint16_t* place, Floats v) { write_rounded(place, v); }
    static void store_one(uint16_t* place, float v) { *place = rounded(v); }
};

struct Single {
    typedef float Number;
    static constexpr int64_t PER_WORD = 1;
    static Floats load(const float* place) { return at<Floats>(place); }
    static float load_one(const float* place) { return *place; }
    static void store(float* place, Floats v) { put(place, v); }
    static void store_one(float* place, float v) { *place = v; }
};

// This thread's part of `count` things, in whole groups of `group`.
struct Share {
    int64_t begin, end;
    Share(int64_t count, int64_t group = 1) {
        const int64_t groups = (count + group - 1) / group, threads = omp_get_num_threads(), me = omp_get_thread_num();
        begin = std::min(count, groups * me / threads * group);
        end = std::min(count, groups * (me + 1) / threads * group);
    }
};

// Tiles for N tokens and 16 lines as long as it lives; afterwards they are as they were, as oneDNN may count on that.
struct Tiles {
#ifdef __AMX_TILE__
    struct alignas(64) Shape {
        uint8_t palette = 0, start_row = 0, reserved[14] = {};
        uint16_t bytes[16] = {};
        uint8_t rows[16] = {};
    };
    Shape before;

    explicit Tiles(int64_t N) {
        _tile_storeconfig(&before);
        Shape shape;
        shape.palette = 1;
        for (int i = 0; i < 8; i++) {
            shape.bytes[i] = 64;
            shape.rows[i] = i < 6 ? std::min<int64_t>(N, LANES) : LANES;
        }
        // GCC 12 takes the instruction to read 8 bytes, and would leave the others unwritten
        asm volatile("" : : "r"(&shape) : "memory");
        _tile_loadconfig(&shape);
    }
    ~Tiles() {
        if (before.palette)
            _tile_loadconfig(&before);
        else
            _tile_release();
    }
#else
    explicit Tiles(int64_t) {}
#endif
};

}  // namespace
