/* app_limits.h -- from option texts to the structs the parts take; the strings live here. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/option.h"
#include "net/egress.h"
#include "net/http_server.h"

#define APP_LIST_MAX 64 /* CIDR blocks, host names */

struct app_limits {
    struct http_server_config server; /* without callbacks and shared */
    struct addr_cidr trusted[APP_LIST_MAX];
    struct str hosts[APP_LIST_MAX];
    char *data_dir, *timezone, *ca_file, *outbound_proxy, *user_agent, *base_path;
};

MUST_USE int app_limits_read(struct app_limits *l, const struct option_set *o, struct err *reterr);
/* "x/y", "/x/y" and "/x/y/" are "/x/y/". *ret is the caller's; ERR_SYNTAX, ERR_RANGE. */
MUST_USE int app_limits_base_path(struct str text, char **ret, struct err *reterr);
void app_limits_release(struct app_limits *l);
MUST_USE int app_limits_egress(const struct option_set *o, struct egress **ret, struct err *reterr);
