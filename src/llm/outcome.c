/* outcome.c -- the table of outcome.h and how an HTTP status, with the code of an error body, finds
 * its row. */
#include "llm/outcome.h"

static_assert(OUTCOME_COUNT == 31, "a new outcome needs its row below, at the end");
static_assert(OUTCOME_CLASSES == 12, "the roll-ups have one column a class");

#define RED    0
#define GREEN  1
#define YELLOW 2

/* retry_elsewhere: ruling 25 (a deadline is not retried by default, nor is what answered with 2xx).
 * counts: what the upstream, the key or the way to it is to blame for; model_unknown counts because
 * the gateway sends a channel only models it said it has. */
const struct outcome_row outcome_rows[OUTCOME_COUNT] = {
    /* name, class, counts, retry, colour, en, zh-CN, zh-TW */
    [OUTCOME_OK] = {"ok", OUTCOME_CLASS_OK, false, false, GREEN, "answered", "正常", "正常"},
    [OUTCOME_TRUNCATED] = {"truncated", OUTCOME_CLASS_OK, false, false, GREEN,
                           "answered, cut off by the token limit", "正常，被令牌上限截断",
                           "正常，被權杖上限截斷"},
    [OUTCOME_SLOW] = {"slow", OUTCOME_CLASS_DEGRADED, false, false, YELLOW,
                      "answered, slower than the threshold", "有应答，但超过慢速阈值",
                      "有回應，但超過慢速門檻"},
    [OUTCOME_EMPTY] = {"empty", OUTCOME_CLASS_UPSTREAM, true, false, RED,
                       "an answer without readable text", "应答中没有可读文本",
                       "回應中沒有可讀文字"},
    [OUTCOME_BODY_ERROR] = {"body_error", OUTCOME_CLASS_UPSTREAM, true, false, RED,
                            "status 2xx, but the body reports an error",
                            "状态码 2xx，但正文报告错误", "狀態碼 2xx，但內文回報錯誤"},
    [OUTCOME_BAD_BODY] = {"bad_body", OUTCOME_CLASS_UPSTREAM, true, false, RED,
                          "the body is not of the expected format", "正文格式不符合预期",
                          "內文格式不符合預期"},
    [OUTCOME_CONTENT_MISMATCH] = {"content_mismatch", OUTCOME_CLASS_UPSTREAM, true, false, RED,
                                  "the expected text is not in the answer", "应答中没有预期的文本",
                                  "回應中沒有預期的文字"},
    [OUTCOME_SERVER_ERROR] = {"server_error", OUTCOME_CLASS_UPSTREAM, true, true, RED,
                              "the upstream failed (5xx)", "上游服务器错误 (5xx)",
                              "上游伺服器錯誤 (5xx)"},
    [OUTCOME_OVERLOADED] = {"overloaded", OUTCOME_CLASS_UPSTREAM, true, true, RED,
                            "the upstream is overloaded or asks to try again (408, 409, 503, 529)",
                            "上游过载或要求重试 (408, 409, 503, 529)",
                            "上游過載或要求重試 (408, 409, 503, 529)"},
    [OUTCOME_RATE_LIMITED] = {"rate_limited", OUTCOME_CLASS_RATE_LIMIT, true, true, RED,
                              "rate limited by the upstream (429)", "被上游限流 (429)",
                              "被上游限流 (429)"},
    [OUTCOME_QUOTA] = {"quota", OUTCOME_CLASS_QUOTA, true, true, RED,
                       "the upstream account has no quota or money left", "上游账户额度或余额不足",
                       "上游帳戶額度或餘額不足"},
    [OUTCOME_AUTH] = {"auth", OUTCOME_CLASS_AUTH, true, true, RED,
                      "the upstream refused the key (401)", "上游拒绝了密钥 (401)",
                      "上游拒絕了金鑰 (401)"},
    [OUTCOME_FORBIDDEN] = {"forbidden", OUTCOME_CLASS_AUTH, true, true, RED,
                           "not permitted by the upstream (403)", "上游不允许 (403)",
                           "上游不允許 (403)"},
    [OUTCOME_MODEL_UNKNOWN] = {"model_unknown", OUTCOME_CLASS_CLIENT, true, true, RED,
                               "the upstream does not know the model or path (404)",
                               "上游没有该模型或路径 (404)", "上游沒有該模型或路徑 (404)"},
    [OUTCOME_BAD_REQUEST] = {"bad_request", OUTCOME_CLASS_CLIENT, false, false, RED,
                             "the upstream refused the request (4xx)", "上游拒绝了请求 (4xx)",
                             "上游拒絕了請求 (4xx)"},
    [OUTCOME_UNEXPECTED_STATUS] = {"unexpected_status", OUTCOME_CLASS_UPSTREAM, true, false, RED,
                                   "an unexpected status (redirects are not followed)",
                                   "意外的状态码（不跟随重定向）",
                                   "意外的狀態碼（不跟隨重新導向）"},
    [OUTCOME_TIMEOUT] = {"timeout", OUTCOME_CLASS_TIMEOUT, true, false, RED, "no answer in time",
                         "未在时限内应答", "未在時限內回應"},
    [OUTCOME_STREAM_TIMEOUT] = {"stream_timeout", OUTCOME_CLASS_TIMEOUT, true, false, RED,
                                "the answer began, then fell silent", "应答开始后中途无响应",
                                "回應開始後中途無回應"},
    [OUTCOME_CONNECT] = {"connect", OUTCOME_CLASS_NETWORK, true, true, RED, "no connection",
                         "无法连接", "無法連線"},
    [OUTCOME_BROKEN] = {"broken", OUTCOME_CLASS_NETWORK, true, false, RED,
                        "the connection broke inside the answer", "应答过程中连接中断",
                        "回應過程中連線中斷"},
    [OUTCOME_PROTOCOL] = {"protocol", OUTCOME_CLASS_NETWORK, true, false, RED,
                          "the answer is not valid HTTP", "应答不是有效的 HTTP",
                          "回應不是有效的 HTTP"},
    [OUTCOME_TOO_LARGE] = {"too_large", OUTCOME_CLASS_UPSTREAM, true, false, RED,
                           "the answer is larger than we take", "应答超出大小上限",
                           "回應超出大小上限"},
    [OUTCOME_TLS] = {"tls", OUTCOME_CLASS_TLS, true, true, RED,
                     "TLS handshake or certificate failed", "TLS 握手或证书失败",
                     "TLS 交握或憑證失敗"},
    [OUTCOME_DNS] = {"dns", OUTCOME_CLASS_DNS, true, true, RED, "the host name was not resolved",
                     "无法解析主机名", "無法解析主機名稱"},
    [OUTCOME_EGRESS] = {"egress", OUTCOME_CLASS_NETWORK, true, true, RED,
                        "the address is refused by our own guard", "地址被本机出站防护拒绝",
                        "位址被本機對外防護拒絕"},
    [OUTCOME_BAD_URL] = {"bad_url", OUTCOME_CLASS_NETWORK, true, true, RED,
                         "the address is not usable", "地址不可用", "位址不可用"},
    [OUTCOME_CANCELLED] = {"cancelled", OUTCOME_CLASS_CANCELLED, false, false, RED, "cancelled",
                           "已取消", "已取消"},
    [OUTCOME_CLIENT_SLOW] = {"client_slow", OUTCOME_CLASS_CANCELLED, false, false, RED,
                             "the client stopped reading", "客户端停止接收", "用戶端停止接收"},
    [OUTCOME_INTERRUPTED] = {"interrupted", OUTCOME_CLASS_CANCELLED, false, false, RED,
                             "interrupted by a restart of this service", "因本服务重启而中断",
                             "因本服務重新啟動而中斷"},
    [OUTCOME_MISSED] = {"missed", OUTCOME_CLASS_CANCELLED, false, false, RED,
                        "not probed at its time", "未能按时探测", "未能按時探測"},
    [OUTCOME_REFUSED_LIMIT] = {"refused_limit", OUTCOME_CLASS_CLIENT, false, false, RED,
                               "refused by a limit of the caller's key", "被密钥的限额拒绝",
                               "被金鑰的限額拒絕"},
};

