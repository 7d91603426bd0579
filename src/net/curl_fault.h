/* curl_fault.h -- libcurl's result codes as our closed list of faults with one plain sentence each.
 * Part of curl_client. */
#pragma once

#include "net/curl_client.h"

#include <curl/curl.h>

struct curl_fault_input {
    CURL *easy;
    CURLcode code;
    const char *detail; /* libcurl's error buffer: looked at, never shown (it may hold the URL) */
    int socket_errno;   /* of opening the socket, 0 = none */
    uint64_t timeout_ms, connect_timeout_ms;
    size_t max_body_bytes;
};

/* Writes the sentence to out (CURL_FAULT_NONE: ""). */
enum curl_fault curl_fault_map(const struct curl_fault_input *in, char *out, size_t out_size);
