/* address.c: address literals to socket addresses, as strictly as inet_pton.
 *
 * Short forms (127.1), hexadecimal and octal parts, brackets, blanks and ports
 * are not literals here: whoever accepts them asks yula_resolve_start, which
 * gives them to libc.
 * Thread: any.
 */
#include <yula/resolve.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

/* A scope is the name of an interface or its number. libc asks for the name
 * first, and only where scopes have interfaces (RFC 4007, 11.2). Returns 0 when
 * it is neither: no interface has that number. */
static uint32_t
address_scope(const char *text, const struct in6_addr *addr)
{
    uint64_t number = 0;

    if (IN6_IS_ADDR_LINKLOCAL(addr) || IN6_IS_ADDR_MC_LINKLOCAL(addr)) {
        unsigned index = if_nametoindex(text);
        if (index != 0)
            return index;
    }
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        number = number * 10 + (uint64_t)(*at - '0');
        if (number > UINT32_MAX)
            return 0;
    }
    return (uint32_t)number;
}

static int
address_parse_4(const char *text, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};

    if (inet_pton(AF_INET, text, &addr.sin_addr) != 1)
        return -EINVAL;
    memcpy(out, &addr, sizeof(addr));
    return (int)sizeof(addr);
}

static int
address_parse_6(const char *text, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6,
                                .sin6_port = htons(port)};
    char digits[INET6_ADDRSTRLEN];
    const char *percent = strchr(text, '%');
    size_t len = percent != NULL ? (size_t)(percent - text) : strlen(text);

    if (len >= sizeof(digits))
        return -EINVAL;
    memcpy(digits, text, len);
    digits[len] = '\0';
    if (inet_pton(AF_INET6, digits, &addr.sin6_addr) != 1)
        return -EINVAL;
    if (percent != NULL) {
        addr.sin6_scope_id = address_scope(percent + 1, &addr.sin6_addr);
        if (addr.sin6_scope_id == 0)
            return -EINVAL;
    }
    memcpy(out, &addr, sizeof(addr));
    return (int)sizeof(addr);
}

int
yula_address_parse(const char *text, uint16_t port, int family,
                   struct sockaddr_storage *addr)
{
    bool colons = strchr(text, ':') != NULL;

    if (!colons && (family == AF_INET || family == AF_UNSPEC))
        return address_parse_4(text, port, addr);
    if (colons && (family == AF_INET6 || family == AF_UNSPEC))
        return address_parse_6(text, port, addr);
    return -EINVAL;
}