const char *outcome_class_name(enum outcome_class c)
{
    static const char *const names[] = {"ok",      "degraded", "upstream", "rate_limit",
                                        "quota",   "auth",     "client",   "cancelled",
                                        "timeout", "network",  "tls",      "dns"};

    static_assert(ARRAY_LEN(names) == OUTCOME_CLASSES, "one name a class");
    return (unsigned)c < OUTCOME_CLASSES ? names[c] : "";
}

bool outcome_is_success(enum outcome o)
{
    enum outcome_class c = outcome_rows[o].class;

    return c == OUTCOME_CLASS_OK || c == OUTCOME_CLASS_DEGRADED;
}

/* Codes that say more than the status; read first, since one status (429, 403, 503) serves several
 * meanings. Exact names of OpenAI, Anthropic, Google and one-api relays. */
static const struct {
    const char *code;
    enum outcome outcome;
} codes[] = {
    {"insufficient_quota", OUTCOME_QUOTA},
    {"insufficient_user_quota", OUTCOME_QUOTA},
    {"pre_consume_token_quota_failed", OUTCOME_QUOTA},
    {"insufficient_balance", OUTCOME_QUOTA},
    {"billing_error", OUTCOME_QUOTA},
    {"billing_hard_limit_reached", OUTCOME_QUOTA},
    {"billing_not_active", OUTCOME_QUOTA},
    {"invalid_api_key", OUTCOME_AUTH},
    {"authentication_error", OUTCOME_AUTH},
    {"API_KEY_INVALID", OUTCOME_AUTH},
    {"UNAUTHENTICATED", OUTCOME_AUTH},
    {"permission_error", OUTCOME_FORBIDDEN},
    {"PERMISSION_DENIED", OUTCOME_FORBIDDEN},
    {"model_not_found", OUTCOME_MODEL_UNKNOWN},
    {"not_found_error", OUTCOME_MODEL_UNKNOWN},
    {"NOT_FOUND", OUTCOME_MODEL_UNKNOWN},
    {"rate_limit_exceeded", OUTCOME_RATE_LIMITED},
    {"rate_limit_error", OUTCOME_RATE_LIMITED},
    {"slow_down", OUTCOME_RATE_LIMITED},
    {"RESOURCE_EXHAUSTED", OUTCOME_RATE_LIMITED},
    {"overloaded_error", OUTCOME_OVERLOADED},
    {"server_is_overloaded", OUTCOME_OVERLOADED},
    {"UNAVAILABLE", OUTCOME_OVERLOADED},
};

