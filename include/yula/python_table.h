/* python_table.h: the functions that the capsule yula._C_API offers. Included by
 * python.h; brought up to date by tools/check-symbols.py --write.
 *
 * The order is an ABI: what is new goes to the end.
 */
#ifndef YULA_PYTHON_TABLE_H
#define YULA_PYTHON_TABLE_H

/* clang-format off */
#define YULA_PYTHON_TABLE(MEMBER, GONE) \
    MEMBER(yula_python_await) \
    MEMBER(yula_python_call) \
    MEMBER(yula_python_core) \
    MEMBER(yula_python_native) \
    MEMBER(yula_python_open) \
    MEMBER(yula_python_post) \
    MEMBER(yula_python_ref) \
    MEMBER(yula_python_spawn) \
    MEMBER(yula_python_unref) \
    MEMBER(yula_acceptor_accept) \
    MEMBER(yula_acceptor_free) \
    MEMBER(yula_acceptor_new) \
    MEMBER(yula_address_parse) \
    MEMBER(yula_addrinfo_free) \
    MEMBER(yula_await_connect) \
    MEMBER(yula_await_fd) \
    MEMBER(yula_await_resolve) \
    MEMBER(yula_await_work) \
    MEMBER(yula_channel_close) \
    MEMBER(yula_channel_count) \
    MEMBER(yula_channel_free) \
    MEMBER(yula_channel_new) \
    MEMBER(yula_channel_recv) \
    MEMBER(yula_channel_select) \
    MEMBER(yula_channel_send) \
    MEMBER(yula_channel_try_recv) \
    MEMBER(yula_channel_try_send) \
    MEMBER(yula_cluster_address) \
    MEMBER(yula_cluster_join) \
    MEMBER(yula_cluster_run) \
    MEMBER(yula_cluster_start) \
    MEMBER(yula_cluster_stop) \
    MEMBER(yula_condition_init) \
    MEMBER(yula_condition_notify) \
    MEMBER(yula_condition_wait) \
    MEMBER(yula_conn_abort) \
    MEMBER(yula_conn_buffered) \
    MEMBER(yula_conn_close) \
    MEMBER(yula_conn_connect) \
    MEMBER(yula_conn_drain) \
    MEMBER(yula_conn_fd) \
    MEMBER(yula_conn_loop) \
    MEMBER(yula_conn_new) \
    MEMBER(yula_conn_read) \
    MEMBER(yula_conn_read_exactly) \
    MEMBER(yula_conn_read_line) \
    MEMBER(yula_conn_read_until) \
    MEMBER(yula_conn_serve) \
    MEMBER(yula_conn_set_limit) \
    MEMBER(yula_conn_shutdown) \
    MEMBER(yula_conn_stream) \
    MEMBER(yula_conn_try_write) \
    MEMBER(yula_conn_write) \
    MEMBER(yula_connect_cancel) \
    MEMBER(yula_connect_start) \
    MEMBER(yula_coroutine_ended) \
    MEMBER(yula_coroutine_free) \
    MEMBER(yula_coroutine_new) \
    MEMBER(yula_coroutine_resume) \
    MEMBER(yula_coroutine_stack_used) \
    MEMBER(yula_coroutine_yield) \
    MEMBER(yula_deadline_enter) \
    MEMBER(yula_deadline_leave) \
    MEMBER(yula_deadline_move) \
    MEMBER(yula_event_clear) \
    MEMBER(yula_event_init) \
    MEMBER(yula_event_set) \
    MEMBER(yula_event_wait) \
    MEMBER(yula_group_cancel) \
    MEMBER(yula_group_enter) \
    MEMBER(yula_group_leave) \
    MEMBER(yula_group_spawn) \
    MEMBER(yula_job_cancel) \
    MEMBER(yula_job_submit) \
    MEMBER(yula_job_submit_host) \
    MEMBER(yula_listen_socket) \
    MEMBER(yula_listener_free) \
    MEMBER(yula_listener_new) \
    MEMBER(yula_local_get) \
    MEMBER(yula_local_set) \
    MEMBER(yula_loop_break) \
    MEMBER(yula_loop_clear_stop) \
    MEMBER(yula_loop_collect) \
    MEMBER(yula_loop_defer) \
    MEMBER(yula_loop_fd) \
    MEMBER(yula_loop_forked) \
    MEMBER(yula_loop_free) \
    MEMBER(yula_loop_get_stats) \
    MEMBER(yula_loop_host_jobs) \
    MEMBER(yula_loop_in_callback) \
    MEMBER(yula_loop_new) \
    MEMBER(yula_loop_next_deadline) \
    MEMBER(yula_loop_now) \
    MEMBER(yula_loop_on_own_thread) \
    MEMBER(yula_loop_read_buffer) \
    MEMBER(yula_loop_ref) \
    MEMBER(yula_loop_run) \
    MEMBER(yula_loop_run_batch) \
    MEMBER(yula_loop_set_clock) \
    MEMBER(yula_loop_set_worker_host) \
    MEMBER(yula_loop_step) \
    MEMBER(yula_loop_stop) \
    MEMBER(yula_loop_stopping) \
    MEMBER(yula_loop_unref) \
    MEMBER(yula_loop_want_host) \
    MEMBER(yula_mailbox_close) \
    MEMBER(yula_mailbox_free) \
    MEMBER(yula_mailbox_new) \
    MEMBER(yula_mailbox_recv) \
    MEMBER(yula_mailbox_send) \
    MEMBER(yula_mailbox_try_recv) \
    MEMBER(yula_mailbox_try_send) \
    MEMBER(yula_mutex_init) \
    MEMBER(yula_mutex_lock) \
    MEMBER(yula_mutex_try_lock) \
    MEMBER(yula_mutex_unlock) \
    MEMBER(yula_queue_close) \
    MEMBER(yula_queue_done) \
    MEMBER(yula_queue_get) \
    MEMBER(yula_queue_init) \
    MEMBER(yula_queue_join) \
    MEMBER(yula_queue_put) \
    MEMBER(yula_queue_try_get) \
    MEMBER(yula_queue_try_put) \
    MEMBER(yula_resolve_cancel) \
    MEMBER(yula_resolve_name) \
    MEMBER(yula_resolve_start) \
    MEMBER(yula_semaphore_acquire) \
    MEMBER(yula_semaphore_init) \
    MEMBER(yula_semaphore_release) \
    MEMBER(yula_semaphore_try_acquire) \
    MEMBER(yula_shield_enter) \
    MEMBER(yula_shield_leave) \
    MEMBER(yula_signal_init) \
    MEMBER(yula_signal_pipe) \
    MEMBER(yula_signal_set_close) \
    MEMBER(yula_signal_set_next) \
    MEMBER(yula_signal_set_open) \
    MEMBER(yula_signal_start) \
    MEMBER(yula_signal_stop) \
    MEMBER(yula_stack_configure) \
    MEMBER(yula_stack_get_stats) \
    MEMBER(yula_stack_report_overflow) \
    MEMBER(yula_stack_trim) \
    MEMBER(yula_stream_arg) \
    MEMBER(yula_stream_failed) \
    MEMBER(yula_stream_fd) \
    MEMBER(yula_stream_flush) \
    MEMBER(yula_stream_free) \
    MEMBER(yula_stream_get_marks) \
    MEMBER(yula_stream_new) \
    MEMBER(yula_stream_of) \
    MEMBER(yula_stream_peek_queued) \
    MEMBER(yula_stream_pressed) \
    MEMBER(yula_stream_queued) \
    MEMBER(yula_stream_set_marks) \
    MEMBER(yula_stream_set_ops) \
    MEMBER(yula_stream_shutdown) \
    MEMBER(yula_stream_start) \
    MEMBER(yula_stream_stop) \
    MEMBER(yula_stream_write) \
    MEMBER(yula_strerror) \
    MEMBER(yula_task_cancel) \
    MEMBER(yula_task_cancel_all) \
    MEMBER(yula_task_check) \
    MEMBER(yula_task_count) \
    MEMBER(yula_task_current) \
    MEMBER(yula_task_dump) \
    MEMBER(yula_task_ended) \
    MEMBER(yula_task_get_info) \
    MEMBER(yula_task_join) \
    MEMBER(yula_task_loop) \
    MEMBER(yula_task_name) \
    MEMBER(yula_task_on_end) \
    MEMBER(yula_task_ref) \
    MEMBER(yula_task_result) \
    MEMBER(yula_task_resume) \
    MEMBER(yula_task_run) \
    MEMBER(yula_task_set_name) \
    MEMBER(yula_task_sleep) \
    MEMBER(yula_task_sleep_until) \
    MEMBER(yula_task_spawn) \
    MEMBER(yula_task_suspend) \
    MEMBER(yula_task_unref) \
    MEMBER(yula_task_visit) \
    MEMBER(yula_task_yield) \
    MEMBER(yula_timer_armed) \
    MEMBER(yula_timer_init) \
    MEMBER(yula_timer_start) \
    MEMBER(yula_timer_stop) \
    MEMBER(yula_watcher_again) \
    MEMBER(yula_watcher_init) \
    MEMBER(yula_watcher_modify) \
    MEMBER(yula_watcher_of) \
    MEMBER(yula_watcher_start) \
    MEMBER(yula_watcher_stop) \
    MEMBER(yula_work_cancel) \
    MEMBER(yula_work_init) \
    MEMBER(yula_work_post) \
    MEMBER(yula_work_queue) \
    MEMBER(yula_worker_lost) \
    MEMBER(yula_worker_main) \
    MEMBER(yula_datagram_arg) \
    MEMBER(yula_datagram_fd) \
    MEMBER(yula_datagram_free) \
    MEMBER(yula_datagram_get_marks) \
    MEMBER(yula_datagram_new) \
    MEMBER(yula_datagram_of) \
    MEMBER(yula_datagram_pressed) \
    MEMBER(yula_datagram_queued) \
    MEMBER(yula_datagram_send) \
    MEMBER(yula_datagram_set_marks) \
    MEMBER(yula_datagram_start) \
    MEMBER(yula_datagram_stop) \
    MEMBER(yula_pipe_get_marks) \
    MEMBER(yula_pipe_pressed) \
    MEMBER(yula_pipe_queued) \
    MEMBER(yula_pipe_reader_free) \
    MEMBER(yula_pipe_reader_new) \
    MEMBER(yula_pipe_reader_start) \
    MEMBER(yula_pipe_reader_stop) \
    MEMBER(yula_pipe_set_marks) \
    MEMBER(yula_pipe_write) \
    MEMBER(yula_pipe_writer_free) \
    MEMBER(yula_pipe_writer_new) \
    MEMBER(yula_pipe_writer_watch) \
    MEMBER(yula_datagram_drop) \
    MEMBER(yula_stream_has_data) \
    MEMBER(yula_stream_take) \
    MEMBER(yula_port_close) \
    MEMBER(yula_port_fd) \
    MEMBER(yula_port_new) \
    MEMBER(yula_port_receive) \
    MEMBER(yula_port_send) \
    MEMBER(yula_conn_try_read) \
    MEMBER(yula_conn_wait) \
    MEMBER(yula_sink_abort) \
    MEMBER(yula_sink_close) \
    MEMBER(yula_sink_drain) \
    MEMBER(yula_sink_fd) \
    MEMBER(yula_sink_new) \
    MEMBER(yula_sink_share) \
    MEMBER(yula_sink_try_write) \
    MEMBER(yula_sink_write) \
    MEMBER(yula_source_buffered) \
    MEMBER(yula_source_close) \
    MEMBER(yula_source_fd) \
    MEMBER(yula_source_new) \
    MEMBER(yula_source_read) \
    MEMBER(yula_source_read_exactly) \
    MEMBER(yula_source_read_line) \
    MEMBER(yula_source_read_until) \
    MEMBER(yula_source_set_limit) \
    MEMBER(yula_source_share) \
    MEMBER(yula_dir_close) \
    MEMBER(yula_dir_next) \
    MEMBER(yula_dir_open) \
    MEMBER(yula_file_close) \
    MEMBER(yula_file_fstat) \
    MEMBER(yula_file_load) \
    MEMBER(yula_file_lstat) \
    MEMBER(yula_file_mkdir) \
    MEMBER(yula_file_open) \
    MEMBER(yula_file_read) \
    MEMBER(yula_file_read_at) \
    MEMBER(yula_file_read_exactly) \
    MEMBER(yula_file_read_exactly_at) \
    MEMBER(yula_file_rename) \
    MEMBER(yula_file_rmdir) \
    MEMBER(yula_file_save) \
    MEMBER(yula_file_stat) \
    MEMBER(yula_file_sync) \
    MEMBER(yula_file_sync_data) \
    MEMBER(yula_file_truncate) \
    MEMBER(yula_file_unlink) \
    MEMBER(yula_file_unload) \
    MEMBER(yula_file_write) \
    MEMBER(yula_file_write_at) \
    MEMBER(yula_loop_watch_slow) \
    MEMBER(yula_timeout_enter) \
    MEMBER(yula_version) \
    MEMBER(yula_child_close) \
    MEMBER(yula_child_close_stdin) \
    MEMBER(yula_child_communicate) \
    MEMBER(yula_child_process) \
    MEMBER(yula_child_result_free) \
    MEMBER(yula_child_run) \
    MEMBER(yula_child_start) \
    MEMBER(yula_child_stderr) \
    MEMBER(yula_child_stdin) \
    MEMBER(yula_child_stdout) \
    MEMBER(yula_child_stop) \
    MEMBER(yula_child_wait) \
    MEMBER(yula_file_send) \
    MEMBER(yula_process_code) \
    MEMBER(yula_process_free) \
    MEMBER(yula_process_pid) \
    MEMBER(yula_process_signal) \
    MEMBER(yula_process_signal_group) \
    MEMBER(yula_process_start) \
    MEMBER(yula_process_status) \
    MEMBER(yula_process_take) \
    MEMBER(yula_await_stoppable) \
    MEMBER(yula_stop_asked) \
    MEMBER(yula_pipe_writer_guard) \
    /* the end of the table */
