/* sim_answer.h -- the reply to a request of the simulated API. */
#pragma once

#include "sim.h"

#include <stdarg.h>

void sim_answer(struct sim *s, struct sim_call *c, struct sim_reply *r);