/* Parts of codes that name money, however they go on. */
static const char *const money_parts[] = {"credit_balance", "spend_limit", "usage_limit", "PerDay"};

static bool find_code(struct str code, enum outcome *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (str_eq_c(code, codes[i].code)) {
            *ret = codes[i].outcome;
            return true;
        }
    for (size_t i = 0; i < ARRAY_LEN(money_parts); i++)
        if (str_find_str(code, str_of(money_parts[i])) >= 0) {
            *ret = OUTCOME_QUOTA;
            return true;
        }
    return false;
}

enum outcome outcome_of_status(int status, struct str error_code)
{
    enum outcome o;

    if (status >= 200 && status < 300)
        return OUTCOME_OK;
    if (status < 400 || status > 599)
        return OUTCOME_UNEXPECTED_STATUS;
    if (find_code(error_code, &o))
        return o;
    switch (status) {
    case 401:
        return OUTCOME_AUTH;
    case 402:
        return OUTCOME_QUOTA;
    case 403:
        return OUTCOME_FORBIDDEN;
    case 404:
        return OUTCOME_MODEL_UNKNOWN;
    case 408:
    case 409:
    case 503:
    case 529:
        return OUTCOME_OVERLOADED;
    case 429:
        return OUTCOME_RATE_LIMITED;
    default:
        return status < 500 ? OUTCOME_BAD_REQUEST : OUTCOME_SERVER_ERROR;
    }
}
