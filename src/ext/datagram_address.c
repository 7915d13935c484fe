/* datagram_address.c: the address objects of datagrams, remembered.
 *
 * Every datagram comes with its sender's address, most senders send again, and
 * the answer goes to that address. Making the object costs 570 instructions, and
 * the answer would parse it; here both are a look into a table.
 *
 *  I1. entries[i].object is what yulapy_address_object made of entries[i].addr:
 *      a tuple of a str and ints, which nobody can change, so it can be shared.
 *  I2. by_object[] is a hint; it holds if the entry's object is the one asked
 *      for.
 *  I3. An address has two places, its hash and the one beside it: with 32 senders
 *      two that share one place are likely, three that share two are not.
 * One table a loop, made with the first datagram; at most CACHE_SIZE objects.
 */
#include "datagram_transport.h"

#include <netinet/in.h>

/* A server's busiest senders. 12 KiB of table, up to 60 KiB of objects. */
#define CACHE_SIZE 256u

typedef struct entry {
    PyObject *object;
    socklen_t len;
    union {
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    } addr;
} entry;

struct yulapy_addresses {
    unsigned turn; /* which of a pair makes room next */
    entry entries[CACHE_SIZE];
    uint8_t by_object[CACHE_SIZE];
};

static inline unsigned
hash_bits(uint64_t bits)
{
    return (unsigned)(bits * UINT64_C(0x9E3779B97F4A7C15) >> 56) % CACHE_SIZE;
}

static inline unsigned
hash_object(PyObject *object)
{
    return hash_bits((uint64_t)(uintptr_t)object);
}

/* Returns CACHE_SIZE for what is not remembered. */
static inline unsigned
hash_address(const struct sockaddr *addr, socklen_t len)
{
    if (addr->sa_family == AF_INET && len == sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)addr;
        return hash_bits((uint64_t)in4->sin_addr.s_addr << 16 | in4->sin_port);
    }
    if (addr->sa_family == AF_INET6 && len == sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
        uint64_t halves[2];
        memcpy(halves, &in6->sin6_addr, sizeof(halves));
        return hash_bits(halves[0] * 31 + halves[1] + in6->sin6_port);
    }
    return CACHE_SIZE;
}

static inline bool
entry_is(const entry *found, const struct sockaddr *addr, socklen_t len)
{
    return found->len == len && memcmp(&found->addr, addr, len) == 0;
}

PyObject *
yulapy_datagram_sender(yulapy_loop *loop, const struct sockaddr *addr,
                       socklen_t len)
{
    unsigned place = len > 0 ? hash_address(addr, len) : CACHE_SIZE;
    if (place == CACHE_SIZE)
        return yulapy_address_object(addr, len);
    if (loop->addresses == NULL) {
        loop->addresses = PyMem_Calloc(1, sizeof(*loop->addresses));
        if (loop->addresses == NULL)
            return PyErr_NoMemory();
    }
    entry *entries = loop->addresses->entries;
    if (entry_is(&entries[place], addr, len))
        return Py_NewRef(entries[place].object);
    if (entry_is(&entries[place ^ 1], addr, len))
        return Py_NewRef(entries[place ^ 1].object);
    if (entries[place].object != NULL)
        place ^= entries[place ^ 1].object == NULL ||
                 loop->addresses->turn++ % 2 == 1;
    entry *found = &entries[place];
    PyObject *object = yulapy_address_object(addr, len);
    if (object == NULL)
        return NULL;
    memcpy(&found->addr, addr, len);
    found->len = len;
    loop->addresses->by_object[hash_object(object)] = (uint8_t)place;
    Py_XSETREF(found->object, Py_NewRef(object));
    return object;
}

const struct sockaddr *
yulapy_datagram_sender_of(yulapy_loop *loop, PyObject *object, socklen_t *len)
{
    if (loop->addresses == NULL)
        return NULL;
    unsigned hint = hash_object(object);
    const entry *found =
        &loop->addresses->entries[loop->addresses->by_object[hint]];
    if (found->object != object)
        return NULL;
    *len = found->len;
    return (const struct sockaddr *)&found->addr;
}

void
yulapy_addresses_drop(yulapy_loop *loop)
{
    struct yulapy_addresses *addresses = loop->addresses;

    loop->addresses = NULL;
    for (unsigned i = 0; addresses != NULL && i < CACHE_SIZE; i++)
        Py_XDECREF(addresses->entries[i].object);
    PyMem_Free(addresses);
}
