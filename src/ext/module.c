/* module.c: the module yula._core and its state. */
#include "yulapy.h"

#include "c_api.h"
#include "executor.h"
#include "gil.h"

static struct PyModuleDef module_def;

yulapy_state *
yulapy_state_of_type(PyTypeObject *type)
{
    return PyType_GetModuleState(type);
}

static PyObject *
import_attribute(const char *module, const char *name)
{
    PyObject *object = PyImport_ImportModule(module);
    if (object == NULL)
        return NULL;
    PyObject *attribute = PyObject_GetAttrString(object, name);
    Py_DECREF(object);
    return attribute;
}

static int
state_import(yulapy_state *state)
{
    const struct {
        PyObject **place;
        const char *module, *name;
    } imports[] = {
        {&state->future_type, "asyncio.futures", "Future"},
        {&state->futures, "asyncio.futures", "__dict__"},
        {&state->tasks, "asyncio.tasks", "__dict__"},
        {&state->gaierror, "socket", "gaierror"},
        {&state->address_family, "socket", "AddressFamily"},
        {&state->socket_kind, "socket", "SocketKind"},
        {&state->af_inet, "socket", "AF_INET"},
        {&state->af_inet6, "socket", "AF_INET6"},
        {&state->sock_stream, "socket", "SOCK_STREAM"},
        {&state->sock_dgram, "socket", "SOCK_DGRAM"},
        {&state->socket_names, "socket", "__dict__"},
        {&state->getaddrinfo, "socket", "getaddrinfo"},
        {&state->buffered_protocol, "asyncio.protocols", "BufferedProtocol"},
        {&state->transport_socket, "asyncio.trsock", "TransportSocket"},
        {&state->extract_stack, "asyncio.format_helpers", "extract_stack"},
        {&state->socket_type, "socket", "socket"},
        {&state->base_loop, "asyncio.selector_events", "BaseSelectorEventLoop"},
    };
    for (size_t i = 0; i < sizeof(imports) / sizeof(imports[0]); i++) {
        *imports[i].place = import_attribute(imports[i].module,
                                             imports[i].name);
        if (*imports[i].place == NULL)
            return -1;
    }
    state->names_loop = PyTuple_Pack(1, state->str_loop);
    if (state->names_loop == NULL)
        return -1;
    state->failure = PyImport_ImportModule("yula.failure");
    return state->failure != NULL ? 0 : -1;
}

static int
module_exec(PyObject *module)
{
    yulapy_state *state = PyModule_GetState(module);

    state->server_takes_transport = Py_Version >= 0x030d0000;
    state->empty_tuple = PyTuple_New(0);
    state->empty_text = PyUnicode_FromString("");
    if (state->empty_tuple == NULL || state->empty_text == NULL)
        return -1;
    /* ORDER yulapy_names */
#define NAME_INTERN(name)                                                      \
    if ((state->str_##name = PyUnicode_InternFromString(#name)) == NULL)       \
        return -1;
    YULAPY_NAMES(NAME_INTERN)
#undef NAME_INTERN
    if (state_import(state) < 0 || yulapy_gil_add(state) < 0 ||
        yulapy_handle_add_types(module, state) < 0 ||
        yulapy_futures_add_type(module, state) < 0 ||
        yulapy_descriptor_add_type(module, state) < 0 ||
        yulapy_socket_op_add_type(module, state) < 0 ||
        yulapy_lookup_add_type(module, state) < 0 ||
        yulapy_literal_add_type(module, state) < 0 ||
        yulapy_executor_add_types(module, state) < 0 ||
        yulapy_stream_transport_add_type(module, state) < 0 ||
        yulapy_datagram_transport_add_type(module, state) < 0 ||
        yulapy_pipe_add_types(module, state) < 0 ||
        yulapy_listener_add_type(module, state) < 0 ||
        yulapy_c_api_add(module) < 0 ||
        yulapy_streams_add_types(module, state) < 0 ||
        yulapy_tls_add_types(module, state) < 0 ||
        yulapy_loop_add_type(module, state) < 0)
        return -1;
    return PyModule_AddStringConstant(module, "version", YULA__VERSION);
}

/* clang-format off */
#define STATE_OBJECTS(X)                                                       \
    X(loop_type) X(handle_type) X(timer_handle_type)                           \
    X(threadsafe_handle_type) X(stream_transport_type) X(descriptor_type)      \
    X(datagram_transport_type) X(listener_type) X(socket_op_type) X(handle_base) X(handle_base_run)       \
    X(future_type) X(futures) X(tasks) X(buffered_protocol)                    \
    X(transport_socket) X(extract_stack) X(socket_type) X(gaierror)            \
    X(address_family) X(socket_kind) X(lookup_type) X(worker_type)             \
    X(read_pipe_type) X(write_pipe_type)                                       \
    X(literal_type) X(af_inet) X(af_inet6) X(sock_stream) X(sock_dgram)        \
    X(socket_names) X(getaddrinfo) X(empty_text)                               \
    X(work_queue_type) X(failure) X(breath)                                    \
    X(empty_tuple) X(base_loop) X(names_loop) X(context_names)                 \
    X(switch_interval.get) X(switch_interval.set)
/* clang-format on */

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    yulapy_state *state = PyModule_GetState(module);
#define VISIT(field) Py_VISIT(state->field);
    STATE_OBJECTS(VISIT)
#undef VISIT
    int err = yulapy_tls_traverse(state, visit, arg);
    if (err == 0)
        err = yulapy_futures_traverse(state, visit, arg);
    return err != 0 ? err : yulapy_streams_traverse(state, visit, arg);
}

static int
module_clear(PyObject *module)
{
    yulapy_state *state = PyModule_GetState(module);
#define CLEAR(field) Py_CLEAR(state->field);
    STATE_OBJECTS(CLEAR)
#undef CLEAR
#define CLEAR_NAME(name) Py_CLEAR(state->str_##name);
    YULAPY_NAMES(CLEAR_NAME)
#undef CLEAR_NAME
    yulapy_futures_clear(state);
    yulapy_socket_op_drop_free(state);
    yulapy_streams_clear(state);
    yulapy_tls_clear(state);
    return 0;
}

static void
module_free(void *module)
{
    (void)module_clear(module);
    yulapy_streams_free(PyModule_GetState(module));
    yulapy_tls_free(PyModule_GetState(module));
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030c0000
    /* All state is the module's; a loop restores the thread state it saved. */
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static PyObject *
module_retire_switch_interval(PyObject *module, PyObject *unused)
{
    yulapy_state *state = PyModule_GetState(module);
    yulapy_switch_interval_retire(&state->switch_interval);
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    {"retire_switch_interval", module_retire_switch_interval, METH_NOARGS,
     PyDoc_STR("retire_switch_interval()\n--\n\nThe interpreter ends: restore "
               "sys.getswitchinterval() and leave it alone.")},
    {NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "yula._core",
    .m_doc = "The C half of yula. Private: use the package.",
    .m_size = sizeof(yulapy_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&module_def);
}
