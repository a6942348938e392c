// The variables of the environment that several parts read.

#include "plans.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

long plans::number(const char* name, long usual) {
    const char* text = getenv(name);
    return text == nullptr ? usual : strtol(text, nullptr, 10);
}

int plans::failure(const char* function) {
    static const char* plan = getenv("EMULATED_FAILS");
    static std::mutex mutex;
    static unsigned calls = 0;
    const size_t length = strlen(function);
    if (plan == nullptr || strncmp(plan, function, length) != 0 || plan[length] != ':') {
        return 0;
    }
    int error = 0;
    unsigned first = 1;
    sscanf(plan + length, ":%d@%u", &error, &first);
    const std::lock_guard lock(mutex);
    calls += 1;
    return calls >= first ? error : 0;
}
