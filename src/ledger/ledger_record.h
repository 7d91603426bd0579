/* ledger_record.h -- byte form of a ledger record: what rings carry and the spool keeps.
 *
 *   version 1 | kind 1 | call event (call, probe) | probe detail (probe) | run (run) */
#pragma once

#include "base/buf.h"
#include "ledger/ledger.h"

/* Texts of a probe or run are cut at this, so that a record fits the spool's record. */
#define LEDGER_RECORD_TEXT_MAX (64u * 1024)
#define LEDGER_RECORD_MAX      (640u * 1024)

MUST_USE int ledger_record_encode(const struct ledger_record *r, struct buf *out);
/* The whole of bytes. Texts point into it; seq is left 0. 0 or ERR_SYNTAX. */
MUST_USE int ledger_record_decode(struct str bytes, struct ledger_record *ret);
