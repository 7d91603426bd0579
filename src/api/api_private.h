/* api_private.h -- struct api for the files of this folder. */
#pragma once

#include "api/api.h"
#include "api/assets.h"
#include "api/auth.h"
#include "api/live.h"
#include "api/route.h"

struct api {
    struct api_config cfg;
    struct route_index *index;
    struct auth *auth;
    struct live *live;
    struct assets *assets;
    struct buf openapi; /* made once */
};

/* Gauges of channels and their models; before threads start. */
void api_metrics_register(struct api *a);
/* Called once a call's answer is on its way: what the call held is let go. */
void api_call_release(struct api_call *c);