/* clang-format on */

#define YULA_PYTHON_MEMBER(name) __typeof__(name) *name;
#define YULA_PYTHON_GONE(name) void (*gone_##name)(void);

typedef struct yula_python_table {
    uint32_t abi;        /* YULA_PYTHON_ABI */
    uint32_t size;       /* of the table, bytes */
    const char *version; /* of yula */
    YULA_PYTHON_TABLE(YULA_PYTHON_MEMBER, YULA_PYTHON_GONE)
} yula_python_table;

/* From here on the names mean the functions of the table. */
#ifndef YULA_PYTHON_INSIDE
#define YULA_PYTHON_USE(name) (yula_python_api->name)
#define yula_python_await YULA_PYTHON_USE(yula_python_await)
#define yula_python_call YULA_PYTHON_USE(yula_python_call)
#define yula_python_core YULA_PYTHON_USE(yula_python_core)
#define yula_python_native YULA_PYTHON_USE(yula_python_native)
#define yula_python_open YULA_PYTHON_USE(yula_python_open)
#define yula_python_post YULA_PYTHON_USE(yula_python_post)
#define yula_python_ref YULA_PYTHON_USE(yula_python_ref)
#define yula_python_spawn YULA_PYTHON_USE(yula_python_spawn)
#define yula_python_unref YULA_PYTHON_USE(yula_python_unref)
#define yula_acceptor_accept YULA_PYTHON_USE(yula_acceptor_accept)
#define yula_acceptor_free YULA_PYTHON_USE(yula_acceptor_free)
#define yula_acceptor_new YULA_PYTHON_USE(yula_acceptor_new)
#define yula_address_parse YULA_PYTHON_USE(yula_address_parse)
#define yula_addrinfo_free YULA_PYTHON_USE(yula_addrinfo_free)
#define yula_await_connect YULA_PYTHON_USE(yula_await_connect)
#define yula_await_fd YULA_PYTHON_USE(yula_await_fd)
#define yula_await_resolve YULA_PYTHON_USE(yula_await_resolve)
#define yula_await_work YULA_PYTHON_USE(yula_await_work)
#define yula_channel_close YULA_PYTHON_USE(yula_channel_close)
#define yula_channel_count YULA_PYTHON_USE(yula_channel_count)
#define yula_channel_free YULA_PYTHON_USE(yula_channel_free)
#define yula_channel_new YULA_PYTHON_USE(yula_channel_new)
#define yula_channel_recv YULA_PYTHON_USE(yula_channel_recv)
#define yula_channel_select YULA_PYTHON_USE(yula_channel_select)
#define yula_channel_send YULA_PYTHON_USE(yula_channel_send)
#define yula_channel_try_recv YULA_PYTHON_USE(yula_channel_try_recv)
#define yula_channel_try_send YULA_PYTHON_USE(yula_channel_try_send)
#define yula_cluster_address YULA_PYTHON_USE(yula_cluster_address)
#define yula_cluster_join YULA_PYTHON_USE(yula_cluster_join)
#define yula_cluster_run YULA_PYTHON_USE(yula_cluster_run)
#define yula_cluster_start YULA_PYTHON_USE(yula_cluster_start)
#define yula_cluster_stop YULA_PYTHON_USE(yula_cluster_stop)
#define yula_condition_init YULA_PYTHON_USE(yula_condition_init)
#define yula_condition_notify YULA_PYTHON_USE(yula_condition_notify)
#define yula_condition_wait YULA_PYTHON_USE(yula_condition_wait)
#define yula_conn_abort YULA_PYTHON_USE(yula_conn_abort)
#define yula_conn_buffered YULA_PYTHON_USE(yula_conn_buffered)
#define yula_conn_close YULA_PYTHON_USE(yula_conn_close)
#define yula_conn_connect YULA_PYTHON_USE(yula_conn_connect)
#define yula_conn_drain YULA_PYTHON_USE(yula_conn_drain)
#define yula_conn_fd YULA_PYTHON_USE(yula_conn_fd)
#define yula_conn_loop YULA_PYTHON_USE(yula_conn_loop)
#define yula_conn_new YULA_PYTHON_USE(yula_conn_new)
#define yula_conn_read YULA_PYTHON_USE(yula_conn_read)
#define yula_conn_read_exactly YULA_PYTHON_USE(yula_conn_read_exactly)
#define yula_conn_read_line YULA_PYTHON_USE(yula_conn_read_line)
#define yula_conn_read_until YULA_PYTHON_USE(yula_conn_read_until)
#define yula_conn_serve YULA_PYTHON_USE(yula_conn_serve)
#define yula_conn_set_limit YULA_PYTHON_USE(yula_conn_set_limit)
#define yula_conn_shutdown YULA_PYTHON_USE(yula_conn_shutdown)
#define yula_conn_stream YULA_PYTHON_USE(yula_conn_stream)
#define yula_conn_try_write YULA_PYTHON_USE(yula_conn_try_write)
#define yula_conn_write YULA_PYTHON_USE(yula_conn_write)
#define yula_connect_cancel YULA_PYTHON_USE(yula_connect_cancel)
#define yula_connect_start YULA_PYTHON_USE(yula_connect_start)
#define yula_coroutine_ended YULA_PYTHON_USE(yula_coroutine_ended)
#define yula_coroutine_free YULA_PYTHON_USE(yula_coroutine_free)
#define yula_coroutine_new YULA_PYTHON_USE(yula_coroutine_new)
#define yula_coroutine_resume YULA_PYTHON_USE(yula_coroutine_resume)
#define yula_coroutine_stack_used YULA_PYTHON_USE(yula_coroutine_stack_used)
#define yula_coroutine_yield YULA_PYTHON_USE(yula_coroutine_yield)
#define yula_deadline_enter YULA_PYTHON_USE(yula_deadline_enter)
#define yula_deadline_leave YULA_PYTHON_USE(yula_deadline_leave)
#define yula_deadline_move YULA_PYTHON_USE(yula_deadline_move)
#define yula_event_clear YULA_PYTHON_USE(yula_event_clear)
#define yula_event_init YULA_PYTHON_USE(yula_event_init)
#define yula_event_set YULA_PYTHON_USE(yula_event_set)
#define yula_event_wait YULA_PYTHON_USE(yula_event_wait)
#define yula_group_cancel YULA_PYTHON_USE(yula_group_cancel)
#define yula_group_enter YULA_PYTHON_USE(yula_group_enter)
#define yula_group_leave YULA_PYTHON_USE(yula_group_leave)
#define yula_group_spawn YULA_PYTHON_USE(yula_group_spawn)
#define yula_job_cancel YULA_PYTHON_USE(yula_job_cancel)
#define yula_job_submit YULA_PYTHON_USE(yula_job_submit)
#define yula_job_submit_host YULA_PYTHON_USE(yula_job_submit_host)
#define yula_listen_socket YULA_PYTHON_USE(yula_listen_socket)
#define yula_listener_free YULA_PYTHON_USE(yula_listener_free)
#define yula_listener_new YULA_PYTHON_USE(yula_listener_new)
#define yula_local_get YULA_PYTHON_USE(yula_local_get)
#define yula_local_set YULA_PYTHON_USE(yula_local_set)
#define yula_loop_break YULA_PYTHON_USE(yula_loop_break)
#define yula_loop_clear_stop YULA_PYTHON_USE(yula_loop_clear_stop)
#define yula_loop_collect YULA_PYTHON_USE(yula_loop_collect)
#define yula_loop_defer YULA_PYTHON_USE(yula_loop_defer)
#define yula_loop_fd YULA_PYTHON_USE(yula_loop_fd)
#define yula_loop_forked YULA_PYTHON_USE(yula_loop_forked)
#define yula_loop_free YULA_PYTHON_USE(yula_loop_free)
#define yula_loop_get_stats YULA_PYTHON_USE(yula_loop_get_stats)
#define yula_loop_host_jobs YULA_PYTHON_USE(yula_loop_host_jobs)
#define yula_loop_in_callback YULA_PYTHON_USE(yula_loop_in_callback)
#define yula_loop_new YULA_PYTHON_USE(yula_loop_new)
#define yula_loop_next_deadline YULA_PYTHON_USE(yula_loop_next_deadline)
#define yula_loop_now YULA_PYTHON_USE(yula_loop_now)
#define yula_loop_on_own_thread YULA_PYTHON_USE(yula_loop_on_own_thread)
#define yula_loop_read_buffer YULA_PYTHON_USE(yula_loop_read_buffer)
#define yula_loop_ref YULA_PYTHON_USE(yula_loop_ref)
#define yula_loop_run YULA_PYTHON_USE(yula_loop_run)
#define yula_loop_run_batch YULA_PYTHON_USE(yula_loop_run_batch)
#define yula_loop_set_clock YULA_PYTHON_USE(yula_loop_set_clock)
#define yula_loop_set_worker_host YULA_PYTHON_USE(yula_loop_set_worker_host)
#define yula_loop_step YULA_PYTHON_USE(yula_loop_step)
#define yula_loop_stop YULA_PYTHON_USE(yula_loop_stop)
#define yula_loop_stopping YULA_PYTHON_USE(yula_loop_stopping)
#define yula_loop_unref YULA_PYTHON_USE(yula_loop_unref)
#define yula_loop_want_host YULA_PYTHON_USE(yula_loop_want_host)
#define yula_mailbox_close YULA_PYTHON_USE(yula_mailbox_close)
#define yula_mailbox_free YULA_PYTHON_USE(yula_mailbox_free)
#define yula_mailbox_new YULA_PYTHON_USE(yula_mailbox_new)
#define yula_mailbox_recv YULA_PYTHON_USE(yula_mailbox_recv)
#define yula_mailbox_send YULA_PYTHON_USE(yula_mailbox_send)
#define yula_mailbox_try_recv YULA_PYTHON_USE(yula_mailbox_try_recv)
#define yula_mailbox_try_send YULA_PYTHON_USE(yula_mailbox_try_send)
#define yula_mutex_init YULA_PYTHON_USE(yula_mutex_init)
#define yula_mutex_lock YULA_PYTHON_USE(yula_mutex_lock)
#define yula_mutex_try_lock YULA_PYTHON_USE(yula_mutex_try_lock)
#define yula_mutex_unlock YULA_PYTHON_USE(yula_mutex_unlock)
#define yula_queue_close YULA_PYTHON_USE(yula_queue_close)
#define yula_queue_done YULA_PYTHON_USE(yula_queue_done)
#define yula_queue_get YULA_PYTHON_USE(yula_queue_get)
#define yula_queue_init YULA_PYTHON_USE(yula_queue_init)
#define yula_queue_join YULA_PYTHON_USE(yula_queue_join)
#define yula_queue_put YULA_PYTHON_USE(yula_queue_put)
#define yula_queue_try_get YULA_PYTHON_USE(yula_queue_try_get)
#define yula_queue_try_put YULA_PYTHON_USE(yula_queue_try_put)
#define yula_resolve_cancel YULA_PYTHON_USE(yula_resolve_cancel)
#define yula_resolve_name YULA_PYTHON_USE(yula_resolve_name)
#define yula_resolve_start YULA_PYTHON_USE(yula_resolve_start)
#define yula_semaphore_acquire YULA_PYTHON_USE(yula_semaphore_acquire)
#define yula_semaphore_init YULA_PYTHON_USE(yula_semaphore_init)
#define yula_semaphore_release YULA_PYTHON_USE(yula_semaphore_release)
#define yula_semaphore_try_acquire YULA_PYTHON_USE(yula_semaphore_try_acquire)
#define yula_shield_enter YULA_PYTHON_USE(yula_shield_enter)
#define yula_shield_leave YULA_PYTHON_USE(yula_shield_leave)
#define yula_signal_init YULA_PYTHON_USE(yula_signal_init)
#define yula_signal_pipe YULA_PYTHON_USE(yula_signal_pipe)
#define yula_signal_set_close YULA_PYTHON_USE(yula_signal_set_close)
#define yula_signal_set_next YULA_PYTHON_USE(yula_signal_set_next)
#define yula_signal_set_open YULA_PYTHON_USE(yula_signal_set_open)
#define yula_signal_start YULA_PYTHON_USE(yula_signal_start)
#define yula_signal_stop YULA_PYTHON_USE(yula_signal_stop)
#define yula_stack_configure YULA_PYTHON_USE(yula_stack_configure)
#define yula_stack_get_stats YULA_PYTHON_USE(yula_stack_get_stats)
#define yula_stack_report_overflow YULA_PYTHON_USE(yula_stack_report_overflow)
#define yula_stack_trim YULA_PYTHON_USE(yula_stack_trim)
#define yula_stream_arg YULA_PYTHON_USE(yula_stream_arg)
#define yula_stream_failed YULA_PYTHON_USE(yula_stream_failed)
#define yula_stream_fd YULA_PYTHON_USE(yula_stream_fd)
#define yula_stream_flush YULA_PYTHON_USE(yula_stream_flush)
#define yula_stream_free YULA_PYTHON_USE(yula_stream_free)
#define yula_stream_get_marks YULA_PYTHON_USE(yula_stream_get_marks)
#define yula_stream_new YULA_PYTHON_USE(yula_stream_new)
#define yula_stream_of YULA_PYTHON_USE(yula_stream_of)
#define yula_stream_peek_queued YULA_PYTHON_USE(yula_stream_peek_queued)
#define yula_stream_pressed YULA_PYTHON_USE(yula_stream_pressed)
#define yula_stream_queued YULA_PYTHON_USE(yula_stream_queued)
#define yula_stream_set_marks YULA_PYTHON_USE(yula_stream_set_marks)
#define yula_stream_set_ops YULA_PYTHON_USE(yula_stream_set_ops)
#define yula_stream_shutdown YULA_PYTHON_USE(yula_stream_shutdown)
#define yula_stream_start YULA_PYTHON_USE(yula_stream_start)
#define yula_stream_stop YULA_PYTHON_USE(yula_stream_stop)
#define yula_stream_write YULA_PYTHON_USE(yula_stream_write)
#define yula_strerror YULA_PYTHON_USE(yula_strerror)
#define yula_task_cancel YULA_PYTHON_USE(yula_task_cancel)
#define yula_task_cancel_all YULA_PYTHON_USE(yula_task_cancel_all)
#define yula_task_check YULA_PYTHON_USE(yula_task_check)
#define yula_task_count YULA_PYTHON_USE(yula_task_count)
#define yula_task_current YULA_PYTHON_USE(yula_task_current)
#define yula_task_dump YULA_PYTHON_USE(yula_task_dump)
#define yula_task_ended YULA_PYTHON_USE(yula_task_ended)
#define yula_task_get_info YULA_PYTHON_USE(yula_task_get_info)
#define yula_task_join YULA_PYTHON_USE(yula_task_join)
#define yula_task_loop YULA_PYTHON_USE(yula_task_loop)
#define yula_task_name YULA_PYTHON_USE(yula_task_name)
#define yula_task_on_end YULA_PYTHON_USE(yula_task_on_end)
#define yula_task_ref YULA_PYTHON_USE(yula_task_ref)
#define yula_task_result YULA_PYTHON_USE(yula_task_result)
#define yula_task_resume YULA_PYTHON_USE(yula_task_resume)
#define yula_task_run YULA_PYTHON_USE(yula_task_run)
#define yula_task_set_name YULA_PYTHON_USE(yula_task_set_name)
#define yula_task_sleep YULA_PYTHON_USE(yula_task_sleep)
#define yula_task_sleep_until YULA_PYTHON_USE(yula_task_sleep_until)
#define yula_task_spawn YULA_PYTHON_USE(yula_task_spawn)
#define yula_task_suspend YULA_PYTHON_USE(yula_task_suspend)
#define yula_task_unref YULA_PYTHON_USE(yula_task_unref)
#define yula_task_visit YULA_PYTHON_USE(yula_task_visit)
#define yula_task_yield YULA_PYTHON_USE(yula_task_yield)
#define yula_timer_armed YULA_PYTHON_USE(yula_timer_armed)
#define yula_timer_init YULA_PYTHON_USE(yula_timer_init)
#define yula_timer_start YULA_PYTHON_USE(yula_timer_start)
#define yula_timer_stop YULA_PYTHON_USE(yula_timer_stop)
#define yula_watcher_again YULA_PYTHON_USE(yula_watcher_again)
#define yula_watcher_init YULA_PYTHON_USE(yula_watcher_init)
#define yula_watcher_modify YULA_PYTHON_USE(yula_watcher_modify)
#define yula_watcher_of YULA_PYTHON_USE(yula_watcher_of)
#define yula_watcher_start YULA_PYTHON_USE(yula_watcher_start)
#define yula_watcher_stop YULA_PYTHON_USE(yula_watcher_stop)
#define yula_work_cancel YULA_PYTHON_USE(yula_work_cancel)
#define yula_work_init YULA_PYTHON_USE(yula_work_init)
#define yula_work_post YULA_PYTHON_USE(yula_work_post)
#define yula_work_queue YULA_PYTHON_USE(yula_work_queue)
#define yula_worker_lost YULA_PYTHON_USE(yula_worker_lost)
#define yula_worker_main YULA_PYTHON_USE(yula_worker_main)
#define yula_datagram_arg YULA_PYTHON_USE(yula_datagram_arg)
#define yula_datagram_fd YULA_PYTHON_USE(yula_datagram_fd)
#define yula_datagram_free YULA_PYTHON_USE(yula_datagram_free)
#define yula_datagram_get_marks YULA_PYTHON_USE(yula_datagram_get_marks)
#define yula_datagram_new YULA_PYTHON_USE(yula_datagram_new)
#define yula_datagram_of YULA_PYTHON_USE(yula_datagram_of)
#define yula_datagram_pressed YULA_PYTHON_USE(yula_datagram_pressed)
#define yula_datagram_queued YULA_PYTHON_USE(yula_datagram_queued)
#define yula_datagram_send YULA_PYTHON_USE(yula_datagram_send)
#define yula_datagram_set_marks YULA_PYTHON_USE(yula_datagram_set_marks)
#define yula_datagram_start YULA_PYTHON_USE(yula_datagram_start)
#define yula_datagram_stop YULA_PYTHON_USE(yula_datagram_stop)
#define yula_pipe_get_marks YULA_PYTHON_USE(yula_pipe_get_marks)
#define yula_pipe_pressed YULA_PYTHON_USE(yula_pipe_pressed)
#define yula_pipe_queued YULA_PYTHON_USE(yula_pipe_queued)
#define yula_pipe_reader_free YULA_PYTHON_USE(yula_pipe_reader_free)
#define yula_pipe_reader_new YULA_PYTHON_USE(yula_pipe_reader_new)
#define yula_pipe_reader_start YULA_PYTHON_USE(yula_pipe_reader_start)
#define yula_pipe_reader_stop YULA_PYTHON_USE(yula_pipe_reader_stop)
#define yula_pipe_set_marks YULA_PYTHON_USE(yula_pipe_set_marks)
#define yula_pipe_write YULA_PYTHON_USE(yula_pipe_write)
#define yula_pipe_writer_free YULA_PYTHON_USE(yula_pipe_writer_free)
#define yula_pipe_writer_new YULA_PYTHON_USE(yula_pipe_writer_new)
#define yula_pipe_writer_watch YULA_PYTHON_USE(yula_pipe_writer_watch)
#define yula_datagram_drop YULA_PYTHON_USE(yula_datagram_drop)
#define yula_stream_has_data YULA_PYTHON_USE(yula_stream_has_data)
#define yula_stream_take YULA_PYTHON_USE(yula_stream_take)
#define yula_port_close YULA_PYTHON_USE(yula_port_close)
#define yula_port_fd YULA_PYTHON_USE(yula_port_fd)
#define yula_port_new YULA_PYTHON_USE(yula_port_new)
#define yula_port_receive YULA_PYTHON_USE(yula_port_receive)
#define yula_port_send YULA_PYTHON_USE(yula_port_send)
#define yula_conn_try_read YULA_PYTHON_USE(yula_conn_try_read)
#define yula_conn_wait YULA_PYTHON_USE(yula_conn_wait)
#define yula_sink_abort YULA_PYTHON_USE(yula_sink_abort)
#define yula_sink_close YULA_PYTHON_USE(yula_sink_close)
#define yula_sink_drain YULA_PYTHON_USE(yula_sink_drain)
#define yula_sink_fd YULA_PYTHON_USE(yula_sink_fd)
#define yula_sink_new YULA_PYTHON_USE(yula_sink_new)
#define yula_sink_share YULA_PYTHON_USE(yula_sink_share)
#define yula_sink_try_write YULA_PYTHON_USE(yula_sink_try_write)
#define yula_sink_write YULA_PYTHON_USE(yula_sink_write)
#define yula_source_buffered YULA_PYTHON_USE(yula_source_buffered)
#define yula_source_close YULA_PYTHON_USE(yula_source_close)
#define yula_source_fd YULA_PYTHON_USE(yula_source_fd)
#define yula_source_new YULA_PYTHON_USE(yula_source_new)
#define yula_source_read YULA_PYTHON_USE(yula_source_read)
#define yula_source_read_exactly YULA_PYTHON_USE(yula_source_read_exactly)
#define yula_source_read_line YULA_PYTHON_USE(yula_source_read_line)
#define yula_source_read_until YULA_PYTHON_USE(yula_source_read_until)
#define yula_source_set_limit YULA_PYTHON_USE(yula_source_set_limit)
#define yula_source_share YULA_PYTHON_USE(yula_source_share)
#define yula_dir_close YULA_PYTHON_USE(yula_dir_close)
#define yula_dir_next YULA_PYTHON_USE(yula_dir_next)
#define yula_dir_open YULA_PYTHON_USE(yula_dir_open)
#define yula_file_close YULA_PYTHON_USE(yula_file_close)
#define yula_file_fstat YULA_PYTHON_USE(yula_file_fstat)
#define yula_file_load YULA_PYTHON_USE(yula_file_load)
#define yula_file_lstat YULA_PYTHON_USE(yula_file_lstat)
#define yula_file_mkdir YULA_PYTHON_USE(yula_file_mkdir)
#define yula_file_open YULA_PYTHON_USE(yula_file_open)
#define yula_file_read YULA_PYTHON_USE(yula_file_read)
#define yula_file_read_at YULA_PYTHON_USE(yula_file_read_at)
#define yula_file_read_exactly YULA_PYTHON_USE(yula_file_read_exactly)
#define yula_file_read_exactly_at YULA_PYTHON_USE(yula_file_read_exactly_at)
#define yula_file_rename YULA_PYTHON_USE(yula_file_rename)
#define yula_file_rmdir YULA_PYTHON_USE(yula_file_rmdir)
#define yula_file_save YULA_PYTHON_USE(yula_file_save)
#define yula_file_stat YULA_PYTHON_USE(yula_file_stat)
#define yula_file_sync YULA_PYTHON_USE(yula_file_sync)
#define yula_file_sync_data YULA_PYTHON_USE(yula_file_sync_data)
#define yula_file_truncate YULA_PYTHON_USE(yula_file_truncate)
#define yula_file_unlink YULA_PYTHON_USE(yula_file_unlink)
#define yula_file_unload YULA_PYTHON_USE(yula_file_unload)
#define yula_file_write YULA_PYTHON_USE(yula_file_write)
#define yula_file_write_at YULA_PYTHON_USE(yula_file_write_at)
#define yula_loop_watch_slow YULA_PYTHON_USE(yula_loop_watch_slow)
#define yula_timeout_enter YULA_PYTHON_USE(yula_timeout_enter)
#define yula_version YULA_PYTHON_USE(yula_version)
#define yula_child_close YULA_PYTHON_USE(yula_child_close)
#define yula_child_close_stdin YULA_PYTHON_USE(yula_child_close_stdin)
#define yula_child_communicate YULA_PYTHON_USE(yula_child_communicate)
#define yula_child_process YULA_PYTHON_USE(yula_child_process)
#define yula_child_result_free YULA_PYTHON_USE(yula_child_result_free)
#define yula_child_run YULA_PYTHON_USE(yula_child_run)
#define yula_child_start YULA_PYTHON_USE(yula_child_start)
#define yula_child_stderr YULA_PYTHON_USE(yula_child_stderr)
#define yula_child_stdin YULA_PYTHON_USE(yula_child_stdin)
#define yula_child_stdout YULA_PYTHON_USE(yula_child_stdout)
#define yula_child_stop YULA_PYTHON_USE(yula_child_stop)
#define yula_child_wait YULA_PYTHON_USE(yula_child_wait)
#define yula_file_send YULA_PYTHON_USE(yula_file_send)
#define yula_process_code YULA_PYTHON_USE(yula_process_code)
#define yula_process_free YULA_PYTHON_USE(yula_process_free)
#define yula_process_pid YULA_PYTHON_USE(yula_process_pid)
#define yula_process_signal YULA_PYTHON_USE(yula_process_signal)
#define yula_process_signal_group YULA_PYTHON_USE(yula_process_signal_group)
#define yula_process_start YULA_PYTHON_USE(yula_process_start)
#define yula_process_status YULA_PYTHON_USE(yula_process_status)
#define yula_process_take YULA_PYTHON_USE(yula_process_take)
#define yula_await_stoppable YULA_PYTHON_USE(yula_await_stoppable)
#define yula_stop_asked YULA_PYTHON_USE(yula_stop_asked)
#define yula_pipe_writer_guard YULA_PYTHON_USE(yula_pipe_writer_guard)
/* the end of the names */
#endif

#endif /* YULA_PYTHON_TABLE_H */
