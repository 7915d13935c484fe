/* free_list.h: memory of objects that were freed, for the next ones of the type.
 *
 * A free object is linked through a field of its own that holds nothing meanwhile;
 * link is that field's offset. Only a list with a lock around it could serve a
 * free-threaded build, which therefore keeps nothing.
 */
#ifndef YULAPY_FREE_LIST_H
#define YULAPY_FREE_LIST_H

#include <Python.h>
#include <limits.h>
#include <stdbool.h>

#ifdef Py_GIL_DISABLED
#define YULAPY_REUSE 0
#else
#define YULAPY_REUSE 1
#endif

typedef struct yulapy_free_list {
    PyObject *first;
    unsigned count;
} yulapy_free_list;

/* A free object, or NULL: the fields are as its dealloc left them, the link
 * apart, and PyObject_Init has to follow. */
static inline PyObject *
yulapy_free_list_take(yulapy_free_list *list, Py_ssize_t link)
{
    PyObject *object = list->first;
    if (object == NULL)
        return NULL;
    list->first = *(PyObject **)((char *)object + link);
    list->count--;
    return object;
}

/* In a dealloc: keep the memory, if there are not max of them. */
static inline bool
yulapy_free_list_keep(yulapy_free_list *list, PyObject *object, Py_ssize_t link,
                      unsigned max)
{
    if (!YULAPY_REUSE || list->count >= max)
        return false;
    *(PyObject **)((char *)object + link) = list->first;
    list->first = object;
    list->count++;
    return true;
}

/* Free what is kept, and keep no more. For types with the collector. */
static inline void
yulapy_free_list_end(yulapy_free_list *list, Py_ssize_t link)
{
    PyObject *object;
    while ((object = yulapy_free_list_take(list, link)) != NULL)
        PyObject_GC_Del(object);
    list->count = UINT_MAX;
}

#endif /* YULAPY_FREE_LIST_H */
