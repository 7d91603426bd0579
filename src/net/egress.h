/* egress.h -- the guard on everything that goes out: no request of the house reaches link-local,
 * metadata or unspecified addresses, whatever a name resolves to; allow and deny lists tighten it.
 * The verdict is on the address of the socket being connected, so rebinding has nothing to rebind.
 * Immutable after it is made; any thread may ask. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "net/addr.h"
#include "net/url.h"

struct egress;

/* Lists of CIDR texts. With an allow list only its blocks pass (forbidden ranges never do, unless
 * `allow` names them exactly as a block inside them); deny always wins. A block of the allow list
 * inside a loopback or private range is allowed even where `private_ok` is false. */
MUST_USE int egress_new(const struct str *allow, size_t allow_count, const struct str *deny, size_t deny_count, struct egress **ret, struct err *reterr);
void egress_free(struct egress *e);
/* Verdict on an address about to be connected: 0 or ERR_DENIED with the reason. Counts refusals
 * in METRIC_EGRESS_REFUSED. `private_ok` false refuses loopback and private ranges as well. */
MUST_USE int egress_check_addr(const struct egress *e, const struct addr *a, bool private_ok, struct err *reterr);
/* Verdict at save time: scheme, userinfo, control characters, forbidden ports (mail, ssh, ...),
 * literal addresses in any spelling (0x7f.1, 2130706433, [::ffff:..]). Names are not resolved, but
 * "localhost" is known to be loopback. ERR_SYNTAX: no usable URL; ERR_DENIED; not counted. */
MUST_USE int egress_check_url(const struct egress *e, struct str url, bool private_ok, struct err *reterr);
