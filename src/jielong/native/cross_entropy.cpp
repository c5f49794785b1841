// Cross-entropy of rows of logits, and its gradient in their place, while a row is near.

#include <cmath>
#include <cstdint>
#include <vector>

#include "vectors.h"

namespace {

template <typename Kind>
void row(
    typename Kind::Number* logits,
    int64_t V,
    int64_t target,
    float weight,
    bool has_gradient,
    float* exponentials,
    float& loss,
    bool& is_right
) {
    const int64_t whole = V / LANES * LANES;
    Floats most = Floats{} - INFINITY, sums = {};
    for (int64_t i = 0; i < whole; i += LANES) {
        const Floats v = Kind::load(logits + i);
        most = larger(v, most);
    }
    float top = largest(most), total = 0.0f;
    for (int64_t i = whole; i < V; i++) top = std::max(top, Kind::load_one(logits + i));
    for (int64_t i = 0; i < whole; i += LANES) {
        const Floats e = exponential(Kind::load(logits + i) - top);
        store(exponentials + i, e, LANES);
        sums += e;
    }
    for (int64_t i = whole; i < V; i++) total += exponentials[i] = std::exp(Kind::load_one(logits + i) - top);
    total += sum<float>(sums);
    const float right = Kind::load_one(logits + target);
    loss = std::log(total) + top - right;
    is_right = right == top;
    if (!has_gradient) return;
    const float scale = weight / total;
    for (int64_t i = 0; i < whole; i += LANES) Kind::store(logits + i, at<Floats>(exponentials + i) * scale);
    for (int64_t i = whole; i < V; i++) Kind::store_one(logits + i, exponentials[i] * scale);
    Kind::store_one(logits + target, exponentials[target] * scale - weight);
}

}  // namespace

extern "C" {

// Of each row of logits (N, V), float32 or bfloat16: -log softmax at the target, and whether the target is a largest one.
// With `has_gradient` the logits become the gradients of weight times the former.
void jielong_cross_entropy(
    void* logits,
    int64_t is_half,
    int64_t N,
    int64_t V,
    const int64_t* targets,
    const float* weights,
    int64_t has_gradient,
    float* losses,
    bool* are_right,
    int64_t threads
) {
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        std::vector<float> exponentials(V);
        const auto one = [&](auto kind, int64_t n) {
            typedef decltype(kind) Kind;
            auto* place = static_cast<typename Kind::Number*>(logits) + n * V;
            row<Kind>(place, V, targets[n], weights[n], has_gradient != 0, exponentials.data(), losses[n], are_right[n]);
        };
#pragma omp for
        for (int64_t n = 0; n < N; n++) is_half ? one(Half{}, n) : one(Single{}, n);
    }
}

// total (count) float32 += part (count) bfloat16.
void jielong_add(float* total, const uint16_t* part, int64_t count, int64_t threads) {
    const int64_t whole = count / LANES * LANES;
#pragma omp parallel for num_threads(static_cast<int>(threads))
    for (int64_t i = 0; i < whole; i += LANES) store(total + i, at<Floats>(total + i) + widened(part + i), LANES);
    for (int64_t i = whole; i < count; i++) total[i] += Half::load_one(part + i);
}

}  // extern "C"
