// What is said of a kernel that broke a rule.

#include "sanitizer.hpp"
#include "state.hpp"

#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <fstream>

namespace emulator {

namespace {

// "0-127, 130" of a sorted list.
std::string ranges(const std::vector<unsigned>& threads) {
    std::string text;
    for (size_t i = 0, end; i < threads.size(); i = end) {
        for (end = i + 1; end < threads.size() && threads[end] == threads[end - 1] + 1; end++) {
        }
        text += (text.empty() ? "" : ", ") + std::to_string(threads[i]);
        text += end - i > 1 ? "-" + std::to_string(threads[end - 1]) : "";
    }
    return text;
}

// A place with the text of its line.
std::string shown(Site site) {
    std::string text = std::string(site.file) + ":" + std::to_string(site.line), line;
    std::ifstream file(site.file);
    for (int i = 0; i < site.line && std::getline(file, line); i++) {
    }
    const size_t first = line.find_first_not_of(' ');
    return first == std::string::npos ? text : text + ": " + line.substr(first);
}

void caught(int signal, siginfo_t* info, void*) {
    const auto* address = static_cast<unsigned char*>(info->si_addr);
    const char* what = signal == SIGALRM ? "still running at the end of its time" : "stray access";
    if (address >= at.current->stack - GUARD && address < at.current->stack) {
        what = "stack overflow";
    }
    fprintf(stderr, "emulator: %s (%s) in %s, thread %u, block %u of %u, schedule %s\n", what,
        strsignal(signal), at.launch == nullptr ? "no launch" : at.launch->name.c_str(),
        threadIdx.x, blockIdx.x, gridDim.x, at.schedule.words().c_str());
    fflush(stderr);
    give_up(CRASHED);
}

// What the threads of a workgroup are doing, those that do the same in one line.
void say_threads(const Place& place) {
    const std::string of =
        at.running.size() > 1 ? "block " + std::to_string(place.block) + ": " : "";
    for (unsigned i = 0; i < at.threads; i++) {
        const Fiber& fiber = place.fibers[i];
        const auto same = [&](const Fiber& other) {
            return other.returned == fiber.returned && other.waits == fiber.waits
                && (fiber.waits == nullptr || other.site.line == fiber.site.line);
        };
        std::vector<unsigned> group;
        for (unsigned j = 0; j < at.threads; j++) {
            if (same(place.fibers[j])) {
                group.push_back(j);
            }
        }
        if (group[0] != i) {
            continue;
        }
        std::string doing = fiber.returned ? "have returned" : "can run";
        if (fiber.waits != nullptr) {
            doing = std::string("wait in ") + fiber.waits + " at " + shown(fiber.site);
        }
        fprintf(stderr, "  %sthreads %s %s\n", of.c_str(), ranges(group).c_str(), doing.c_str());
    }
}

}

void stop(const std::string& what) {
    const std::string of = at.launch == nullptr ? "" : " in " + at.launch->name;
    fprintf(stderr, "emulator: %s%s, block %u of %u, schedule %s\n", what.c_str(), of.c_str(),
        blockIdx.x, gridDim.x, at.schedule.words().c_str());
    for (const Place* place : at.running) {
        say_threads(*place);
    }
    fflush(stderr);
    give_up(RULE_BROKEN);
}

std::string Schedule::words() const {
    const std::string random = "random " + std::to_string(seed);
    return kind == Forward ? "forward" : kind == Reverse ? "reverse" : random;
}

void fail(Site site, const char* format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    stop(std::string(text) + " at " + shown(site));
}

void catch_signals() {
    static char own_stack[64 * 1024];
    const stack_t alternate = {own_stack, 0, sizeof own_stack};
    sigaltstack(&alternate, nullptr);
    struct sigaction action = {};
    action.sa_sigaction = caught;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGALRM, &action, nullptr);
    for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
        if (!sanitizer::addresses() && !sanitizer::threads()) {
            sigaction(signal, &action, nullptr);
        }
    }
}

}
