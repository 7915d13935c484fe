/* responder.c: an HTTP/1.1 server in C, with a Python handler for what it does not
 * answer itself, as an extension module for yula.
 *
 *     future = responder.serve(sock, folder, handler)
 *
 * GET /health and the files of a folder are answered by C tasks, on a thread that
 * never waits for the interpreter lock. Everything else becomes
 * await handler(method, target, body), which returns (status, type, body).
 *
 * An example: requests with a Content-Length or without a body, the files are
 * read once, at the start. serve() refuses nothing that a browser or wrk sends.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <yula/python.h>

#include <ctype.h>
#include <fcntl.h>
#include <ftw.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_MAX 8192
#define BODY_MAX (1 << 20)
#define FILE_MAX (8 << 20)
#define IDLE_NS INT64_C(60000000000)

typedef struct page {
    struct page *next;
    char *path;  /* "/style.css" */
    char *bytes; /* the whole answer, head first */
    size_t len;
    size_t head_len;
} page;

typedef struct site {
    yula_python *python;
    PyObject *handler; /* touched under the lock only */
    int fd;            /* our own, of the listening socket */
    page *pages;
} site;

/* --- files -------------------------------------------------------------------- */

static const char *
type_of(const char *path)
{
    static const char *const types[][2] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css"},
        {".js", "text/javascript"},
        {".json", "application/json"},
        {".txt", "text/plain; charset=utf-8"},
        {".png", "image/png"},
        {".svg", "image/svg+xml"},
    };
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot != NULL && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(dot, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

static int
page_add(site *site, const char *path, const char *type, FILE *file, size_t len)
{
    char head[256];
    int head_len = snprintf(head, sizeof(head),
                            "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n"
                            "Content-Length: %zu\r\n\r\n",
                            type, len);
    page *page = calloc(1, sizeof(*page));

    if (page == NULL)
        return -ENOMEM;
    page->next = site->pages;
    site->pages = page; /* from here on site_free has it */
    page->head_len = (size_t)head_len;
    page->len = page->head_len + len;
    page->path = strdup(path);
    page->bytes = malloc(page->len + 1);
    if (page->path == NULL || page->bytes == NULL)
        return -ENOMEM;
    memcpy(page->bytes, head, page->head_len);
    if (fread(page->bytes + head_len, 1, len, file) != len)
        return -EIO;
    return 0;
}

/* nftw(3) has no argument for its callback. */
static _Thread_local struct {
    site *site;
    size_t root_len;
} walk;

static int
walk_file(const char *path, const struct stat *info, int kind,
          struct FTW *where)
{
    if (kind != FTW_F || !S_ISREG(info->st_mode) || info->st_size > FILE_MAX)
        return 0;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -errno;
    int err = page_add(walk.site, path + walk.root_len, type_of(path), file,
                       (size_t)info->st_size);
    fclose(file);
    return err;
}

static int
site_load(site *site, const char *folder)
{
    walk.site = site;
    walk.root_len = strlen(folder);
    int err = nftw(folder, walk_file, 8, FTW_PHYS);
    if (err == -1)
        err = -errno;
    FILE *nothing = fopen("/dev/null", "rb");
    if (err == 0 && nothing != NULL)
        err = page_add(site, "/health", "text/plain", nothing, 0);
    if (nothing != NULL)
        fclose(nothing);
    return err;
}

static const page *
site_find(const site *site, const char *target, size_t len)
{
    const char *query = memchr(target, '?', len);

    if (query != NULL)
        len = (size_t)(query - target);
    for (const page *page = site->pages; page != NULL; page = page->next)
        if (strlen(page->path) == len && memcmp(page->path, target, len) == 0)
            return page;
    return NULL;
}

/* --- requests ----------------------------------------------------------------- */

typedef struct request {
    site *site;
    yula_conn *conn;
    char *method, *target; /* on the task's stack, each with a NUL */
    char *body;
    size_t body_len;
    bool keep_alive;
    bool chunked;
    bool expects; /* 100-continue */

    char *reply; /* malloc(3)ed: what the handler said, head first */
    size_t reply_len;
} request;

static bool
field_is(const char *line, const char *name, const char **value)
{
    size_t len = strlen(name);

    if (strncasecmp(line, name, len) != 0 || line[len] != ':')
        return false;
    for (line += len + 1; *line == ' ' || *line == '\t'; line++)
        ;
    *value = line;
    return true;
}

/* Digits and nothing else: two servers that read a length differently can be
 * made to see different requests. */
static bool
parse_length(const char *text, size_t *out)
{
    size_t len = 0;
    const char *at = text;

    for (; isdigit((unsigned char)*at) && len <= BODY_MAX; at++)
        len = len * 10 + (size_t)(*at - '0');
    while (*at == ' ' || *at == '\t')
        at++;
    *out = len;
    return at != text && *at == '\0';
}

static bool
parse_field(request *request, const char *line)
{
    const char *value;

    if (field_is(line, "content-length", &value))
        return parse_length(value, &request->body_len);
    if (field_is(line, "connection", &value)) {
        if (strcasecmp(value, "close") == 0)
            request->keep_alive = false;
        else if (strcasecmp(value, "keep-alive") == 0)
            request->keep_alive = true;
    }
    else if (field_is(line, "transfer-encoding", &value)) {
        request->chunked = true;
    }
    else if (field_is(line, "expect", &value)) {
        request->expects = strcasecmp(value, "100-continue") == 0;
    }
    return true;
}

/* head: the request's, changed here. */
static bool
parse_head(request *request, char *head)
{
    char *rest = strstr(head, "\r\n");

    *rest = '\0';
    request->method = head;
    request->target = strchr(head, ' ');
    if (request->target == NULL)
        return false;
    *request->target++ = '\0';
    char *version = strchr(request->target, ' ');
    if (version == NULL || strncmp(version, " HTTP/1.", 8) != 0)
        return false;
    *version = '\0';
    request->keep_alive = strcmp(version + 1, "HTTP/1.0") != 0;
    for (char *line = rest + 2; *line != '\r' && *line != '\0';) {
        char *end = strstr(line, "\r\n");
        if (end == NULL)
            return false;
        *end = '\0';
        if (!parse_field(request, line))
            return false;
        line = end + 2;
    }
    return true;
}

/* --- answers ------------------------------------------------------------------ */

static int
answer_simply(yula_conn *conn, const char *status)
{
    char text[128];
    int len = snprintf(text, sizeof(text),
                       "HTTP/1.1 %s\r\nContent-Length: 0\r\n"
                       "Connection: close\r\n\r\n",
                       status);
    return yula_conn_write(conn, text, (size_t)len);
}

/* Head and body in one piece of memory. */
static int
make_reply(request *request, int status, const char *type, const char *body,
           size_t len)
{
    char head[256];
    int head_len = snprintf(head, sizeof(head),
                            "HTTP/1.1 %d\r\nContent-Type: %.100s\r\n"
                            "Content-Length: %zu\r\n\r\n",
                            status, type, len);

    request->reply = malloc((size_t)head_len + len);
    if (request->reply == NULL)
        return -ENOMEM;
    memcpy(request->reply, head, (size_t)head_len);
    memcpy(request->reply + head_len, body, len);
    request->reply_len = (size_t)head_len + len;
    return 0;
}

/* The two callbacks below run on the Python loop, with the lock. What C needs
 * of the result is copied, so that the task never holds a reference. */

static PyObject *
handler_begin(void *arg)
{
    request *request = arg;
    return PyObject_CallFunction(request->site->handler, "ssy#",
                                 request->method, request->target,
                                 request->body != NULL ? request->body : "",
                                 (Py_ssize_t)request->body_len);
}

static int
handler_end(PyObject *result, void *arg)
{
    const char *type, *body;
    Py_ssize_t len;
    int status;

    if (result == NULL)
        return -EIO; /* what it raised goes to the loop's exception handler */
    if (!PyTuple_Check(result)) {
        PyErr_SetString(PyExc_TypeError,
                        "the handler returns (status, type, body)");
        return -EIO;
    }
    if (!PyArg_ParseTuple(result, "isy#", &status, &type, &body, &len))
        return -EIO;
    return make_reply(arg, status, type, body, (size_t)len);
}

static int
answer_by_handler(request *request)
{
    int err = yula_python_await(request->site->python,
                                yula_conn_loop(request->conn), handler_begin,
                                handler_end, request);
    if (err == -EIO || err == -ENOMEM)
        return answer_simply(request->conn, "500 Internal Server Error");
    if (err == 0)
        err = yula_conn_write(request->conn, request->reply,
                              request->reply_len);
    free(request->reply);
    return err;
}

static int
answer(request *request)
{
    bool get = strcmp(request->method, "GET") == 0;
    bool head = strcmp(request->method, "HEAD") == 0;
    const page *page = NULL;

    if (get || head)
        page = site_find(request->site, request->target,
                         strlen(request->target));
    if (page == NULL)
        return answer_by_handler(request);
    return yula_conn_write(request->conn, page->bytes,
                           head ? page->head_len : page->len);
}

/* --- connections -------------------------------------------------------------- */

/* Returns 0 to go on. */
static int
play_request(site *site, yula_conn *conn, char *head)
{
    request request = {.site = site, .conn = conn};
    size_t got = 0;
    int err = 0;

    if (!parse_head(&request, head)) {
        (void)answer_simply(conn, "400 Bad Request");
        return -EPROTO;
    }
    if (request.chunked || request.body_len > BODY_MAX) {
        (void)answer_simply(conn, request.chunked ? "501 Not Implemented"
                                                  : "413 Content Too Large");
        return -EPROTO;
    }
    if (request.expects)
        err = yula_conn_write(conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    if (err == 0 && request.body_len > 0) {
        request.body = malloc(request.body_len);
        if (request.body == NULL)
            return -ENOMEM;
        err = yula_conn_read_exactly(conn, request.body, request.body_len,
                                     &got);
    }
    if (err == 0)
        err = answer(&request);
    free(request.body);
    return err == 0 && !request.keep_alive ? YULA_EOF : err;
}

static int
play_connection(yula_conn *conn, void *arg)
{
    yula_loop *loop = yula_conn_loop(conn);
    char head[HEAD_MAX + 1];
    yula_scope idle;
    int err = 0;

    yula_conn_set_limit(conn, HEAD_MAX);
    while (err == 0) {
        char *bytes;
        err = yula_deadline_enter(loop, &idle, yula_loop_now(loop) + IDLE_NS);
        if (err < 0)
            break;
        ssize_t len = yula_conn_read_until(conn, "\r\n\r\n", 4, &bytes);
        err = yula_deadline_leave(&idle, len < 0 ? (int)len : 0);
        if (err < 0)
            break;
        memcpy(head, bytes, (size_t)len);
        head[len] = '\0';
        err = play_request(arg, conn, head);
    }
    return err;
}

static int
serve_task(yula_task *task, void *arg)
{
    site *site = arg;
    return yula_conn_serve(yula_task_loop(task), site->fd, play_connection,
                           site);
}

/* --- the module --------------------------------------------------------------- */

static void
site_free(site *site)
{
    while (site->pages != NULL) {
        page *page = site->pages;
        site->pages = page->next;
        free(page->path);
        free(page->bytes);
        free(page);
    }
    yula_python_unref(site->python);
    if (site->fd >= 0)
        close(site->fd);
    Py_XDECREF(site->handler);
    free(site);
}

static PyObject *
serve_finish(int status, void *arg)
{
    site_free(arg);
    if (status >= 0)
        Py_RETURN_NONE;
    errno = status > -4096 ? -status : EIO;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *
module_serve(PyObject *module, PyObject *args)
{
    PyObject *sock, *handler;
    const char *folder;

    if (!PyArg_ParseTuple(args, "OsO", &sock, &folder, &handler))
        return NULL;
    int fd = PyObject_AsFileDescriptor(sock);
    if (fd < 0)
        return NULL;
    site *site = calloc(1, sizeof(*site));
    if (site == NULL)
        return PyErr_NoMemory();
    /* One of our own: the caller may close the socket as soon as the future is
     * cancelled, while the task still ends. */
    site->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (site->fd < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        site_free(site);
        return NULL;
    }
    site->handler = Py_NewRef(handler);
    int err = site_load(site, folder);
    if (err < 0) {
        errno = -err;
        PyErr_SetFromErrnoWithFilename(PyExc_OSError, folder);
        site_free(site);
        return NULL;
    }
    if (yula_python_open(NULL, &site->python) < 0) {
        site_free(site);
        return NULL;
    }
    yula_task_options options = {.size = sizeof(options), .name = "responder"};
    PyObject *future = yula_python_spawn(site->python, &options, serve_task,
                                         serve_finish, site);
    if (future == NULL)
        site_free(site);
    return future;
}

static PyMethodDef methods[] = {
    {"serve", module_serve, METH_VARARGS,
     PyDoc_STR(
         "serve(sock, folder, handler)\n--\n\nServe HTTP on a listening, "
         "non-blocking socket: /health and the folder's\nfiles from C, the "
         "rest by await handler(method, target, body), which\nreturns "
         "(status, type, body). Cancel the future to stop.")},
    {NULL},
};

static int
module_exec(PyObject *module)
{
    return yula_python_import();
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "responder",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit_responder(void)
{
    return PyModuleDef_Init(&definition);
}
