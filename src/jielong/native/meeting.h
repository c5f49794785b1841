// Where the threads of a team wait for each other, some 200 times for one token.
//
// OpenMP's own barrier spins for milliseconds, in which a thread that lost its core to another program cannot come back; or,
// in a process with more threads of OpenMP than cores, such as a server, it sleeps at once, and a token is 200 wake-ups. Here
// a thread looks for as long as that has helped lately, then it sleeps.

#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

class Meeting {
   public:
    // Every thread of the team calls this; it returns when all have.
    void wait() {
        const int threads = omp_get_num_threads();
        if (threads == 1) return;
        const int mine = round.load(std::memory_order_relaxed);  // it cannot change before this thread has come
        if (here.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
            here.store(0, std::memory_order_relaxed);
            round.store(mine + 1);
            if (asleep.load()) wake();
        } else if (!comes_soon(mine)) {
            asleep.fetch_add(1);
            while (round.load() == mine) sleep(mine);
            asleep.fetch_sub(1);
        }
    }

   private:
    using Time = std::chrono::nanoseconds;
    static constexpr Time LONGEST{50'000}, SHORTEST{2'000};
    static constexpr int LOOKS = 16;  // between two looks at the clock

    // How long this thread looks. It becomes short where looking is in vain: others have the cores, and take turns with us.
    static Time& patience() {
        static thread_local Time patience = LONGEST;
        return patience;
    }

    bool comes_soon(int mine) const {
        Time& longest = patience();
        const auto start = std::chrono::steady_clock::now();
        do {
            for (int i = 0; i < LOOKS; i++) {
                if (round.load(std::memory_order_acquire) != mine) {
                    longest = std::min(2 * longest, LONGEST);
                    return true;
                }
                pause();
            }
        } while (std::chrono::steady_clock::now() - start < longest);
        longest = std::max(longest / 4, SHORTEST);
        return false;
    }

    static void pause() {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

#ifdef __linux__
    // the kernel looks at `round` once more before it puts the thread to sleep
    void sleep(int mine) { syscall(SYS_futex, &round, FUTEX_WAIT_PRIVATE, mine, nullptr, nullptr, 0); }
    void wake() { syscall(SYS_futex, &round, FUTEX_WAKE_PRIVATE, omp_get_num_threads(), nullptr, nullptr, 0); }
#else
    void sleep(int) { std::this_thread::yield(); }
    void wake() {}
#endif

    // on lines of their own: whoever spins reads `round` alone
    alignas(64) std::atomic<int> here{0};
    alignas(64) std::atomic<int> round{0};
    alignas(64) std::atomic<int> asleep{0};
};

}  // namespace
