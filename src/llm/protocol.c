/* protocol.c -- names of the wire formats and the ordered table that routes a model by its id. */
#include "llm/protocol.h"

#include "base/err.h"

static const struct {
    const char *name, *family, *route, *endpoint;
} rows[] = {
    [PROTOCOL_NONE] = {"none", "", "skip", ""},
    [PROTOCOL_OPENAI_CHAT] = {"openai_chat", "openai", "chat", "chat"},
    [PROTOCOL_OPENAI_RESPONSES] = {"openai_responses", "openai", "responses", "responses"},
    [PROTOCOL_ANTHROPIC] = {"anthropic", "anthropic", "anthropic", "messages"},
    [PROTOCOL_GEMINI] = {"gemini", "gemini", "gemini", "gemini"},
};

static_assert(ARRAY_LEN(rows) == PROTOCOLS, "one row a protocol");

const char *protocol_name(enum protocol p)
{
    return rows[p].name;
}

const char *protocol_family(enum protocol p)
{
    return rows[p].family;
}

const char *protocol_route(enum protocol p)
{
    return rows[p].route;
}

const char *protocol_endpoint(enum protocol p)
{
    return rows[p].endpoint;
}

int protocol_parse_route(struct str route, enum protocol *ret)
{
    for (unsigned i = 0; i < PROTOCOLS; i++)
        if (str_eq_c(route, rows[i].route)) {
            *ret = (enum protocol)i;
            return 0;
        }
    return ERR_SYNTAX;
}

/* First pattern found anywhere in the lower-cased name wins; '#' stands for one of 1, 2, 3. */
static const struct {
    const char *pattern;
    enum protocol protocol;
} routes[] = {
    {"claude", PROTOCOL_ANTHROPIC},
    {"gemini", PROTOCOL_GEMINI},
    {"codex", PROTOCOL_OPENAI_RESPONSES},
    {"gpt-5.#", PROTOCOL_OPENAI_RESPONSES},
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool matches_at(const char *p, const char *end, const char *pattern)
{
    for (; *pattern; pattern++, p++) {
        if (p == end)
            return false;
        if (*pattern == '#' ? *p < '1' || *p > '3' : lower(*p) != *pattern)
            return false;
    }
    return true;
}

static bool contains(struct str s, const char *pattern)
{
    for (size_t i = 0; i < s.len; i++)
        if (matches_at(s.ptr + i, s.ptr + s.len, pattern))
            return true;
    return false;
}

static struct str name_of(struct str model)
{
    return str_find(model, '/') >= 0 ? str_after(model, '/') : model;
}

enum protocol protocol_of_model(struct str model)
{
    struct str name = name_of(model);

    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (contains(name, routes[i].pattern))
            return routes[i].protocol;
    return PROTOCOL_OPENAI_CHAT;
}

/* What only makes sense with other input or output than text. Words stand between separators
 * ("tts-1", not "attts"), parts anywhere. */
static const char *const unprobeable_parts[] = {
    "embed",   "rerank", "moderation", "dall-e",           "whisper",    "imagen",  "transcribe",
    "text-to", "speech", "realtime",   "stable-diffusion", "midjourney", "cogview", "cogvideo",
};
static const char *const unprobeable_words[] = {
    "tts", "asr", "stt", "image", "images", "audio", "video", "sora",     "veo",      "flux", "bge",
    "m3e", "gte", "mj",  "suno",  "kling",  "clip",  "ocr",   "seedream", "seedance", "wanx",
};

static bool is_word_char(char c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool has_word(struct str s, const char *word)
{
    size_t len = strlen(word);

    for (size_t i = 0; i + len <= s.len; i++) {
        if (i > 0 && is_word_char(s.ptr[i - 1]))
            continue;
        if (i + len < s.len && is_word_char(s.ptr[i + len]))
            continue;
        if (matches_at(s.ptr + i, s.ptr + s.len, word))
            return true;
    }
    return false;
}

bool protocol_is_unprobeable(struct str model)
{
    struct str name = name_of(model);

    for (size_t i = 0; i < ARRAY_LEN(unprobeable_parts); i++)
        if (contains(name, unprobeable_parts[i]))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(unprobeable_words); i++)
        if (has_word(name, unprobeable_words[i]))
            return true;
    return false;
}
