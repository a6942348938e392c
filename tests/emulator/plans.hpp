// What the environment asks the stand-ins for, in driver.hpp's words.
#pragma once

namespace plans {

// A number of the environment, or the usual one.
long number(const char* name, long usual);

// The error that EMULATED_FAILS asks for at this call of a function, or 0.
int failure(const char* function);

}
